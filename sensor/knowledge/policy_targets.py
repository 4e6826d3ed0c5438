"""Exports for the controls people already have. Each target is a function from a plan to text.

What a target cannot express it notes, and leaves out: never more than the plan names is concerned. The same
plan gives the same text, with policy and catalogue named in it.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sensor.knowledge import policy_detect
from sensor.knowledge.catalogue_match import glob_regex
from sensor.knowledge.policy import FINDING, VERDICTS
from sensor.knowledge.policy_export import Pattern, Plan

BLOCK = ("block",)
WATCH = VERDICTS[FINDING:]
Render = Callable[[Plan, list[str]], str]


@dataclass(frozen=True, slots=True)
class Target:
    """`comment` begins a line that the control skips; "" where it has none."""

    about: str
    render: Render
    comment: str = "#"
    verdicts: tuple[str, ...] = BLOCK


@dataclass(frozen=True, slots=True)
class Export:
    """A file's text, and what of the plan is not in it."""

    text: str
    left_out: tuple[str, ...]


def export(name: str, plan: Plan) -> Export:
    """The text for one of TARGETS. Raises KeyError."""
    target = TARGETS[name]
    notes: list[str] = []
    body = target.render(plan, notes)
    left_out = (*plan.left_out, *notes)
    if not target.comment:
        return Export(body, left_out)
    lines = [plan.head, f"for {target.about}: {', '.join(target.verdicts)}"]
    lines += [f"not here: {text}" for text in left_out]
    head = "".join(f"{target.comment} {line}\n" for line in lines)
    return Export(head + body, left_out)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _without(plan: Plan, notes: list[str], *kinds: str) -> None:
    """Note the patterns of kinds that a target does not have, and networks if it is about names."""
    words = {"exact": "one name without those under it", "glob": "a pattern within a name"}
    for kind in kinds:
        notes += [f"{name.name} ({name.service}): {words[kind]}" for name in plan.of(kind)]


def _no_networks(plan: Plan, notes: list[str]) -> None:
    notes += [f"{cidr} ({service}): an address" for cidr, service in plan.networks]


_PLAIN = {ord(c): "'" for c in '"\\'}  # what a quoted string in a zone would read as more than a character


def _rpz(plan: Plan, notes: list[str]) -> str:
    """A response policy zone (draft-vixie-dnsop-dns-rpz): NXDOMAIN, and passthru for exceptions."""
    _without(plan, notes, "glob")
    serial = plan.catalogue.partition("-")[0]
    records = [
        "$TTL 300",
        f"@ IN SOA localhost. hostmaster.localhost. {int(serial) % 2**32} 3600 600 86400 300",
        "@ IN NS localhost.",
        f'aiscope.invalid IN TXT "{re.sub("[^ -~]", "?", plan.head.translate(_PLAIN))[:250]}"',
    ]
    records += [f"{name} IN CNAME {action}" for name, action in _rpz_names(plan, notes).items()]
    for cidr, service in plan.networks:
        records.append(f"{_rpz_ip(cidr)}.rpz-ip IN CNAME . ; {service}")
    return _lines(records)


def _rpz_names(plan: Plan, notes: list[str]) -> dict[str, str]:
    """Owner names and what they do. A wildcard ends at any name that there is below it (RFC 4592 2.2.1, 3.3.1): those
    from an exception up to the name that is stopped are written too."""
    names = dict.fromkeys((name.name for name in plan.of("exact")), ".")
    for suffix in _spared(plan, notes, ("suffix", "exact")):
        between = (above for e in plan.excepted if suffix.name in e.above for above in e.above)
        for name in (suffix.name, *(n for n in between if n.endswith(f".{suffix.name}"))):
            names[name] = names[f"*.{name}"] = "."
    for e in plan.excepted:
        if e.kind != "glob":
            names[e.name] = "rpz-passthru."
        if e.kind == "suffix":
            names[f"*.{e.name}"] = "rpz-passthru."
    return names


def _rpz_ip(cidr: str) -> str:
    """A network as RPZ writes it: prefix length, then the address backwards; `zz` is IPv6's `::`."""
    network = ipaddress.ip_network(cidr)
    parts = re.split("[.:]", str(network.network_address).replace("::", ":zz:").strip(":"))
    return ".".join([str(network.prefixlen), *reversed(parts)])


def _dnsmasq(plan: Plan, notes: list[str]) -> str:
    """NXDOMAIN for a name and all under it; exceptions go to the usual servers."""
    _without(plan, notes, "exact", "glob")
    _no_networks(plan, notes)
    kept = _spared(plan, notes)
    return _lines(
        [f"address=/{name.name}/" for name in kept]
        + [f"server=/{e.name}/#" for e in plan.excepted if e.kind == "suffix"]
    )


def _spared(plan: Plan, notes: list[str], possible: Sequence[str] = ("suffix",)) -> list[Pattern]:
    """Suffixes all of whose exceptions are of a possible kind; the others would take too much."""
    kept = []
    for name, under in plan.suffixes():
        if other := next((e for e in under if e.kind not in possible), None):
            notes.append(f"{name.name} ({name.service}): {other.name} under it is excepted")
        else:
            kept.append(name)
    return kept


def _unbound(plan: Plan, notes: list[str]) -> str:
    _without(plan, notes, "exact", "glob")
    _no_networks(plan, notes)
    kept = _spared(plan, notes)
    zones = [f'    local-zone: "{name.name}." always_nxdomain' for name in kept]
    zones += [f'    local-zone: "{e.name}." always_transparent' for e in plan.excepted if e.kind == "suffix"]
    return _lines(["server:", *zones])


def _adguard(plan: Plan, notes: list[str]) -> str:
    """What AdGuard Home and Pi-hole both read: `||name^`, and a plain name for just that one."""
    _without(plan, notes, "glob")
    _no_networks(plan, notes)
    kept = _spared(plan, notes)
    return _lines(
        [f"||{name.name}^" for name in kept]
        + [name.name for name in plan.of("exact")]
        + [f"@@||{e.name}^" for e in plan.excepted if e.kind == "suffix"]
    )


def _nftables(plan: Plan, notes: list[str]) -> str:
    """A table of its own, replaced in one transaction by `nft -f`."""
    notes += [f"{name.name} ({name.service}): a name" for name in plan.names]
    sets = []
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        found = [c for c, _ in plan.networks if ipaddress.ip_network(c).version == version]
        elements = f" elements = {{ {', '.join(found)} }};" if found else ""
        sets.append(f"  set blocked{version} {{ type {kind}; flags interval; auto-merge;{elements} }}")
    return _lines(
        [
            "add table inet aiscope",
            "delete table inet aiscope",
            "table inet aiscope {",
            *sets,
            "  chain forward {",
            "    type filter hook forward priority filter; policy accept;",
            "    ip daddr @blocked4 counter reject with icmpx type admin-prohibited",
            "    ip6 daddr @blocked6 counter reject with icmpx type admin-prohibited",
            "  }",
            "}",
        ]
    )


def _squid(plan: Plan, notes: list[str]) -> str:
    """To be included before the rules that allow: by the name of a CONNECT or a request."""
    acls = {
        "aiscope_names dstdomain": _dstdomains(plan.names),
        "aiscope_globs dstdom_regex": _dstdom_regex(plan.names),
        "aiscope_networks dst": [cidr for cidr, _ in plan.networks],
        "aiscope_not dstdomain": _dstdomains(plan.excepted),
        "aiscope_not_globs dstdom_regex": _dstdom_regex(plan.excepted),
    }
    lines = [f"acl {acl} {value}" for acl, values in acls.items() for value in values]
    spared = "".join(f" !{acl.split()[0]}" for acl, values in acls.items() if values and "_not" in acl)
    for acl, values in acls.items():
        if values and "_not" not in acl:
            lines.append(f"http_access deny {acl.split()[0]}{spared}")
    return _lines(lines)


def _dstdomains(names: Iterable[Pattern]) -> list[str]:
    return [f".{name.name}" if name.kind == "suffix" else name.name for name in names if name.kind != "glob"]


def _dstdom_regex(names: Iterable[Pattern]) -> list[str]:
    return [f"^{glob_regex(name.name)}$" for name in names if name.kind == "glob"]


def _pac(plan: Plan, notes: list[str]) -> str:
    """A proxy auto-configuration file: what is concerned goes nowhere, the rest as OTHERWISE says."""
    _no_networks(plan, notes)
    table = {("=" if p.kind == "exact" else "") + p.name: bool(p.verdict)
             for p in (*plan.names, *plan.excepted) if p.kind != "glob"}  # fmt: skip
    globs = [
        [f"^{glob_regex(p.name)}$", bool(p.verdict)]
        for p in (*plan.excepted, *plan.names)
        if p.kind == "glob"
    ]
    return f"""var VERSION = {json.dumps(plan.head)};
var NOWHERE = "PROXY 127.0.0.1:9";
var OTHERWISE = "DIRECT";
var GLOBS = {json.dumps(globs)};
var NAMES = {json.dumps(table, indent=0, sort_keys=True)};
function FindProxyForURL(url, host) {{
  host = host.toLowerCase().replace(/\\.$/, "");
  var own = Object.prototype.hasOwnProperty;
  var exact = own.call(NAMES, "=" + host) ? "=" + host : host;
  if (own.call(NAMES, exact)) return NAMES[exact] ? NOWHERE : OTHERWISE;
  for (var i = 0; i < GLOBS.length; i++)
    if (new RegExp(GLOBS[i][0]).test(host)) return GLOBS[i][1] ? NOWHERE : OTHERWISE;
  for (var at = host; at; at = at.indexOf(".") < 0 ? "" : at.slice(at.indexOf(".") + 1))
    if (own.call(NAMES, at)) return NAMES[at] ? NOWHERE : OTHERWISE;
  return OTHERWISE;
}}
"""


def _envoy(plan: Plan, notes: list[str]) -> str:
    """A network filter for a listener with the TLS inspector: denies by server name and address."""
    names = [rule for name in plan.names for rule in _server_names(name)]
    rules = [{"requested_server_name": matcher} for matcher in names]
    rules += [{"destination_ip": _cidr(cidr)} for cidr, _ in plan.networks]
    spared = [{"requested_server_name": m} for e in plan.excepted for m in _server_names(e)]
    permission: dict[str, object] = {"or_rules": {"rules": rules}}
    if spared:
        permission = {"and_rules": {"rules": [permission, {"not_rule": {"or_rules": {"rules": spared}}}]}}
    policies = {"aiscope": {"permissions": [permission], "principals": [{"any": True}]}} if rules else {}
    filter_ = {
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            "stat_prefix": "aiscope",
            "rules": {"action": "DENY", "policies": policies},
        },
    }
    return json.dumps(filter_, indent=1) + "\n"  # JSON is YAML


def _server_names(name: Pattern) -> list[dict[str, object]]:
    if name.kind == "glob":
        return [{"safe_regex": {"regex": glob_regex(name.name)}}]
    exact: list[dict[str, object]] = [{"exact": name.name, "ignore_case": True}]
    return exact + ([{"suffix": f".{name.name}", "ignore_case": True}] if name.kind == "suffix" else [])


def _cidr(cidr: str) -> dict[str, object]:
    network = ipaddress.ip_network(cidr)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _defender(plan: Plan, notes: list[str]) -> str:
    """Indicators for import, 500 at a time; a domain stands for what is under it as well."""
    _without(plan, notes, "exact", "glob")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(
        ("IndicatorType", "IndicatorValue", "ExpirationTime", "Action", "Severity", "Title", "Description",
         "RecommendedActions", "RbacGroups", "Category", "MitreTechniques", "GenerateAlert")
    )  # fmt: skip
    for name in _spared(plan, notes):
        writer.writerow(_indicator("DomainName", name.name, "Block", name.service, plan.head))
    for name in plan.excepted:
        if name.kind == "suffix":
            writer.writerow(_indicator("DomainName", name.name, "Allowed", name.service, plan.head))
    notes += [f"{c} ({s}): a network" for c, s in plan.networks]
    return text.getvalue()


def _indicator(kind: str, value: str, action: str, service: str, head: str) -> tuple[str, ...]:
    alert = "TRUE" if action == "Block" else "FALSE"
    return kind, value, "", action, "Informational", f"AI service {service}", head, "", "", "", "", alert


def _paloalto(plan: Plan, notes: list[str]) -> str:
    """An external dynamic list of type URL. It has no comments: a name that cannot be says the version."""
    _no_networks(plan, notes)
    version = [
        re.sub("[^a-z0-9]+", "-", text.lower())[-60:].strip("-") for text in (plan.policy, plan.catalogue)
    ]
    lines = [f"policy-{version[0][-55:]}.catalogue-{version[1][-50:]}.aiscope.invalid/"]
    for name in _spared(plan, notes, ()):
        lines += [f"{name.name}/", f"*.{name.name}/"]
    lines += [f"{name.name}/" for name in plan.of("exact")]
    for name in plan.of("glob"):
        if re.search(r"\*[^.]|[^.]\*", name.name):
            notes.append(f"{name.name} ({name.service}): a pattern within a label")
        else:
            lines.append(f"{name.name.replace('*', '^')}/")
    return _lines(lines)


TARGETS: dict[str, Target] = {
    "rpz": Target("a DNS response policy zone (BIND, Knot, PowerDNS)", _rpz, ";"),
    "dnsmasq": Target("dnsmasq", _dnsmasq),
    "unbound": Target("Unbound", _unbound),
    "adguard": Target("AdGuard Home and Pi-hole", _adguard, "!"),
    "nftables": Target("nftables", _nftables),
    "squid": Target("Squid", _squid),
    "pac": Target("proxy auto-configuration", _pac, "//"),
    "envoy": Target("Envoy, a network filter", _envoy),
    "defender": Target("Microsoft Defender indicators", _defender, ""),
    "paloalto": Target("Palo Alto external dynamic list, URL", _paloalto, ""),
    "suricata": Target("Suricata", policy_detect.suricata, "#", WATCH),
    "zeek": Target("Zeek's Intelligence Framework", policy_detect.zeek, "#", WATCH),
    "sigma": Target("Sigma", policy_detect.sigma, "#", WATCH),
}
