"""The native engine, built from `sensor/packets/core/`. What it does is in `docs/engine.md`."""

import os
from collections.abc import Sequence
from typing import Self, final

from sensor.packets.facts import Fact, Frame, Limits, Watch

__all__ = ["Engine", "Facts"]

@final
class Engine:
    def __new__(cls, watch: Watch, limits: Limits) -> Self: ...
    def feed(self, frames: Sequence[Frame]) -> list[Fact]: ...
    def finish(self) -> list[Fact]: ...
    def read(self, path: str | os.PathLike[str], workers: int = 1) -> Facts:
        """The facts of a capture file; `finish` is for the caller. Two workers say the same, sooner."""

@final
class Facts:
    """Iterator over the facts of a file, in lists. Raises as `sensor.packets.capture.Capture` does."""

    @property
    def position(self) -> int:
        """Bytes of the file on disk read so far."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[Fact]: ...
