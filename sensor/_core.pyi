"""The native engine, built from `sensor/packets/core/`. What it does is in `docs/engine.md`."""

import os
from collections.abc import Sequence
from typing import Self, final

from sensor.packets.evidence import Kept
from sensor.packets.facts import Fact, Frame, Limits, Watch

__all__ = ["VERSION", "Engine", "Facts", "Live"]

VERSION: str
"""The aiscope that it was built for."""

@final
class Engine:
    def __new__(cls, watch: Watch, limits: Limits) -> Self: ...
    def feed(self, frames: Sequence[Frame]) -> list[Fact]: ...
    def tick(self, time: int) -> list[Fact]:
        """Time goes on without a frame."""
    def look(self, watch: Watch) -> None:
        """Watches something else from the next frame on."""
    def finish(self) -> list[Fact]: ...
    def read(self, path: str | os.PathLike[str], workers: int = 1) -> Facts:
        """The facts of a capture file; `finish` is for the caller. More workers say the same, sooner."""

@final
class Facts:
    """Iterator over the facts of a file, in lists. Raises as `sensor.packets.capture.Capture` does."""

    @property
    def position(self) -> int:
        """Bytes of the file on disk read so far."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[Fact]: ...

@final
class Live:
    """Interfaces being watched by native engines. `sensor.packets.live.Live` says what each method does."""

    def __new__(
        cls,
        interfaces: Sequence[str],
        watch: Watch,
        limits: Limits,
        *,
        workers: int,
        ring: int,
        promiscuous: bool,
        filters: Sequence[Sequence[tuple[int, int, int, int]]],
        evidence: int,
    ) -> Self: ...
    def start(self) -> None: ...
    def facts(self, timeout: float) -> list[Fact] | None: ...
    def look(self, watch: Watch) -> None: ...
    def stop(self) -> None: ...
    def kept(self) -> tuple[list[Kept], int]: ...
    def counts(self) -> list[tuple[int, int]]: ...
    def troubles(self) -> list[str]: ...
