"""What can be wrong with a capture. Apart: the native engine reads without loading the portable reader."""

from __future__ import annotations


class NotACapture(ValueError):  # noqa: N818
    """The file is not a capture of a kind that can be read."""


class Damaged(ValueError):  # noqa: N818
    """The file ends or stops making sense at byte `offset` (decompressed). All before it was read."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file}: byte {offset}: {reason}")
        self.file, self.offset, self.reason = file, offset, reason
