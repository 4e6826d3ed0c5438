"""What only the site knows: its people's names, its hashed lists, its documents, its words, where it is.

Hashed lists and document fingerprints are made by `aiscope dlp hash-list` and `hash-document` with a key that
stays at the proxy: without it the files say nothing of what they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import re2

from sensor.proxy.dlp.detector import compiled
from sensor.proxy.dlp.written import one_way

MAX_ENTRIES = 5_000_000
MAX_WORDS = 10_000  # they become one automaton
MAX_FILE = 256 << 20
_HASH = 8  # bytes: of five million entries and a million looked up, one in 4 million is wrong


def _bytewise(pattern: bytes) -> Any:
    """A pattern over bytes, whatever they stand for: its automaton is small and fast."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern, options)


_CAPITALISED = r"\p{Lu}[\p{L}'’\-]*\.?"
_CAPITALISED_WORDS = compiled(_CAPITALISED)
# Capitalised words side by side, or `Family, Given`. Others may stand before: `Chief Financial Officer Anna Weber`.
_PHRASES = compiled(rf"{_CAPITALISED}(?:,?[ \x{{A0}}]{{1,2}}{_CAPITALISED})+")
_LONGEST = 4  # words of a name
_TOKENS = compiled(r"[\pL\pN_.+\-/#@]*[0-9@][\pL\pN_.+\-/#@]*")
_GROUPED = compiled(r"\d(?:[ \-.]?\d){5,30}")  # numbers written in groups
# A word that begins a shingle: chosen by its letters, so that the same text has the same shingles anywhere.
_ANCHORS = _bytewise(rb"(?i)(?:^|[^A-Za-z\x80-\xff])([bkvw][A-Za-z\x80-\xff]{6})")
_SHINGLE = 5  # words
KEY = 16  # bytes of the shortest that is taken
MIN_SHINGLES = 5  # of a document: fewer would be found in texts that only quote it
# ASCII letters in lower case, other ASCII a space; what is beyond ASCII stays.
_PLAIN = bytes(c if c > 127 or chr(c).isalnum() else 32 for c in bytes(range(256)).lower())
_SHINGLE_BYTES = 160
_PAUSE = 256  # values looked up between two places to pause


class ListError(ValueError):
    """A list, a fingerprint or a dictionary that cannot be used."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Hashed values of one list."""

    name: str
    hashes: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Document:
    """Hashed shingles of one document, and the share of them that makes a hit."""

    name: str
    shingles: frozenset[bytes]
    similarity: float


@dataclass(frozen=True, slots=True)
class Site:
    """What a site adds. `regions`: ISO 3166 codes, for telephone numbers written without a country."""

    regions: tuple[str, ...] = ("US",)
    names: frozenset[str] = frozenset()  # in lower case, `given family`
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)  # list's name: its words
    exact: tuple[Exact, ...] = ()
    documents: tuple[Document, ...] = ()
    key: bytes = b""  # of hashed lists and documents


def _plain(value: str) -> str:
    """A value as it is hashed: case, spaces at the ends and grouping of digits do not matter."""
    value = " ".join(one_way(value).casefold().replace(",", " ").replace("’", "'").split()).strip(
        ".;:!?\"'()[]"
    )
    bare = value.replace(" ", "").replace("-", "").replace(".", "")
    return bare if bare.isdigit() else value


def _hash(key: bytes, text: str) -> bytes:
    """Keyed BLAKE2b (RFC 7693)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key[:64], digest_size=_HASH).digest()


def hash_value(key: bytes, value: str) -> bytes:
    """The hash of one entry of a list. Raises ListError for what could not be told from common text."""
    plain = _plain(value)
    if len(plain) < 5:
        raise ListError("shorter than five characters: it would be found everywhere")
    if not any(c.isdigit() or c == "@" for c in plain) and not 2 <= plain.count(" ") + 1 <= 4:
        raise ListError("neither a number, an address nor a name of two to four words")
    return _hash(key, plain)


def shingles(data: bytes, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Place and hash of every chosen run of words."""
    for match in _ANCHORS.finditer(data):
        at = match.start(1)
        words = data[at : at + _SHINGLE_BYTES].translate(_PLAIN).split(None, _SHINGLE)
        if len(words) > _SHINGLE:
            yield at, hashlib.blake2b(b" ".join(words[:_SHINGLE]), key=key[:64], digest_size=_HASH).digest()


Phrase = tuple[int, int, list[str]]  # start and end in bytes, words


def find_names(found: Iterable[Phrase], names: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Where a phrase is a name of the dictionary, given name first or last."""
    for start, end, words in found:
        if " ".join(words).casefold() in names or " ".join([*words[1:], words[0]]).casefold() in names:
            yield start, end


def phrases(data: bytes) -> Iterator[Phrase]:
    """Every run of two to four capitalised words within a phrase, longest first, without overlap."""
    for match in _PHRASES.finditer(data):
        starts, ends, words = [], [], []
        for word in _CAPITALISED_WORDS.finditer(match[0]):
            bare = word[0].rstrip(b".")
            starts.append(match.start() + word.start())
            ends.append(starts[-1] + len(bare))
            words.append(bare.decode("utf-8", "replace").replace("’", "'"))
        for size in range(min(_LONGEST, len(words)), 1, -1):
            for first in range(len(words) - size + 1):
                yield starts[first], ends[first + size - 1], words[first : first + size]


def find_exact(data: bytes, said: Iterable[Phrase], site: Site) -> Iterator[tuple[str, int, int] | None]:
    """List, start and end of every value of a hashed list. None is a place to pause."""
    for number, (start, end, text) in enumerate(_candidates(data, said)):
        if number % _PAUSE == 0:
            yield None
        hashed = _hash(site.key, _plain(text))
        for entry in site.exact:
            if hashed in entry.hashes:
                yield entry.name, start, end


def _candidates(data: bytes, said: Iterable[Phrase]) -> Iterator[tuple[int, int, str]]:
    for pattern in (_TOKENS, _GROUPED):
        for match in pattern.finditer(data):
            text = match[0].decode("utf-8", "replace").strip(".-/+#")
            at = match.start() + max(0, match[0].find(text.encode()))
            yield at, at + len(text.encode()), text
    for start, end, words in said:
        yield start, end, " ".join(words)


def find_documents(data: bytes, site: Site) -> Iterator[tuple[Document, int, int, int] | None]:
    """Document, first and last place and number of shingles, where enough of a document is in the text.

    None is a place to pause.
    """
    places: dict[bytes, int] = {}
    for number, (at, hashed) in enumerate(shingles(data, site.key)):
        places.setdefault(hashed, at)
        if number % _PAUSE == 0:
            yield None
    for document in site.documents:
        common = document.shingles & places.keys()
        if common and len(common) >= document.similarity * len(document.shingles):
            where = [places[hashed] for hashed in common]
            yield document, min(where), min(len(data), max(where) + _SHINGLE_BYTES), len(common)


def read_key(path: Path) -> bytes:
    """The key that lists were made with. Raises OSError, and ValueError for one that is none."""
    key = path.read_bytes()
    if len(key) < KEY:
        raise ValueError(f"{path}: shorter than {KEY} bytes: not a key")
    return key


def read_lines(path: Path) -> list[str]:
    """Lines of a dictionary or word list; empty ones and those that begin with # are left out."""
    if path.stat().st_size > MAX_FILE:
        raise ListError(f"{path}: larger than {MAX_FILE} bytes")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: not UTF-8 at byte {error.start}") from None
    return [text for line in lines if (text := one_way(line.strip())) and not text.startswith("#")]


_LIST, _DOCUMENT = "aiscope-list-1", "aiscope-document-1"


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ListError(f"{name!a}: a name is lower case letters and digits with hyphens")
    return name


def write_list(name: str, hashes: Iterable[bytes]) -> str:
    """The file of a hashed list: sorted, so that the order of the original is not told. Raises ListError."""
    return "\n".join([f"{_LIST} {_named(name)}", *sorted(h.hex() for h in set(hashes))]) + "\n"


def write_document(name: str, hashes: Iterable[bytes], similarity: float) -> str:
    """The file of a document's fingerprint."""
    return (
        "\n".join([f"{_DOCUMENT} {_named(name)} {similarity}", *sorted(h.hex() for h in set(hashes))]) + "\n"
    )


_HEX = re2.compile(r"[0-9a-f]{16}")
_NAME = re2.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def read_hashed(path: Path) -> Exact | Document:
    """A file that `write_list` or `write_document` made. Raises ListError with file and line."""
    head, *rest = read_lines(path) or [""]
    kind, *words = head.split(" ")
    if len(rest) > MAX_ENTRIES:
        raise ListError(f"{path}: more than {MAX_ENTRIES} entries")
    wrong = next((n for n, line in enumerate(rest, 2) if not _HEX.fullmatch(line)), 0)
    if wrong:
        raise ListError(f"{path}:{wrong}: not sixteen hexadecimal digits")
    hashes = frozenset(map(bytes.fromhex, rest))
    if not words or not _NAME.fullmatch(words[0]):
        raise ListError(f"{path}:1: not a hashed list or document of aiscope")
    if kind == _LIST and len(words) == 1:
        return Exact(words[0], hashes)
    if kind == _DOCUMENT and len(words) == 2 and hashes and (share := _share(words[1])):
        return Document(words[0], hashes, share)
    raise ListError(f"{path}:1: not a hashed list or document of aiscope")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value <= 1 else 0.0


def open_site(
    regions: Iterable[str] = ("US",),
    names: Iterable[Path] = (),
    words: Iterable[Path] = (),
    hashed: Iterable[Path] = (),
    key: bytes = b"",
) -> Site:
    """A site from its files. Raises ListError and OSError."""
    made: list[Any] = [read_hashed(path) for path in hashed]
    if made and len(key) < 16:
        raise ListError("hashed lists need the key they were made with")
    lists = {path.stem.lower().replace("_", "-").replace(" ", "-"): tuple(read_lines(path)) for path in words}
    for name, entries in lists.items():
        if not _NAME.fullmatch(name) or len(entries) > MAX_WORDS:
            raise ListError(f"{name}: a word list has a plain name and at most {MAX_WORDS} words")
    return Site(
        tuple(regions),
        frozenset(
            " ".join(line.replace(",", " ").replace("’", "'").split()).casefold()
            for p in names
            for line in read_lines(p)
        ),
        lists,
        tuple(item for item in made if isinstance(item, Exact)),
        tuple(item for item in made if isinstance(item, Document)),
        key,
    )
