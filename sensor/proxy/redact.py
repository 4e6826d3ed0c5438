"""Typed placeholders: `<CARD_1>` goes out instead of the number, and is put back where the answer has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sensor.proxy.dlp import Hit

# What stands for a value. Classes that are not here have their own name.
WORDS = {
    "payment-card": "CARD",
    "credentials": "CREDENTIAL",
    "national-id": "NATIONAL_ID",
    "person-name": "NAME",
    "exact-match": "RECORD",
    "custom": "TERM",
    "classification-marking": "MARKING",
    "fingerprint-match": "DOCUMENT",
}


class Placeholders:
    """One value has one placeholder in all texts of a request."""

    def __init__(
        self, taken: Callable[[str], bool] = lambda text: False, known: Mapping[str, str] | None = None
    ) -> None:
        """`taken`: whether the request has such a text already, so that the answer's may be its own;
        `known`: originals of the messages before."""
        self._taken = taken
        self.originals: dict[str, str] = dict(known or {})
        self._of = {(name[1:].rpartition("_")[0], value): name for name, value in self.originals.items()}
        self._number: dict[str, int] = {}

    def put(self, text: str, hits: Iterable[Hit]) -> str:
        """A text without what was found in it. Places that overlap become one."""
        out, at = [], 0
        for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
            if hit.start < at:
                if hit.end <= at:
                    continue
                out.append(self._for(hit.data_class, text[at : hit.end]))
            else:
                out += [text[at : hit.start], self._for(hit.data_class, text[hit.start : hit.end])]
            at = hit.end
        return "".join([*out, text[at:]])

    def _for(self, data_class: str, value: str) -> str:
        word = WORDS.get(data_class, data_class.upper().replace("-", "_"))
        if (word, value) not in self._of:
            self._of[word, value] = self._new(word)
            self.originals[self._of[word, value]] = value
        return self._of[word, value]

    def _new(self, word: str) -> str:
        while True:
            self._number[word] = self._number.get(word, 0) + 1
            name = f"<{word}_{self._number[word]}>"
            if name not in self.originals and not self._taken(name):
                return name


def lookup(originals: Mapping[str, str]) -> Callable[[str], str | None]:
    """For a `Restorer`."""
    return originals.get
