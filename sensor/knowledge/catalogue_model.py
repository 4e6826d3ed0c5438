"""The catalogue's file format as types, and their JSON Schema. `signatures/README.md` explains it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sensor.knowledge.catalogue_match import ascii_name

CATEGORIES = (
    "chat",
    "llm-api",
    "coding",
    "image",
    "audio",
    "video",
    "search",
    "agent",
    "model-hub",
    "gateway",
    "meeting",
    "writing",
    "translation",
    "companion",
    "embedded-saas",
    "cloud-ai",
    "self-hosted",
)

Category = Literal[
    "chat",
    "llm-api",
    "coding",
    "image",
    "audio",
    "video",
    "search",
    "agent",
    "model-hub",
    "gateway",
    "meeting",
    "writing",
    "translation",
    "companion",
    "embedded-saas",
    "cloud-ai",
    "self-hosted",
]
Role = Literal["app", "api", "upload", "realtime", "cdn", "auth", "telemetry"]
USE = frozenset({"app", "api", "upload", "realtime"})  # what counts as use; the rest is a weaker rung

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\Z")
_GLOB = re.compile(r"[a-z0-9_*-]+\Z")
_PATH = re.compile(r"=?(?:(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) )?/[\x21-\x2b\x2d-\x7e]*\Z")


def _pattern(text: str) -> str:
    """One host pattern in its normal form: `name`, `=name`, or a glob within labels."""
    mark, name = ("=", text[1:]) if text.startswith("=") else ("", text)
    name = name if "*" in name else ascii_name(name)
    labels = name.split(".")
    if len(labels) < 2:
        raise ValueError("a host pattern has at least two labels")
    if len(name) > 253 or any(len(label) > 63 for label in labels):
        raise ValueError("longer than a host name can be")
    for label in labels:
        wanted = _GLOB if "*" in label and not mark else _LABEL
        if not wanted.match(label):
            raise ValueError(f"{label!r} is no label of a host pattern")
    if "*" in labels[-1] + labels[-2] or any(label.count("*") > 1 for label in labels):
        raise ValueError("a glob ends in two literal labels, and has at most one * in each other")
    if re.fullmatch(r"[0-9.]+", name):
        raise ValueError("an address belongs under addresses")
    return mark + name


def _network(text: str) -> str:
    """A CIDR in its normal form; wide ones are refused, since they are never one vendor's."""
    network = ipaddress.ip_network(text)
    if network.prefixlen < (8 if network.version == 4 else 16):
        raise ValueError("wider than any vendor's network")
    return str(network)


def _path(text: str) -> str:
    if not _PATH.match(text):
        raise ValueError("a path is `/...`, `=/...` or `METHOD /...`, in ASCII without spaces and commas")
    if any(segment.count("*") > 1 for segment in text.split("/")):  # keeps matching linear
        raise ValueError("at most one * in each segment of a path")
    return text


Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]+$", max_length=500)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Host = Annotated[str, StringConstraints(min_length=3, max_length=260), AfterValidator(_pattern)]
Cidr = Annotated[str, StringConstraints(max_length=50), AfterValidator(_network)]
Path = Annotated[str, StringConstraints(max_length=200), AfterValidator(_path)]
Port = Annotated[int, Field(ge=1, le=65535)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
Headers = dict[HeaderName, Annotated[str, Field(max_length=200)]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Request(_Model):
    """A path on one host that others share, or on any host."""

    host: Host | None = Field(default=None, description="host pattern; left out: any host")
    path: Path
    role: Role = "api"

    @property
    def text(self) -> str:
        """The rule in one line."""
        return f"{self.host} {self.path}" if self.host else self.path


class Server(_Model):
    """Self-hosted software in clear. All that is stated must hold; a service's entries are alternatives."""

    ports: tuple[Port, ...] = Field(default=(), description="only on these; left out: any port")
    paths: tuple[Path, ...] = Field(default=(), description="one of these; left out: any path")
    request_headers: Headers = Field(
        default={}, description="name: text the value holds, case aside; empty: present"
    )
    response_headers: Headers = Field(default={}, description="likewise, of the response")
    body: Text | None = Field(default=None, description="text within the first bytes of the response's body")
    role: Role = "api"

    @model_validator(mode="after")
    def _enough(self) -> Server:
        if not (self.paths or self.request_headers or self.response_headers or self.body):
            raise ValueError("a port alone says nothing: give paths or a marker")
        return self

    @property
    def markers(self) -> int:
        """How many markers must be seen."""
        return len(self.request_headers) + len(self.response_headers) + (self.body is not None)

    @property
    def text(self) -> str:
        """The entry in one line."""
        headers = [*self.request_headers.items(), *self.response_headers.items()]
        parts = [
            f"port {'|'.join(map(str, self.ports))}" if self.ports else "",
            " | ".join(self.paths),
            *(f"{name}: {text}".strip() for name, text in headers),
            f"body {self.body!r}" if self.body else "",
        ]
        return ", ".join(part for part in parts if part)


class RequestCase(_Model):
    """A request in clear as a test case."""

    request: Annotated[str, StringConstraints(pattern=r"^[A-Z]+ /[\x21-\x7e]*$", max_length=300)]
    host: str = ""
    port: Port = 80
    headers: Headers = {}
    response_headers: Headers = {}
    body: str = ""


class AddressCase(_Model):
    """A server's address as a test case."""

    address: Annotated[str, AfterValidator(lambda text: str(ipaddress.ip_address(text)))]


Case = Annotated[str, StringConstraints(min_length=1, max_length=260)] | RequestCase | AddressCase


class _Fact(_Model):
    source: Url
    checked: dt.date


class YesNo(_Fact):
    """A fact that is so or is not."""

    value: bool


class Days(_Fact):
    """A number of days; 0: not kept."""

    value: Annotated[int, Field(ge=0, le=36_500)]


class Texts(_Fact):
    """Several short texts; an empty list says that there are none, and the source says so."""

    value: tuple[Text, ...]


class Facts(_Model):
    """What is known for risk. Absent is unknown, never guessed."""

    regions: Texts | None = Field(default=None, description="where data can be kept: country codes or `EU`")
    trains_consumer: YesNo | None = Field(default=None, description="trains on consumers' data by default")
    trains_business: YesNo | None = Field(
        default=None, description="trains on business customers' data by default"
    )
    retention_days: Days | None = Field(
        default=None, description="prompts kept by default for business or API use"
    )
    soc2: YesNo | None = Field(default=None, description="SOC 2 Type 2 report stated by the vendor")
    iso27001: YesNo | None = Field(default=None, description="ISO/IEC 27001 certificate stated by the vendor")
    iso42001: YesNo | None = Field(default=None, description="ISO/IEC 42001 certificate stated by the vendor")
    sso: YesNo | None = Field(default=None, description="single sign-on offered to organisations")
    incidents: Texts | None = Field(default=None, description="known incidents: `2025-11 what happened`")


class Service(_Model):
    """One AI product a person or program can use."""

    id: Id
    name: Text
    category: Category
    description: Text | None = None
    hosts: dict[Role, tuple[Host, ...]] = {}
    addresses: tuple[Cidr, ...] = ()
    requests: tuple[Request, ...] = ()
    servers: tuple[Server, ...] = ()
    sources: tuple[Url, ...] = Field(min_length=1)
    checked: dt.date
    fires: tuple[Case, ...] = Field(min_length=1)
    silent: tuple[Case, ...] = Field(min_length=1)
    facts: Facts = Facts()

    @model_validator(mode="after")
    def _some_evidence(self) -> Service:
        if not (any(self.hosts.values()) or self.addresses or self.requests or self.servers):
            raise ValueError("nothing identifies it: give hosts, addresses, requests or servers")
        return self


class Vendor(_Model):
    """One file of `services/`."""

    vendor: Id
    name: Text
    country: Country | None = Field(default=None, description="ISO 3166-1 alpha-2 of the vendor's seat")
    services: tuple[Service, ...] = Field(min_length=1)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a vendor file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Vendor.model_json_schema()
