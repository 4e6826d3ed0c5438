"""The one typed table of settings, a section for every part of aiscope; `docs/settings.md` is made from it.

`sensor.config` reads them.
"""

from __future__ import annotations

import dataclasses
import inspect
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from sensor.packets.facts import Limits

PREFIX = "AISCOPE_"


def user_data() -> Path:
    """Where one user's aiscope keeps its data (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "aiscope"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _separated(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)]  # in the environment with commas


class StoreSettings(_Section):
    """Where rows are kept."""

    url: str = Field(
        default_factory=lambda: f"chdb://{user_data() / 'store'}",
        examples=["chdb://~/.local/share/aiscope/store"],
        description="`http(s)://user:password@host:port/` of a ClickHouse server or of `aiscope collect`, or "
        "`chdb:///DIR`, opened in this process",
    )


class SensorSettings(_Section):
    """Who reports, and whose names leave the sensor."""

    name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        examples=["the host's name"],
        description="the `sensor` column of what it ships",
    )
    names: Literal["plain", "sealed"] | None = Field(
        default=None,
        description="names of people and hosts as they are, or as tokens that only the key's holder can "
        "read; left out: plain for `aiscope read`, sealed for what ships",
    )
    names_key: Path = Field(
        default_factory=lambda: user_data() / "names.key",
        examples=["~/.local/share/aiscope/names.key"],
        description="the sealing key; made when it is missing",
    )
    relays: Names = Field(
        default=(),
        description="addresses and networks of proxies and gateways whose onward leg is not counted again",
    )

    @field_validator("relays")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(part)) for part in value)


class ReadSettings(_Section):
    """`aiscope read`."""

    engine: Literal["auto", "native", "portable"] = Field(
        default="auto", description="which packet engine; auto is the native one where it is installed"
    )


class WatchSettings(_Section):
    """`aiscope watch`."""

    workers: int = Field(default=1, ge=1, le=64, description="capture threads; the native engine's")
    ring: int = Field(
        default=128 << 20,
        ge=4 << 20,
        le=4 << 30,
        description="bytes of each capture ring, one a worker and interface",
    )
    filter: str = Field(default="", description="what the kernel lets in: an expression of pcap-filter(7)")
    allow_all: bool = Field(
        default=False,
        description="whether `--all` may report every connection of everybody; each use is recorded",
    )
    evidence: Path | None = Field(
        default=None,
        description="a folder for the first packets of connections to AI services; without it none are kept",
    )
    evidence_bytes: int = Field(
        default=256 << 20, ge=1 << 20, description="its size; the oldest packets go first"
    )
    evidence_packets: int = Field(default=20, ge=1, le=1000, description="kept of each connection")


class CatalogueSettings(_Section):
    """The catalogue of services."""

    home: Path = Field(
        default_factory=lambda: user_data() / "catalogue",
        examples=["~/.local/share/aiscope/catalogue"],
        description="where updates are installed; without one the packaged catalogue is used",
    )
    overrides: Path | None = Field(
        default=None, description="a folder of your own service files, over those of aiscope"
    )
    key: str = Field(default="", description="public key that updates must be signed with")


class PolicySettings(_Section):
    """What the organisation allows."""

    file: Path | None = Field(
        default=None, description="a policy file: events get its verdicts; `docs/policy.md`"
    )


class PlaceSettings(_Section):
    """Where servers are: files in MaxMind DB format."""

    country_db: Path | None = Field(default=None, description="country (or city) database: GeoLite2, DB-IP")
    asn_db: Path | None = Field(default=None, description="network (AS) database")


class InventorySettings(_Section):
    """Who clients are."""

    csv: Path | None = Field(default=None, description="columns `address,from,until,host,user,groups`")


class SpoolSettings(_Section):
    """Where a sensor keeps rows until the store has them."""

    path: Path = Field(
        default_factory=lambda: user_data() / "sensor.spool",
        examples=["~/.local/share/aiscope/sensor.spool"],
        description="a file on a local disk; its name ends in `.spool`",
    )
    limit: int = Field(
        default=1 << 30, ge=1 << 20, description="bytes; beyond it the oldest rows are dropped, and counted"
    )


class ShipSettings(_Section):
    """`aiscope ship`: how rows get to the store."""

    urls: Names = Field(
        default=(),
        description="where to, the first that answers: replicas of one store; left out, `store.url`",
    )
    rows: int = Field(default=50_000, ge=1, description="rows of a full batch")
    age: float = Field(default=5.0, ge=0, description="seconds after which a batch goes that is not full")
    tries: int = Field(default=8, ge=1, description="refusals after which a batch is set aside")
    ca: Path | None = Field(default=None, description="authorities to trust instead of the system's (PEM)")
    certificate: Path | None = Field(default=None, description="client certificate (PEM)")
    key: Path | None = Field(default=None, description="its key (PEM), when it is in a file of its own")
    plain: bool = Field(default=False, description="allow http:// to another machine")


class ProxySettings(_Section):
    """`aiscope proxy`; see `docs/inspection.md`."""

    mode: str = Field(default="regular", description="regular, transparent, wireguard, socks5 or reverse:URL")
    listen: str = Field(default="127.0.0.1:8080", pattern=r":\d+$", description="address and port")
    address: str = Field(default="", description="where clients reach it, if not as `listen` says")
    enforce: bool = Field(default=False, description="do what the policy says; else only record it")
    closed: Names = Field(default=("block", "redact"), description="verdicts that fail closed")
    home: Path = Field(
        default_factory=lambda: user_data() / "proxy",
        examples=["~/.local/share/aiscope/proxy"],
        description="its authority and keys",
    )
    python: Path | None = Field(default=None, description="a Python with mitmproxy; default `.venv-proxy`")
    auth: str = Field(default="", description="`@FILE` (htpasswd) or `ldaps:...`: who clients are")
    also: Names = Field(default=(), description="host patterns to decrypt as well: own gateways, MCP servers")
    exceptions: Names = Field(
        default=(), description="never decrypted: `service:`, `user:`, `group:`, `subnet:`"
    )
    pinned: Literal["pass", "refuse"] = Field(
        default="pass", description="clients that accept no certificate"
    )
    pinned_hours: float = Field(default=24, gt=0, description="how long such a client passes through")
    constrained: bool = Field(
        default=False, description="the authority is made for the catalogue's names only"
    )
    upstream_ca: Path | None = Field(
        default=None, description="authorities to trust instead of the public ones"
    )
    tenants: Names = Field(
        default=(), description="`openai=WORKSPACE`: personal accounts are refused by the vendor"
    )
    corporate: Names = Field(default=(), description="organisations and keys (`key:HASH`) that are yours")
    hold: int = Field(
        default=16 << 20, ge=65_536, description="bytes of a request held to be inspected as a whole"
    )
    workers: int = Field(default=2, ge=1, le=64, description="processes that look at large requests")
    coach_minutes: float = Field(default=30, gt=0, description="how long a justification holds")
    tokens_per_hour: int = Field(default=0, ge=0, description="of `limit` rules: per user, service and model")
    upload_per_hour: int = Field(default=0, ge=0, description="the same in bytes of requests")
    key_days: int = Field(default=180, ge=0, description="after which hashes get a new key; 0: never")
    excerpt: int = Field(
        default=0, ge=0, le=4096, description="characters of prompts that are kept, redacted"
    )
    seal_to: Path | None = Field(
        default=None, description="public key to seal originals to; without one none are kept"
    )


class DlpSettings(_Section):
    """What data is looked for in requests; see `docs/dlp.md`."""

    regions: Names = Field(
        default=("US",), description="ISO 3166 codes, for telephone numbers without a country"
    )
    detectors: Names = Field(default=(), description="folders of your own detector files")
    disabled: Names = Field(default=(), description="ids of detectors that are not used")
    names: Names = Field(default=(), description="files of people's names")
    words: Names = Field(default=(), description="files of words")
    lists: Names = Field(default=(), description="hashed lists and document fingerprints")
    key: Path | None = Field(default=None, description="the key that these were made with")


class RetentionSettings(_Section):
    """Days that rows are kept after they came in; 0 keeps them for ever."""

    events: int = Field(
        default=180, ge=0, description="connections, lookups, exchanges, identities, findings, statistics"
    )
    rollups: int = Field(default=1095, ge=0, description="hourly and daily sums")
    sealed: int = Field(default=30, ge=0, description="originals of prompts, where they are kept at all")
    audit: int = Field(default=1095, ge=0, description="who did what in aiscope")


class DashboardSettings(_Section):
    """`aiscope dashboard`."""

    listen: str = Field(default="127.0.0.1:8501", pattern=r":\d+$", description="address and port")


class Settings(BaseSettings):
    """All settings, a section each. Made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True
    )

    store: StoreSettings = Field(default_factory=StoreSettings)
    sensor: SensorSettings = Field(default_factory=SensorSettings)
    read: ReadSettings = Field(default_factory=ReadSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    catalogue: CatalogueSettings = Field(default_factory=CatalogueSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    place: PlaceSettings = Field(default_factory=PlaceSettings)
    inventory: InventorySettings = Field(default_factory=InventorySettings)
    limits: Limits = Field(default_factory=Limits)
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    ship: ShipSettings = Field(default_factory=ShipSettings)
    proxy: ProxySettings = Field(default_factory=ProxySettings)
    dlp: DlpSettings = Field(default_factory=DlpSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)

    @field_validator("limits")
    @classmethod
    def _bounds(cls, limits: Limits) -> Limits:
        if wrong := [name for name, value in dataclasses.asdict(limits).items() if value < 1]:
            raise ValueError(f"{', '.join(wrong)}: not a positive number")
        return limits

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`resolve` reads file and environment itself, to know what came from where."""
        return (init_settings,)


def table() -> Iterator[tuple[str, str, str]]:
    """Every setting: `section.key`, its default and what it means."""
    reasons = dict(re.findall(r"^ +(\w+): int = \S+(?:  # (.*))?$", inspect.getsource(Limits), re.MULTILINE))
    for section, field in Settings.model_fields.items():
        if field.annotation is Limits:
            for limit in dataclasses.fields(Limits):
                yield f"{section}.{limit.name}", f"{limit.default:,}", reasons[limit.name]
            continue
        for key, entry in field.annotation.model_fields.items():  # type: ignore[union-attr]
            yield f"{section}.{key}", _shown_default(entry), entry.description or ""


def _shown_default(entry: FieldInfo) -> str:
    """Defaults that depend on the machine are described, so that the page is the same everywhere."""
    if entry.default_factory:
        return str((entry.examples or [""])[0])
    shown = ", ".join(entry.default) if isinstance(entry.default, tuple) else entry.default
    return "" if shown in (None, "") else str(shown)


def markdown() -> str:
    """`docs/settings.md`."""
    lines = [_PAGE.strip(), ""]
    before = ""
    for name, default, meaning in table():
        section, key = name.split(".")
        if section != before:
            about = (Settings.model_fields[section].annotation.__doc__ or "").partition("\n")[0]
            lines += ["", f"## [{section}]", "", about, "", "| key | default | meaning |", "|---|---|---|"]
        lines.append(
            f"| `{key}` | {f'`{default}`' if default else ''} | {meaning.replace('|', chr(92) + '|')} |"
        )
        before = section
    return "\n".join(lines) + "\n"


_PAGE = """
# Settings

One table for every part of aiscope. A flag wins over an environment variable, that over the file, the file
over the default. The file is TOML: `--config FILE`, else `AISCOPE_CONFIG`, else `./aiscope.toml`, else
`/etc/aiscope/aiscope.toml`. `AISCOPE_STORE_URL` is `url` in section `[store]`; lists have commas there.
What is not in this table is refused. `aiscope settings` prints what is in effect and where it comes from.

This page is made from `sensor/settings.py`.
"""
