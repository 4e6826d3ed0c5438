"""What a request asks and what data is in it: pure functions, run in the proxy's loop for small bodies and
in a worker process for large ones. What they return holds no text of a prompt, except `Redacted.originals`.
Those that scan are generators, which pause every millisecond or so.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from sensor.proxy import dlp, providers
from sensor.proxy.dlp import Hit
from sensor.proxy.dlp.load import PACKAGED
from sensor.proxy.providers import Attachment, Call, Provider, Request, Result, Text, shapes
from sensor.proxy.providers.unknown import Unknown
from sensor.proxy.redact import Placeholders
from sensor.proxy.sealing import Sealer

T = TypeVar("T")
Work = Generator[None, None, T]
UNKNOWN = Unknown("unknown")
PROMPT = ("user",)  # roles whose texts are the prompt
SHOWN = 255  # characters of a name in a row
TURNS = 1_000  # messages of a row
# Hits that say something of a passage, not of a value: they are not replaced unless a rule names them.
PASSAGES = frozenset({"source-code", "health", "financial-document", "prompt-injection", "jailbreak"})


@dataclass(frozen=True, slots=True)
class Options:
    """What a worker is made from. `seal_to` is a public key's file."""

    regions: tuple[str, ...] = ("US",)
    names: tuple[Path, ...] = ()
    words: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()
    key: bytes = field(default=b"", repr=False)  # of hashed lists
    detectors: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    excerpt: int = 0  # characters
    seal_to: Path | None = None
    corporate: tuple[str, ...] = ()  # organisations whose accounts are the organisation's own


class Setting:
    """Compiled options. Made once in every process."""

    def __init__(self, options: Options) -> None:
        """Raises what `dlp.open_config` raises."""
        o = options
        site = dlp.open_site(o.regions, o.names, o.words, o.lists, o.key)
        self.config = dlp.open_config((PACKAGED, *o.detectors), site, o.disabled)
        self.options = options
        self.sealer = Sealer(options.seal_to) if options.seal_to else None


@dataclass(frozen=True, slots=True)
class Job:
    """A request to look at. `id` is the exchange's, `key` that of hashes."""

    id: str
    request: Request
    service: str
    key: bytes = field(repr=False)
    upload: tuple[tuple[Text, ...], tuple[Attachment, ...], bool] | None = None  # of a body that was not held
    known: Mapping[str, str] = field(default_factory=dict, repr=False)  # placeholders of messages before


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, without its texts."""

    provider: str
    operation: str
    model: str
    stream: bool | None
    attachments: tuple[str, ...]
    tools: tuple[str, ...]
    account: str
    account_type: str
    retry: bool
    prompt_hash: str
    hits: tuple[Hit, ...]
    cut: bool  # not all of it was read: too long, too deep, too many, broken
    unreadable: bool  # a file of a kind that is not read
    opaque: bool
    flaws: bool  # the server may read something else: the body is written anew
    excerpt: str = field(default="", repr=False)
    sealed: tuple[str, str] | None = field(default=None, repr=False)  # key id, ciphertext
    messages: tuple[str, ...] = ()  # `role;characters`
    system_hash: str = ""
    tools_called: tuple[str, ...] = ()  # by this request itself: MCP
    project: str = ""
    key_hash: str = ""

    @property
    def data_classes(self) -> tuple[str, ...]:
        """Classes of what was found with some confidence, sorted."""
        return classes(self.hits)


@dataclass(frozen=True, slots=True)
class Redacted:
    """A body without what may not leave, and what was in the places of its placeholders."""

    body: bytes = field(repr=False)
    originals: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, without its texts."""

    result: Result
    hits: tuple[Hit, ...] = ()

    @property
    def data_classes(self) -> tuple[str, ...]:
        """Classes of what was found with some confidence, sorted."""
        return classes(self.hits)


def classes(hits: Iterable[Hit]) -> tuple[str, ...]:
    """Data classes, sorted; what could not be looked at is none of them."""
    low = {hit.data_class for hit in hits if hit.confidence != "low"}
    return tuple(sorted(low.intersection(dlp.DATA_CLASSES)))


def reads(request: Request, service: str) -> Provider:
    """Who reads a request; what is decrypted is read at least as text."""
    return providers.recognise(request, service) or UNKNOWN


def ask(job: Job, setting: Setting) -> Work[Asked | None]:
    """What a request does; None for what is no exchange."""
    provider = reads(job.request, job.service)
    call = provider.request(job.request)
    if call is None and job.upload is not None:
        operation = provider.operation(job.request, None, shapes.read(None))
        call = Call(provider.name, operation or "upload", account=provider.account(job.request))
    if call is None:
        return None
    if job.upload is not None:
        texts, files, cut = job.upload
        call = replace(call, texts=texts, attachments=files, cut=cut)
    hits = yield from _scan(call.texts, call.attachments, setting)
    return _asked(job, call, hits, setting)


def redact(job: Job, asked: Asked, wanted: Sequence[str], setting: Setting) -> Redacted | None:
    """The body without hits of these classes; None where one of them is in a place that cannot be
    rewritten."""
    provider = reads(job.request, job.service)
    call = provider.request(job.request)
    if call is None or _signed(job.request):
        return None
    found: dict[str, list[Hit]] = {}
    for hit in asked.hits:
        if hit.data_class in wanted and hit.confidence != "low":
            found.setdefault(hit.where, []).append(hit)
    placeholders = Placeholders(lambda name: any(name in text.text for text in call.texts), job.known)
    changes: dict[str, str] = {}
    for where, hits in found.items():
        text = call.texts[int(where)] if where.isdecimal() else None
        if text is None or text.where is None:
            return None
        changes[text.where] = placeholders.put(text.text, hits)
    return Redacted(provider.rewrite(job.request, changes), placeholders.originals)


def heal(job: Job) -> bytes:
    """The body written anew, so that the server reads what we did."""
    return reads(job.request, job.service).rewrite(job.request, {})


def told(
    job: Job, status: int, headers: dict[str, str], chunks: Sequence[bytes], setting: Setting
) -> Work[Told]:
    """An answer that did not come as a stream."""
    reader = reads(job.request, job.service).response(status, headers)
    for chunk in chunks:
        reader.feed(chunk)
    return (yield from finished(reader.finish(), setting))


def finished(result: Result, setting: Setting) -> Work[Told]:
    """What data is in an answer."""
    hits = yield from _scan(result.texts, result.attachments, setting)
    return Told(replace(result, texts=(), attachments=()), hits)


def _scan(
    texts: Sequence[Text], attachments: Sequence[Attachment], setting: Setting
) -> Work[tuple[Hit, ...]]:
    wanted = [dlp.Text(str(place), text.text, _hint(text)) for place, text in enumerate(texts)]
    found, problems = dlp.attachments([(f"file-{n}", a) for n, a in enumerate(attachments) if a.data])
    scan = yield from dlp.steps([*wanted, *found], setting.config)
    return (*scan.hits, *problems)


def _hint(text: Text) -> str:
    """The name of the member that holds it, where that is not the dialect's own."""
    name = (text.where or "").rpartition("/")[2]
    return name if text.role == "other" and name and not name.isdecimal() else ""


def _asked(job: Job, call: Call, hits: tuple[Hit, ...], setting: Setting) -> Asked:
    account, options = call.account, setting.options
    fingerprint = account.key.fingerprint(job.key)
    name = account.organisation or account.project or (f"key:{fingerprint}" if fingerprint else account.user)
    prompt = [(n, text) for n, text in enumerate(call.texts) if text.role in PROMPT]
    joined = "\n".join(text.text for _, text in prompt)
    return Asked(
        call.provider,
        call.operation,
        call.model,
        call.stream,
        tuple(_file(a, job.key) for a in call.attachments),
        tuple(dict.fromkeys((*call.tools_called, *call.tools_offered))),
        name[:SHOWN],
        "corporate" if name in options.corporate else account.kind,
        call.retry > 0,
        _hashed(job.key, joined) if joined else "",
        hits,
        call.cut or any(hit.data_class == "too-large" for hit in hits),
        any(hit.data_class == "unreadable" for hit in hits),
        call.shape == "opaque",
        bool(call.flaws),
        _excerpt(prompt, hits, options.excerpt) if options.excerpt else "",
        (setting.sealer.key_id, setting.sealer.seal(job.id, joined)) if setting.sealer and joined else None,
        tuple(f"{one.role};{one.size}" for one in call.messages[:TURNS]),
        _hashed(job.key, call.system) if call.system else "",
        call.tools_called if call.operation == "tool_call" else (),
        account.project[:SHOWN],
        fingerprint,
    )


def _excerpt(prompt: Sequence[tuple[int, Text]], hits: Iterable[Hit], size: int) -> str:
    """The end of the prompt without what was found in it, of any confidence; printable."""
    if not prompt:
        return ""
    place, text = prompt[-1]
    clean = Placeholders().put(
        text.text, [h for h in hits if h.where == str(place) and h.data_class not in PASSAGES]
    )
    return "".join(c if c.isprintable() else " " for c in clean[:size])


def _file(attachment: Attachment, key: bytes) -> str:
    """`name;type;size;hash`: the hash is keyed, for a file that everybody has would be known by its own."""
    said = attachment.sha256 and _hashed(key, attachment.sha256)
    size = "" if attachment.size is None else attachment.size
    name = "".join(c if c.isprintable() and c != ";" else "_" for c in attachment.name)
    return f"{name[:SHOWN]};{attachment.type[:SHOWN]};{size};{said}"


def _hashed(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _signed(request: Request) -> bool:
    """AWS Signature Version 4 covers the body: who rewrites it breaks the request."""
    signed = request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")
    return signed and request.headers.get("x-amz-content-sha256", "") != "UNSIGNED-PAYLOAD"
