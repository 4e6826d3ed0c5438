"""The one typed table of settings, a section for every part of aiscope; `docs/settings.md` is made from it.

`sensor.config` reads them, and checks what somebody set.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from sensor.frozen import dataclass
from sensor.listen import address
from sensor.packets.facts import Limits

PREFIX = "AISCOPE_"
DAYS = 20_000  # the store's times end in 2106: what is to be kept beyond would be over at once
# The words of `sensor.knowledge.policy_model`, which brings all of pydantic with it.
Verdict = Literal["allow", "tolerate", "alert", "coach", "limit", "redact", "block"]


def user_data() -> Path:
    """Where one user's aiscope keeps its data (XDG Base Directory Specification). Raises ValueError for no home."""
    return expanded(Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share")) / "aiscope"


def expanded(path: Path) -> Path:
    """A path whose `~` is somebody's home. Raises ValueError for who has none."""
    try:
        return path.expanduser()
    except RuntimeError:
        whose = "this user has no home directory: set HOME" if path.parts[0] == "~" else "no such user"
        raise ValueError(f"{path}: {whose}") from None


def store_url(directory: Path) -> str:
    """The URL of a store in this directory: what an URL has signs for, and what nobody sees, is quoted."""
    path = str(directory)
    return "chdb://" + "".join(c if c.isprintable() and c not in "%?#" else _quoted(c) for c in path)


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(character))


def setting(
    *,
    description: str,
    default: Any = dataclasses.MISSING,
    default_factory: Callable[[], Any] | None = None,
    examples: Sequence[str] = (),
    made: Callable[[Any], Any] | None = None,
    **bounds: Any,
) -> Any:
    """A field of a section. `bounds` are those of pydantic's `Field`, `made` makes the value of what is given;
    both are for what somebody sets: a default is right as it is."""
    metadata = {"description": description, "examples": examples, "made": made, "bounds": bounds}
    if default_factory:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    import ipaddress

    return tuple(str(ipaddress.ip_network(part)) for part in value)


def _listen(value: str) -> str:
    address(value)
    return value


def _homes(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.path.expanduser(part) for part in value)  # noqa: PTH111 - an unknown user stays


def _at_home(value: str) -> str:
    return "@" + os.path.expanduser(value[1:]) if value.startswith("@") else value  # noqa: PTH111


Names = tuple[str, ...]  # a list in the file, or one text with commas


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where rows are kept."""

    url: str = setting(
        default_factory=lambda: store_url(user_data() / "store"),
        examples=["chdb://~/.local/share/aiscope/store"],
        description="`http(s)://user:password@host:port/` of a ClickHouse server or of `aiscope collect`, or "
        "`chdb:///DIR`, opened in this process",
    )


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Who reports, and whose names leave the sensor."""

    name: str = setting(
        default_factory=socket.gethostname,
        min_length=1,
        examples=["the host's name"],
        description="the `sensor` column of what it ships",
    )
    names: Literal["plain", "sealed"] | None = setting(
        default=None,
        description="names of people and hosts as they are, or as tokens that only the key's holder can "
        "read; left out: plain for `aiscope read`, sealed for what ships",
    )
    names_key: Path = setting(
        default_factory=lambda: user_data() / "names.key",
        examples=["~/.local/share/aiscope/names.key"],
        description="the sealing key; made when it is missing",
    )
    relays: Names = setting(
        default=(),
        made=_networks,
        description="addresses and networks of proxies and gateways whose onward leg is not counted again",
    )


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """`aiscope read`."""

    engine: Literal["auto", "native", "portable"] = setting(
        default="auto", description="which packet engine; auto is the native one where it is installed"
    )
    workers: int = setting(
        default=1,
        ge=1,
        le=64,
        description="2: a file's frames are counted in a thread of their own, sooner, for somewhat more processor "
        "time in all; 3: another one reads. The native engine's",
    )


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`aiscope watch`."""

    workers: int = setting(default=1, ge=1, le=64, description="capture threads; the native engine's")
    ring: int = setting(
        default=128 << 20,
        ge=4 << 20,
        le=4 << 30,
        description="bytes of each capture ring, one a worker and interface",
    )
    filter: str = setting(default="", description="what the kernel lets in: an expression of pcap-filter(7)")
    allow_all: bool = setting(
        default=False,
        description="whether `--all` may report every connection of everybody; each use is recorded",
    )
    evidence: Path | None = setting(
        default=None,
        description="a folder for the first packets of connections to AI services; without it none are kept",
    )
    evidence_bytes: int = setting(
        default=256 << 20, ge=1 << 20, description="its size; the oldest packets go first"
    )
    evidence_packets: int = setting(default=20, ge=1, le=1000, description="kept of each connection")


@dataclass(frozen=True, slots=True)
class CatalogueSettings:
    """The catalogue of services."""

    home: Path = setting(
        default_factory=lambda: user_data() / "catalogue",
        examples=["~/.local/share/aiscope/catalogue"],
        description="where updates are installed; without one the packaged catalogue is used",
    )
    overrides: Path | None = setting(
        default=None, description="a folder of your own service files, over those of aiscope"
    )
    key: str = setting(default="", description="public key that updates must be signed with")


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What the organisation allows."""

    file: Path | None = setting(
        default=None, description="a policy file: events get its verdicts; `docs/policy.md`"
    )


@dataclass(frozen=True, slots=True)
class PlaceSettings:
    """Where servers are: files in MaxMind DB format."""

    country_db: Path | None = setting(default=None, description="country (or city) database: GeoLite2, DB-IP")
    asn_db: Path | None = setting(default=None, description="network (AS) database")


@dataclass(frozen=True, slots=True)
class InventorySettings:
    """Who clients are."""

    csv: Path | None = setting(default=None, description="columns `address,from,until,host,user,groups`")


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where a sensor keeps rows until the store has them."""

    path: Path = setting(
        default_factory=lambda: user_data() / "sensor.spool",
        examples=["~/.local/share/aiscope/sensor.spool"],
        description="a file on a local disk; its name ends in `.spool`",
    )
    limit: int = setting(
        default=1 << 30, ge=1 << 20, description="bytes; beyond it the oldest rows are dropped, and counted"
    )


@dataclass(frozen=True, slots=True)
class ShipSettings:
    """`aiscope ship`: how rows get to the store."""

    urls: Names = setting(
        default=(),
        description="where to, the first that answers: replicas of one store; left out, `store.url`",
    )
    rows: int = setting(default=50_000, ge=1, description="rows of a full batch")
    age: float = setting(
        default=5.0, ge=0, le=86_400, description="seconds after which a batch goes that is not full"
    )
    tries: int = setting(default=8, ge=1, description="refusals after which a batch is set aside")
    ca: Path | None = setting(default=None, description="authorities to trust instead of the system's (PEM)")
    certificate: Path | None = setting(default=None, description="client certificate (PEM)")
    key: Path | None = setting(default=None, description="its key (PEM), when it is in a file of its own")
    plain: bool = setting(default=False, description="allow http:// to another machine")


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """`aiscope proxy`; see `docs/inspection.md`."""

    mode: str = setting(
        default="regular",
        pattern=r"^(regular|transparent|wireguard|socks5|reverse:https?://[^\s/]+/?)$",
        description="regular, transparent, wireguard, socks5 or reverse:URL",
    )
    listen: str = setting(default="127.0.0.1:8080", made=_listen, description="address and port")
    address: str = setting(default="", description="where clients reach it, if not as `listen` says")
    enforce: bool = setting(default=False, description="do what the policy says; else only record it")
    closed: tuple[Verdict, ...] = setting(
        default=("block", "redact"), description="verdicts that fail closed; an empty list: none"
    )
    home: Path = setting(
        default_factory=lambda: user_data() / "proxy",
        examples=["~/.local/share/aiscope/proxy"],
        description="its authority and keys",
    )
    python: Path | None = setting(default=None, description="a Python with mitmproxy; default `.venv-proxy`")
    auth: str = setting(
        default="", made=_at_home, description="`@FILE` (htpasswd) or `ldaps:...`: who clients are"
    )
    also: Names = setting(
        default=(), description="host patterns to decrypt as well: own gateways, MCP servers"
    )
    exceptions: Names = setting(
        default=(), description="never decrypted: `service:`, `user:`, `group:`, `subnet:`"
    )
    pinned: Literal["pass", "refuse"] = setting(
        default="pass", description="clients that accept no certificate"
    )
    pinned_hours: float = setting(
        default=24, gt=0, le=87_600, description="how long such a client passes through"
    )
    constrained: bool = setting(
        default=False, description="the authority is made for the catalogue's names only"
    )
    upstream_ca: Path | None = setting(
        default=None, description="authorities to trust instead of the public ones"
    )
    tenants: Names = setting(
        default=(), description="`openai=WORKSPACE`: personal accounts are refused by the vendor"
    )
    corporate: Names = setting(default=(), description="organisations and keys (`key:HASH`) that are yours")
    hold: int = setting(
        default=16 << 20, ge=65_536, description="bytes of a request held to be inspected as a whole"
    )
    workers: int = setting(default=2, ge=1, le=64, description="processes that look at large requests")
    coach_minutes: float = setting(default=30, gt=0, le=525_600, description="how long a justification holds")
    tokens_per_hour: int = setting(
        default=0, ge=0, description="of `limit` rules: per user, service and model"
    )
    upload_per_hour: int = setting(default=0, ge=0, description="the same in bytes of requests")
    key_days: int = setting(
        default=180, ge=0, le=DAYS, description="after which hashes get a new key; 0: never"
    )
    excerpt: int = setting(
        default=0, ge=0, le=4096, description="characters of prompts that are kept, redacted"
    )
    seal_to: Path | None = setting(
        default=None, description="public key to seal originals to; without one none are kept"
    )


@dataclass(frozen=True, slots=True)
class DlpSettings:
    """What data is looked for in requests; see `docs/dlp.md`."""

    regions: Names = setting(
        default=("US",), description="ISO 3166 codes, for telephone numbers without a country"
    )
    detectors: Names = setting(default=(), made=_homes, description="folders of your own detector files")
    disabled: Names = setting(default=(), description="ids of detectors that are not used")
    names: Names = setting(default=(), made=_homes, description="files of people's names")
    words: Names = setting(default=(), made=_homes, description="files of words")
    lists: Names = setting(default=(), made=_homes, description="hashed lists and document fingerprints")
    key: Path | None = setting(default=None, description="the key that these were made with")


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Days that rows are kept after they came in, at most 20,000; 0 keeps them for ever."""

    events: int = setting(
        default=180,
        ge=0,
        le=DAYS,
        description="connections, lookups, exchanges, identities, findings, statistics",
    )
    rollups: int = setting(default=1095, ge=0, le=DAYS, description="hourly and daily sums")
    sealed: int = setting(
        default=30, ge=0, le=DAYS, description="originals of prompts, where they are kept at all"
    )
    audit: int = setting(default=1095, ge=0, le=DAYS, description="who did what in aiscope")


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """`aiscope dashboard`."""

    listen: str = setting(default="127.0.0.1:8501", made=_listen, description="address and port")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, a section each. Made by `sensor.config`."""

    store: StoreSettings = field(default_factory=StoreSettings)
    sensor: SensorSettings = field(default_factory=SensorSettings)
    read: ReadSettings = field(default_factory=ReadSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    place: PlaceSettings = field(default_factory=PlaceSettings)
    inventory: InventorySettings = field(default_factory=InventorySettings)
    limits: Limits = field(default_factory=Limits)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    ship: ShipSettings = field(default_factory=ShipSettings)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    dlp: DlpSettings = field(default_factory=DlpSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)


# Name of a section to its class.
SECTIONS: dict[str, type[Any]] = {part.name: part.default_factory for part in dataclasses.fields(Settings)}  # type: ignore[misc]


def table() -> Iterator[tuple[str, str, str]]:
    """Every setting: `section.key`, its default and what it means."""
    reasons = dict(re.findall(r"^ +(\w+): int = \S+(?:  # (.*))?$", inspect.getsource(Limits), re.MULTILINE))
    for section, kind in SECTIONS.items():
        for key in dataclasses.fields(kind):
            name = f"{section}.{key.name}"
            if kind is Limits:
                yield name, f"{key.default:,}", reasons[key.name]
            else:
                yield name, _shown_default(key), key.metadata["description"]


def _shown_default(key: dataclasses.Field[Any]) -> str:
    """Defaults that depend on the machine are described, so that the page is the same everywhere."""
    if key.default is dataclasses.MISSING:
        return str((key.metadata["examples"] or [""])[0])
    shown = ", ".join(key.default) if isinstance(key.default, tuple) else key.default
    return "" if shown in (None, "") else str(shown)


def markdown() -> str:
    """`docs/settings.md`."""
    lines = [_PAGE.strip(), ""]
    before = ""
    for name, default, meaning in table():
        section, key = name.split(".")
        if section != before:
            about = (SECTIONS[section].__doc__ or "").partition("\n")[0]
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
