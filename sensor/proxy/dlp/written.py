"""One way to write what can be written in several: full-width letters and digits, letters with their accents apart,
escapes of JSON. What is found is placed in the text as it was.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Generator
from dataclasses import dataclass, field

import re2

# As Japanese and Chinese input methods write Latin, and the space; punctuation of their own sentences is left.
_WIDE = "[\u3000\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\uff0b\uff0d\uff0e\uff3f]"
_MARKS = "[\u0300-\u036f\u3099\u309a]"  # accents and Japanese voice marks; macOS writes file names with them
_APART = re.compile(rf"{_WIDE}+|\w{_MARKS}+|\\{{1,3}}u(?![dD][89a-fA-F])[0-9A-Fa-f]{{4}}")
# Bytes that all of these have in UTF-8, and few texts of Latin letters: a search for them alone takes no time.
_SIGNS = (b"\xcc", b"\xcd", b"\xe3", b"\xef")
# RE2 looks for the first byte; `in` takes a millisecond for a megabyte.
_ESCAPE = re2.compile(rb"\\u[0-9A-Fa-f]{4}")
_STEP, _REACH = 4_096, 16  # characters between two pauses; those that one of them may take


@dataclass(slots=True)
class Written:
    """A text written one way. `ends` are places in it behind which the original has `more` characters."""

    text: str
    ends: list[int] = field(default_factory=list)
    more: list[int] = field(default_factory=list)

    def original(self, at: int) -> int:
        """The place in the original of a place here."""
        before = bisect_right(self.ends, at)
        return at + self.more[before - 1] if before else at


def one_way(text: str) -> str:
    """A text written one way, where places do not matter."""
    return _APART.sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] == "\\":
        return chr(int(found[-4:], 16))
    return unicodedata.normalize("NFC" if unicodedata.combining(found[-1]) else "NFKC", found)


def steps(text: str, data: bytes) -> Generator[None, None, Written]:
    """A text, which in UTF-8 is `data`, written one way. Can be paused as a scan can."""
    yield
    if _ESCAPE.search(data) is None and not any(sign in data for sign in _SIGNS):
        return Written(text)
    parts, done, size = list[str](), 0, 0
    written = Written("")
    for at in range(0, len(text), _STEP):
        for match in _APART.finditer(text, max(at, done), min(len(text), at + _STEP + _REACH)):
            if match.start() >= at + _STEP:
                break
            new = _plain(match)
            size += match.start() - done + len(new)
            parts += text[done : match.start()], new
            done = match.end()
            if done != size + (written.more[-1] if written.more else 0):
                written.ends.append(size)
                written.more.append(done - size)
        yield
    written.text = "".join([*parts, text[done:]])
    return written
