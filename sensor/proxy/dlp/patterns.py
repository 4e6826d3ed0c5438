"""A detector made ready: its patterns tried on places, what they find checked, its confidence set by context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import re2

from sensor.proxy.dlp.detector import Detector, compiled, expanded
from sensor.proxy.dlp.keywords import automaton, words_pattern
from sensor.proxy.dlp.likely import placeholder
from sensor.proxy.dlp.model import CONFIDENCES, Limits
from sensor.proxy.dlp.validators import check

_BEFORE, _AFTER = 96, 48  # bytes around a match in which context counts
_QUICK_BYTES, _QUICK_MEMORY = 512, 64 << 20
_DENIED = 28  # bytes before it in which a denying word counts

Span = tuple[int, int, str]  # start and end in bytes, confidence
GAVE_UP: Span = 0, 0, ""  # what follows was not looked at


def _near(words: Iterable[str]) -> Any:
    """Words at a word's beginning; short ones (`id`, `bic`) only whole."""
    short = {word for word in words if len(word) < 5}
    long = set(words) - short
    ends = [words_pattern(long, "").decode()] if long else []
    if short:
        ends.append(words_pattern(short, "").decode() + r"(?:[^{{letter}}]|$)")
    start = "(?i)(?:^|[^{{letter}}])"
    text = rf"{start}(?:{'|'.join(ends)})".replace(r"\ ", "[ _\\-]")  # also as a key is written
    return automaton(expanded(text).encode())


def _values(pattern: Any, data: bytes, at: int, end: int, reach: int) -> Iterator[tuple[int, int]]:
    """Values that begin before `end`: the first group that took part, else the match.

    The search goes on at the value's end, not the match's: what ends one value may begin the next.
    """
    while at < end:
        match = pattern.search(data, at, min(len(data), reach))
        if match is None or match.start() >= end:
            return
        first, last = next(
            (s for g in range(1, pattern.groups + 1) if (s := match.span(g))[0] >= 0), match.span()
        )
        yield first, last
        at = max(last, at + 1)


class Ready:
    """One detector with a pattern, compiled."""

    def __init__(self, detector: Detector, regions: tuple[str, ...]) -> None:
        self.detector = detector
        self._patterns = [compiled(text) for text in detector.pattern]
        self._checks = [check(entry, regions) for entry in detector.validate_]
        self._secret = detector.data_class == "credentials"
        self._context = _near(detector.context) if detector.context else None
        self._deny = _near(detector.deny) if detector.deny else None

    def find(self, data: bytes, ranges: Iterable[tuple[int, int]], limits: Limits) -> Iterator[Span | None]:
        """What is found in these ranges of bytes. None is a place to pause.

        Ends after more than `limits.hits`, and with `GAVE_UP` after `limits.candidates` that were none.
        """
        left, room = limits.candidates, limits.hits
        for pattern in self._patterns:
            done = 0
            for start, stop in ranges:
                for at in range(start, stop, limits.step):
                    end = min(at + limits.step, stop)
                    for first, last in _values(pattern, data, max(at, done), end, end + self.detector.reach):
                        done = last
                        yield (found := self._checked(data, first, last))
                        left, room = left - (not found), room - bool(found)
                        if not left:
                            yield GAVE_UP
                        if not left or room < 0:
                            return
                    yield None

    def _checked(self, data: bytes, start: int, end: int) -> Span | None:
        value = data[start:end].decode("utf-8", "replace")
        if self._secret and (placeholder(value) or data[end : end + 3] == b"..."):
            return None
        if not all(passes(value) for passes in self._checks):
            return None
        confidence = self.detector.confidence
        around = self._context and self._context.search(data[max(0, start - _BEFORE) : end + _AFTER])
        if around:
            if not self.detector.needs_context:
                confidence = CONFIDENCES[min(CONFIDENCES.index(confidence) + 1, 2)]  # type: ignore[assignment]
        elif self.detector.needs_context or (
            self._deny and self._deny.search(data[max(0, start - _DENIED) : start])
        ):
            return None
        return start, end, confidence


class Quick:
    """Which of several detectors have a match in a short text, asked once for all of them."""

    def __init__(self, ready: list[Ready]) -> None:
        options = re2.Options()
        options.max_mem = _QUICK_MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._owners = []
        for number, entry in enumerate(ready):
            for pattern in entry.detector.pattern:
                self._set.Add(expanded(pattern))
                self._owners.append(number)
        self._set.Compile()
        self._all = list(range(len(ready)))

    def worth(self, data: bytes, start: int, end: int) -> list[int]:
        """Numbers of those detectors. In long texts the sets that matched become too many: then all of them."""
        if end - start > _QUICK_BYTES:
            return self._all
        found = self._set.Match(data[max(0, start - 4) : end + 4])
        return sorted({self._owners[n] for n in found or ()})
