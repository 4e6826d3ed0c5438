"""Source code: places dense with the signs of code, and the language whose marks they have. A heuristic."""

from __future__ import annotations

from collections.abc import Iterator

from sensor.proxy.dlp.detector import Detector, compiled

# Line ends and beginnings that are rare in prose. Three in a row make a place worth a look.
_SIGN = compiled(
    r"(?m)(?:[;{}]|\):|=>|\bdo|\bthen|->[ \w\[\],.|]+:)[ \t]*\r?$"
    r"|^[ \t]*(?:import |from \w[\w.]* import|def |class |func |fn |#include|package |using |public |private "
    r"|pub |const |let |var |return |end$|local |SELECT |FROM |WHERE |JOIN |INSERT |CREATE |UPDATE |use |defp? "
    r"|if \[|fi$|done$|echo |<\?php|namespace |module |library\(|#!/|data |instance |type |param\(|\$\w+ = |@\w+)"
)
_GAP = 240  # bytes without a sign that end a place
_SIGNS = 3
_LOOKED_AT = 16_384  # bytes of one place that the languages' marks are tried on
_PLACES = 4  # of one text: what kind of code it is has been said by then
_SIGNS_READ = 4_000  # of one text


def places(data: bytes, step: int) -> Iterator[tuple[int, int, int] | None]:
    """Start, end and signs of places dense with code. None is a place to pause."""
    first = last = signs = read = 0
    for at in range(0, len(data), step):
        for match in _SIGN.finditer(data, at, min(len(data), at + step)):
            start, end = match.span()
            if signs and start - last > _GAP:
                if signs >= _SIGNS:
                    yield first, last, signs
                signs = 0
            first, last = (first if signs else start), end
            signs, read = signs + 1, read + 1
        yield None
        if read > _SIGNS_READ:
            break
    if signs >= _SIGNS:
        yield first, last, signs


class Languages:
    """All detectors with `marks`."""

    def __init__(self, detectors: list[Detector]) -> None:
        self._all = [(detector, [compiled(mark) for mark in detector.marks]) for detector in detectors]

    def __bool__(self) -> bool:
        return bool(self._all)

    def name(self, data: bytes, start: int, end: int) -> tuple[Detector, int] | None:
        """The language with most different marks, most marks where that is equal; and how many it has."""
        line = data.rfind(b"\n", max(0, start - 400), start) + 1  # a sign can be a line's end
        start = max(line, start - 400)
        stop = min(end, start + _LOOKED_AT)
        best: tuple[int, int, Detector] | None = None
        for detector, marks in self._all:
            counts = [
                sum(1 for _, _m in zip(range(10), mark.finditer(data, start, stop), strict=False))
                for mark in marks
            ]
            distinct = sum(map(bool, counts))
            if distinct >= detector.distinct and (best is None or (distinct, sum(counts)) > best[:2]):
                best = (distinct, sum(counts), detector)
        return (best[2], best[1]) if best else None


def find(data: bytes, languages: Languages, step: int) -> Iterator[tuple[Detector, int, int, int] | None]:
    """Detector, start, end and marks of every place with code in a known language."""
    looked = 0
    for place in places(data, step):
        if place is None or looked >= _PLACES:
            yield None
            continue
        looked += 1
        if named := languages.name(data, place[0], place[1]):
            yield named[0], place[0], place[1], named[1]
