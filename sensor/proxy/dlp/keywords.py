"""One pass over a text for all keywords and terms of all detectors: which detectors are worth trying, and where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import re2

_MEMORY = 256 << 20  # of the automaton's states, which are made when they are needed


def words_pattern(words: Iterable[str], flags: str = "(?i)") -> bytes:
    """An alternation of literal words; the longest first, since RE2 prefers the first."""
    longest = sorted(set(words), key=lambda word: (-len(word), word))
    return (flags + "(?:" + "|".join(re2.escape(word) for word in longest) + ")").encode()


def automaton(pattern: bytes) -> Any:
    """A pattern whose automaton may be large."""
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return re2.compile(pattern, options)


@dataclass(frozen=True, slots=True)
class Found:
    """A keyword at a place: `start` and `end` in bytes, and who asked for it."""

    start: int
    end: int
    keyword: str
    owners: tuple[int, ...]


_GAP = r"[\s\x{A0}\x{202F}]+"  # between the words of a keyword: a line may end there, or be set with fixed spaces
_Part = tuple[int, int, str, tuple[int, ...]]  # start and end within a match, keyword, owners


class Keywords:
    """Literal words, each with its owners. Case and how much space is between words are ignored.

    `whole` ones count only as words of their own: `sin`, but not in `using`.
    """

    def __init__(
        self, owners: dict[str, set[int]], whole: dict[str, set[int]], triggers: dict[str, int]
    ) -> None:
        self._triggers = [(automaton(pattern.encode()), owner) for pattern, owner in triggers.items()]
        parts = [words_pattern(owners, "").decode().replace(r"\ ", _GAP)] if owners else []
        if whole:
            parts.append(rf"(?:\b|_){words_pattern(whole, '').decode()}(?:\b|_)")
        parts += triggers
        self._pattern = automaton(f"(?i){'|'.join(parts)}".encode()) if parts else None
        owners = {word: owners.get(word, set()) | whole.get(word, set()) for word in (*owners, *whole)}
        # A match hides the keywords inside it (`token` in `auth_token`): they are found with it.
        self._inside: dict[str, tuple[_Part, ...]] = {}
        for keyword in owners:
            inside: list[_Part] = []
            for start in range(len(keyword)):
                for end in range(start + 1, len(keyword) + 1):
                    part = keyword[start:end]
                    if asked := owners.get(part) if part not in whole or part == keyword else None:
                        before, own = len(keyword[:start].encode()), len(part.encode())
                        inside.append((before, before + own, part, tuple(sorted(asked))))
            self._inside[keyword] = tuple(inside)

    def find(self, data: bytes, start: int, end: int, reach: int = 128) -> Iterator[Found]:
        """Keywords that begin in `data[start:end]`; their ends may lie up to `reach` bytes behind."""
        if self._pattern is None:
            return
        for match in self._pattern.finditer(data, start, min(len(data), end + reach)):
            at, stop = match.span()
            if at >= end:
                return
            matched = data[at:stop].decode("utf-8", "replace").lower()
            known = self._inside.get(matched) or self._inside.get(matched.strip("_"))
            for first, last, keyword, asked in (
                known or self._spaced(matched, stop - at) or self._triggered(data[at:stop])
            ):
                yield Found(at + first, at + last, keyword, asked)

    def _spaced(self, matched: str, size: int) -> list[_Part]:
        """The keyword that was matched with other spaces; what it holds inside is placed like it."""
        inside = self._inside.get(" ".join(matched.split()), ())
        return [(0, size, keyword, asked) for _, _, keyword, asked in inside]

    def _triggered(self, matched: bytes) -> list[_Part]:
        owners = tuple(owner for pattern, owner in self._triggers if pattern.fullmatch(matched))
        return [(0, len(matched), "", owners)] if owners else []


def merged(ranges: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Ranges in order, cut to 0..size, overlapping ones as one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        start, end = max(0, start), min(size, end)
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def clusters(found: list[Found], distinct: int, within: int) -> Iterator[tuple[int, int, int]]:
    """Places where `distinct` different keywords lie within so many bytes: start, end, number of keywords.

    Clusters that touch are one.
    """
    counts: dict[str, int] = defaultdict(int)
    first, cluster = 0, None
    for last, item in enumerate(found):
        counts[item.keyword] += 1
        while item.end - found[first].start > within:
            counts[found[first].keyword] -= 1
            if not counts[found[first].keyword]:
                del counts[found[first].keyword]
            first += 1
        if len(counts) < distinct:
            continue
        if cluster and found[first].start <= cluster[1]:
            cluster = (cluster[0], item.end, cluster[2] + 1)
        else:
            if cluster:
                yield cluster
            cluster = (found[first].start, item.end, last - first + 1)
    if cluster:
        yield cluster
