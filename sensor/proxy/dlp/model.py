"""What a scan takes and what it says. A hit has a place, never the text that was found there."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from sensor.knowledge.policy_model import DataClass
from sensor.proxy.dlp.written import one_way

DATA_CLASSES: tuple[str, ...] = get_args(DataClass)
# What is said of a text that could not be looked at, or not wholly: a finding of its own, not a data class.
PROBLEMS = ("unreadable", "too-large")

Confidence = Literal["low", "medium", "high"]
CONFIDENCES: tuple[str, ...] = get_args(Confidence)
Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[str, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one scan, with the reason for their size."""

    bytes: int = 8_388_608  # of all texts together; 1 MB takes some 50 ms
    hits: int = 10_000  # of one scan
    candidates: int = 10_000  # that one detector may have checked in vain in one text; 1 MB of them takes 5 s
    step: int = 16_384  # bytes between two places where a scan can pause


@dataclass(frozen=True, slots=True)
class Text:
    """A text and where it is from. `hint` is what stood before it: a JSON key, a form field's name."""

    where: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found. `start` and `end` are characters of the text; `count` is how many signs make the hit."""

    data_class: str  # DATA_CLASSES, or PROBLEMS
    detector: str
    where: str
    start: int
    end: int
    confidence: str
    severity: str
    count: int = 1
    heuristic: bool = False  # a sign of an attack, not proof: see docs/dlp.md


@dataclass(frozen=True, slots=True)
class Scan:
    """All hits, ordered by text and place. `bytes` is how much was looked at."""

    hits: tuple[Hit, ...] = ()
    bytes: int = 0

    def counts(self, at_least: str = "low") -> dict[str, int]:
        """Hits by data class, those of at least this confidence."""
        least = CONFIDENCES.index(at_least)
        return dict(Counter(h.data_class for h in self.hits if CONFIDENCES.index(h.confidence) >= least))


def problem(kind: str, where: str, detector: str, size: int = 0) -> Hit:
    """That a text could not be looked at; `kind` is one of PROBLEMS."""
    return Hit(kind, detector, where, 0, size, "high", "low")


def normalised(data_class: str, value: str) -> str:
    """A value without what differs between ways to write it."""
    if data_class == "credentials":
        return value
    value = one_way(value)
    if data_class in ("payment-card", "iban", "national-id", "phone"):
        return "".join(c for c in value if c.isalnum() or c == "+").upper()
    return " ".join(value.casefold().split())


def fingerprint(key: bytes, data_class: str, value: str) -> str:
    """A value's keyed hash, 32 hexadecimal digits: equal values are equal, nothing else can be told.

    HMAC-SHA256 (RFC 2104), cut to 128 bits. A card number has few enough digits to try them all: the key must
    not leave the proxy, and a new key makes old hashes meaningless.
    """
    text = f"{data_class}\0{normalised(data_class, value)}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]
