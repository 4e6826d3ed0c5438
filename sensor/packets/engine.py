"""Which engine reads the frames. The choice is said, and nothing falls back in silence."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from sensor import __version__
from sensor.packets.errors import Damaged
from sensor.packets.facts import Fact, Frame, Limits, Watch

ENGINES = ("auto", "native", "portable")


class Engine(Protocol):
    """`docs/engine.md`. An instance serves one source of frames, once."""

    def __init__(self, watch: Watch, limits: Limits) -> None: ...

    def feed(self, frames: Sequence[Frame]) -> list[Fact]: ...

    def tick(self, time: int) -> list[Fact]: ...

    def look(self, watch: Watch) -> None: ...

    def finish(self) -> list[Fact]: ...


class Batches(Protocol):
    """Lists of facts, and how many bytes of the file they took."""

    position: int

    def __iter__(self) -> Iterator[list[Fact]]: ...


@runtime_checkable
class FileEngine(Engine, Protocol):
    """An engine that reads files without Python seeing the frames. `finish` is still for the caller."""

    def read(self, path: Path, workers: int = 1) -> Batches: ...


def native() -> ModuleType:
    """The Rust engine's module. Raises ImportError, with the reason, where it is not installed or another version's."""
    core = importlib.import_module("sensor._core")
    built = getattr(core, "VERSION", "an earlier version")
    if built != __version__:
        raise ImportError(f"{core.__file__} is of {built}, this is aiscope {__version__}: install it again")
    return core


def select(engine: str = "auto") -> tuple[str, str]:
    """(name, why) of the engine to be used. Raises ImportError when `native` is asked for and absent."""
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r}: one of {', '.join(ENGINES)}")
    if engine == "portable":
        return "portable", "asked for"
    try:
        native()
    except ImportError as error:
        why = f"the native engine is not installed: {error}"
        if engine == "native":
            raise ImportError(why) from None
        return "portable", why
    return "native", "asked for" if engine == "native" else "installed"


def create(engine: str, watch: Watch, limits: Limits) -> Engine:
    """An engine by the name that `select` returned."""
    if engine == "native":
        made: Engine = native().Engine(watch, limits)
        return made
    from sensor.packets.portable.engine import PortableEngine

    return PortableEngine(watch, limits)


def facts(
    source: str | Path,
    watch: Watch,
    limits: Limits,
    engine: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Iterator[list[Fact]]:
    """The facts of a capture file ("-": standard input), in batches, by the engine that `select` names.

    Threads begin with the file at once, not when the first batch is asked for.
    `progress` is told the bytes of the file read so far and its size (0: not known). `workers`: threads of the
    native engine, as far as there are processors for them. Raises
    `errors.NotACapture`; and `errors.Damaged` when all that could be read has been reported, flows closed.
    """
    name, _ = select(engine)
    reader = create(name, watch, limits)
    if isinstance(reader, FileEngine) and str(source) != "-":
        path = Path(source)
        batches = reader.read(path, min(len(os.sched_getaffinity(0)), workers))
        return _finished(reader, _told(batches, path.stat().st_size, progress))
    return _finished(reader, _feed(reader, source, progress))


def _finished(reader: Engine, batches: Iterator[list[Fact]]) -> Iterator[list[Fact]]:
    broken: Damaged | None = None
    try:
        yield from batches
    except Damaged as damaged:
        broken = damaged
    yield reader.finish()
    if broken is not None:
        raise broken


def _feed(
    reader: Engine, source: str | Path, progress: Callable[[int, int], None] | None
) -> Iterator[list[Fact]]:
    from sensor.packets.capture import Capture

    with Capture(source) as capture:
        for batch in capture:
            yield reader.feed(batch)
            if progress is not None:
                progress(capture.position, capture.size)


def _told(batches: Batches, size: int, progress: Callable[[int, int], None] | None) -> Iterator[list[Fact]]:
    for batch in batches:
        yield batch
        if progress is not None:
            progress(batches.position, size)
