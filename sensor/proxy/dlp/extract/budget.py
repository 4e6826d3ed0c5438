"""What one extraction may use. Whatever goes over it is left out and said."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensor.proxy.dlp.model import Hit, Text, problem


@dataclass(frozen=True, slots=True)
class ExtractLimits:
    """Bounds of one extraction, all parts and archive members together."""

    text: int = 16_777_216  # characters of text handed on
    unpacked: int = 67_108_864  # bytes that come out of archives and documents
    ratio: int = 200  # unpacked to packed, of one member: text packs to a tenth, bombs to a thousandth
    members: int = 1_000  # files in archives
    strings: int = 200_000  # strings of JSON, fields of forms
    depth: int = 4  # an archive in a form's part in an archive
    pages: int = 500  # of a PDF
    document: int = 33_554_432  # bytes of one document or picture that is looked into


@dataclass(slots=True)
class Budget:
    """What is left, and what was found so far."""

    limits: ExtractLimits = field(default_factory=ExtractLimits)
    texts: list[Text] = field(default_factory=list)
    problems: list[Hit] = field(default_factory=list)
    text: int = 0
    unpacked: int = 0
    members: int = 0
    strings: int = 0

    def add(self, where: str, text: str, hint: str = "") -> bool:
        """Keep a text, cut to what is left. False when there is no room for more."""
        room = self.limits.text - self.text
        if len(text) > room:
            self.too_large(where, "text")
            text = text[:room]
        if text and not text.isspace():
            self.texts.append(Text(where, text, hint))
            self.text += len(text)
        return self.text < self.limits.text

    def unpack(self, size: int) -> int:
        """How much of `size` bytes may still be unpacked; it is then used up."""
        allowed = min(size, self.limits.unpacked - self.unpacked)
        self.unpacked += allowed
        return allowed

    def unreadable(self, where: str, what: str) -> None:
        """Say that something could not be read; once for each place."""
        self._say("unreadable", where, what)

    def too_large(self, where: str, what: str) -> None:
        """Say that something was left out for a limit; once for each place."""
        self._say("too-large", where, what)

    def _say(self, kind: str, where: str, what: str) -> None:
        hit = problem(kind, where, f"extract-{what}")
        if len(self.problems) < 100 and hit not in self.problems:
            self.problems.append(hit)
