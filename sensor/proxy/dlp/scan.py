"""Texts to hits. One pass finds where detectors are worth trying; what they find is checked and put in order.

No I/O and no clock. `steps` can be paused between two pieces of work of about a millisecond, so that who serves
a network connection meanwhile can go on serving it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from sensor.proxy.dlp import code, written
from sensor.proxy.dlp import site as lists
from sensor.proxy.dlp.detector import Detector, compiled
from sensor.proxy.dlp.keywords import Found, Keywords, clusters, merged
from sensor.proxy.dlp.load import PACKAGED, load
from sensor.proxy.dlp.model import CONFIDENCES, Hit, Limits, Scan, Text, problem
from sensor.proxy.dlp.patterns import GAVE_UP, Quick, Ready
from sensor.proxy.dlp.site import Site
from sensor.proxy.dlp.written import Written

# Six digits with little in between: what numbers of people, cards and accounts have.
_DIGITS = compiled(r"\d(?:[^0-9\n]{0,2}\d){5,}")
_BREAKS = {b"\\n": b" \n", b"\\r": b" \r", b"\\t": b" \t"}
_FEW = (
    1_000  # of them are changed one by one; to look for all of each kind takes a millisecond for a megabyte
)
_JOINED = compiled(r"[{{letter}}\pM\pN]")
_AROUND = 24  # bytes before and after such digits that belong to the number: a country, a check letter
# Of hits that overlap only one is kept: that of the class that comes first. Others are about whole passages.
_RANK = {
    name: rank
    for rank, name in enumerate(
        (
            "exact-match",
            "credentials",
            "custom",
            "iban",
            "payment-card",
            "national-id",
            "email",
            "phone",
            "person-name",
            "address",
        )
    )
}
_CONTINUATION = bytes(range(0x80, 0xC0))

Steps = Generator[None, None, Scan]


class Config:
    """Detectors and a site's lists, compiled. Made once, used for every scan; holds no state of a scan."""

    def __init__(
        self, detectors: Iterable[Detector], site: Site | None = None, limits: Limits | None = None
    ) -> None:
        self.site, self.limits = site or Site(), limits or Limits()
        self.detectors = (*detectors, *_word_lists(self.site))
        self.ready = {i: Ready(d, self.site.regions) for i, d in enumerate(self.detectors) if d.pattern}
        self.languages = code.Languages([d for d in self.detectors if d.marks])
        self.keywords = _keywords(self.detectors)
        self.on_digits = [
            i for i in self.ready if self.detectors[i].digits and not _by_context(self.detectors[i])
        ]
        self.quick = Quick([self.ready[i] for i in self.on_digits])
        self.always = [i for i in self.ready if not _tried_near(self.detectors[i])]


def _tried_near(detector: Detector) -> bool:
    """Whether something says where its pattern is worth trying."""
    return bool(detector.digits or detector.keywords or detector.trigger or detector.needs_context)


def _by_context(detector: Detector) -> bool:
    """Whether the words it needs are rarer than the digits it is about."""
    return detector.needs_context and not detector.keywords and not detector.trigger


def _keywords(detectors: Iterable[Detector]) -> Keywords:
    owners: dict[str, set[int]] = defaultdict(set)
    whole: dict[str, set[int]] = defaultdict(set)
    triggers: dict[str, int] = {}
    for index, detector in enumerate(detectors):
        for word in (*detector.keywords, *detector.terms):
            owners[word].add(index)
        if _by_context(detector):
            for word in detector.context:
                for written in {word, word.replace(" ", "_"), word.replace(" ", "-")}:
                    (whole if len(word) < 5 and word.isascii() else owners)[written].add(index)
        if detector.trigger:
            triggers[detector.trigger] = index
    return Keywords(owners, whole, triggers)


def _word_lists(site: Site) -> Iterator[Detector]:
    for name, words in site.words.items():
        yield Detector.model_construct(
            id=f"words-{name}",
            name=name,
            data_class="custom",
            severity="medium",
            confidence="high",
            terms=tuple(" ".join(word.lower().split()) for word in words),
            distinct=1,
            within=200,
        )


def open_config(
    folders: Iterable[Path] = (PACKAGED,),
    site: Site | None = None,
    disabled: Iterable[str] = (),
    limits: Limits | None = None,
) -> Config:
    """A configuration from detector files. Raises DetectorError, OSError, and ValueError for an unknown id."""
    detectors, off = load(folders), set(disabled)
    if unknown := off - {detector.id for detector in detectors}:
        raise ValueError(f"unknown detectors: {', '.join(sorted(unknown))}")
    return Config((d for d in detectors if d.id not in off), site, limits)


def scan(texts: Iterable[Text], config: Config) -> Scan:
    """Everything the configured detectors find in these texts."""
    work = steps(texts, config)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def steps(texts: Iterable[Text], config: Config) -> Steps:
    """`scan` in pieces: a generator that yields between them and returns the Scan."""
    hits: list[Hit] = []
    left, size = config.limits.bytes, 0
    for text in texts:
        raw = text.text.encode("utf-8", "surrogatepass")
        same = yield from written.steps(text.text, raw)
        if same.text is not text.text:
            raw = same.text.encode("utf-8", "surrogatepass")
        raw = _spaced(f"{text.hint}: ".encode("utf-8", "surrogatepass") + raw if text.hint else raw)
        if len(raw) > left:
            hits.append(problem("too-large", text.where, "scan", len(text.text)))
            raw = raw[:left]
        left, size = left - len(raw), size + len(raw)
        found, whole = yield from _one(raw, config)
        hits += _placed(found, raw, text, same)
        if not whole:
            hits.append(problem("too-large", text.where, "candidates"))
        if len(hits) > config.limits.hits:
            hits = [*hits[: config.limits.hits], problem("too-large", text.where, "hits")]
            break
    return Scan(tuple(hits), size)


def _spaced(data: bytes) -> bytes:
    """Line breaks and tabs as JSON in a string has them (a tool's arguments, its result) made real, with a space that
    keeps all places: else an `n` touches the first word of every line."""
    if data.count(b"\\") > _FEW:
        for mark, real in _BREAKS.items():
            data = data.replace(mark, real)
        return data
    changed, at = bytearray(data), data.find(b"\\")
    while at >= 0:
        changed[at : at + 2] = _BREAKS.get(data[at : at + 2], changed[at : at + 2])
        at = data.find(b"\\", at + 1)
    return bytes(changed)


# Of one text, in bytes: detector, start, end, confidence, count.
_Raw = tuple[Detector, int, int, str, int]


def _one(data: bytes, config: Config) -> Generator[None, None, tuple[list[_Raw], bool]]:
    """What is in one text, and whether all of it was looked at."""
    ranges, terms = yield from _where(data, config)
    found: list[_Raw] = []
    whole = True
    for index, places in ranges.items():
        ready = config.ready[index]
        for span in ready.find(data, places, config.limits):
            if span is GAVE_UP:
                whole = False
            elif span is not None:
                found.append((ready.detector, *span, 1))
            yield
    for index, words in terms.items():
        found += _of_terms(config.detectors[index], words, config.limits)
    if config.languages:
        for place in code.find(data, config.languages, config.limits.step):
            if place is None:
                yield
            else:
                detector, start, end, count = place
                found.append((detector, start, end, detector.confidence, count))
    found += yield from _of_site(data, config)
    return _without_overlap(found), whole


def _where(
    data: bytes, config: Config
) -> Generator[None, None, tuple[dict[int, list[tuple[int, int]]], dict[int, list[Found]]]]:
    """Ranges to try the patterns on, and terms found, by detector."""
    near: dict[int, list[tuple[int, int]]] = defaultdict(list)
    terms: dict[int, list[Found]] = defaultdict(list)
    numbers: list[tuple[int, int]] = []
    for at in range(0, len(data), config.limits.step):
        end = min(len(data), at + config.limits.step)
        for word in config.keywords.find(data, at, end):
            for index in word.owners:
                if index not in config.ready:
                    if _whole(data, word):
                        terms[index].append(word)
                    continue
                reach, places = config.detectors[index].reach, near[index]
                if places and word.start - reach <= places[-1][1]:
                    places[-1] = (places[-1][0], max(places[-1][1], word.end + reach))
                else:
                    places.append((word.start - reach, word.end + reach))
        spans = (match.span() for match in _DIGITS.finditer(data, at, min(len(data), end + 64)))
        numbers += [(first - _AROUND, last + _AROUND) for first, last in spans if first < end]
        yield
    ranges = {index: merged(places, len(data)) for index, places in near.items()}
    for start, end in merged(numbers, len(data)):
        for number in config.quick.worth(data, start, end):
            ranges.setdefault(config.on_digits[number], []).append((start, end))
    ranges |= {index: [(0, len(data))] for index in config.always}
    return ranges, terms


def _of_terms(detector: Detector, words: list[Found], limits: Limits) -> Iterator[_Raw]:
    kept = words[: limits.hits * 10]
    for start, end, count in islice(clusters(kept, detector.distinct, detector.within), limits.hits + 1):
        yield detector, start, end, detector.confidence, count


def _whole(data: bytes, word: Found) -> bool:
    """No letter or digit touches the word, of a script that has spaces between words."""
    before, after = data[max(0, word.start - 1) : word.start], data[word.end : word.end + 1]
    if before.isalnum() or after.isalnum():
        return False
    if before < b"\x80" and after < b"\x80":
        return True
    before, after = data[max(0, word.start - 4) : word.start], data[word.end : word.end + 4]
    beside = before.decode("utf-8", "ignore")[-1:] + after.decode("utf-8", "ignore")[:1]
    return _JOINED.search(beside.encode()) is None


def _of_site(data: bytes, config: Config) -> Generator[None, None, list[_Raw]]:
    """What only the site's lists know."""
    site, most, found = config.site, config.limits.hits + 1, list[_Raw]()
    said = list(lists.phrases(data)) if site.names or site.exact else []
    for start, end in islice(lists.find_names(said, site.names), most):
        found.append((_NAME, start, end, "high", 1))
    for value in lists.find_exact(data, said, site) if site.exact else ():
        if value is None:
            yield
        elif len(found) < 2 * most:
            found.append((_site_detector("exact-match", value[0]), *value[1:], "high", 1))
    for part in lists.find_documents(data, site) if site.documents else ():
        if part is None:
            yield
        else:
            document, start, end, count = part
            found.append((_site_detector("fingerprint-match", document.name), start, end, "high", count))
    return found


def _site_detector(data_class: str, name: str, severity: str = "high") -> Detector:
    return Detector.model_construct(id=f"{data_class}-{name}", data_class=data_class, severity=severity)


_NAME = _site_detector("person-name", "dictionary", "medium")


def _without_overlap(found: list[_Raw]) -> list[_Raw]:
    """Of values that overlap the one whose class, confidence and length say most; passages are all kept."""
    values = [raw for raw in found if raw[0].data_class in _RANK]
    values.sort(key=lambda r: (_RANK[r[0].data_class], -CONFIDENCES.index(r[3]), r[1] - r[2], r[0].id))
    taken: list[tuple[int, int]] = []  # sorted, disjoint
    kept = [raw for raw in found if raw[0].data_class not in _RANK]
    for raw in values:
        at = bisect_left(taken, (raw[1], raw[2]))
        if (at and taken[at - 1][1] > raw[1]) or (at < len(taken) and taken[at][0] < raw[2]):
            continue
        taken.insert(at, (raw[1], raw[2]))
        kept.append(raw)
    return sorted(kept, key=lambda r: (r[1], r[2], r[0].id))


def _placed(found: list[_Raw], data: bytes, text: Text, same: Written) -> list[Hit]:
    """Hits with places in characters of the text, without those that lie in what stood before it.

    `same` is the text that `data` was made from.
    """
    before = len(text.hint) + 2 if text.hint else 0
    places = sorted({at for _, start, end, _, _ in found for at in (start, end)})
    characters: dict[int, int] = {}
    done = count = 0
    for at in places:
        count += len(data[done:at].translate(None, _CONTINUATION))
        done, characters[at] = at, count
    hits = []
    for detector, first, last, confidence, signs in found:
        start, end = characters[first] - before, characters[last] - before
        if end > 0:
            hits.append(
                Hit(
                    detector.data_class,
                    detector.id,
                    text.where,
                    same.original(max(0, start)),
                    same.original(end),
                    confidence,
                    detector.severity,
                    signs,
                    getattr(detector, "heuristic", False),
                )
            )
    return hits
