"""Exports for what watches and does not stop: Suricata, Zeek, Sigma."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from itertools import groupby

from sensor.knowledge.catalogue_match import glob_regex
from sensor.knowledge.policy_export import Pattern, Plan

_SIDS = 1_500_000_000, 500_000_000  # first, and how many: away from ranges that others use
_SPACE = uuid.UUID("6f7bd7a1-7f0c-5d5e-9a35-1f0f6a0e8c0d")
_BUFFERS = (("dns", "dns.query"), ("tls", "tls.sni"), ("quic", "quic.sni"))
_LEVEL = {"block": "high", "redact": "medium", "limit": "medium", "coach": "low", "alert": "low"}


def suricata(plan: Plan, notes: list[str]) -> str:
    """Alerts on DNS questions, TLS and QUIC server names. Rule numbers stay the same between versions."""
    lines, taken = [], set[int]()
    for name in plan.names:
        for protocol, buffer in _BUFFERS:
            sid = _sid(f"{protocol} {name.kind} {name.name}", taken)
            match = _content(name, [e for e in plan.excepted if name.name in e.above])
            lines.append(
                f'alert {protocol} any any -> any any (msg:"aiscope {name.service}: {name.verdict}"; '
                f"{buffer}; {match} classtype:policy-violation; "
                f"metadata:service {name.service}, verdict {name.verdict}; sid:{sid}; rev:1;)\n"
            )
    for cidr, service in plan.networks:
        sid = _sid(f"ip {cidr}", taken)
        lines.append(
            f'alert ip any any -> {cidr} any (msg:"aiscope {service}"; '
            "threshold:type limit, track by_src, count 1, seconds 3600; classtype:policy-violation; "
            f"metadata:service {service}; sid:{sid}; rev:1;)\n"
        )
    return "".join(lines)


def _sid(text: str, taken: set[int]) -> int:
    """A number from the rule's text; the next one that is free where two fall on the same."""
    first, count = _SIDS
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % count
    while number in taken:
        number = (number + 1) % count
    taken.add(number)
    return first + number


def _content(name: Pattern, excepted: list[Pattern]) -> str:
    """The name with a dot before it, so that it is only found at the start of a label."""
    if name.kind == "glob":
        return f'pcre:"/^{glob_regex(name.name)}$/i";'
    if name.kind == "exact":
        return f'content:"{name.name}"; startswith; endswith; nocase;'
    spared = "".join(
        f' pcre:!"/^\\.{glob_regex(e.name)}$/i";'
        if e.kind == "glob"
        else f' content:!".{e.name}"; {"startswith; " if e.kind == "exact" else ""}endswith; nocase;'
        for e in excepted
    )
    return f'dotprefix; content:".{name.name}"; endswith; nocase;{spared}'


def zeek(plan: Plan, notes: list[str]) -> str:
    """An intelligence file. Zeek compares whole names: of what is under one, it finds what the catalogue names."""
    notes += [f"other names under {name.name} ({name.service})" for name in plan.of("suffix")]
    notes += [f"{name.name} ({name.service}): a pattern within a name" for name in plan.of("glob")]
    spared = {e.name for e in plan.excepted if e.kind == "exact"}
    rows = [
        (name.name, "Intel::DOMAIN", "aiscope", f"{name.service} {name.verdict}")
        for name in sorted((*plan.names, *plan.within))
        if name.kind != "glob" and name.name not in spared
    ]
    rows += [(cidr, "Intel::SUBNET", "aiscope", service) for cidr, service in plan.networks]
    header = ("#fields", "indicator", "indicator_type", "meta.source", "meta.desc")
    return "".join("\t".join(row) + "\n" for row in (header, *rows))


def sigma(plan: Plan, notes: list[str]) -> str:
    """Two rules for each service: on DNS questions, and on a web proxy's host names."""
    notes += [f"{cidr} ({service}): an address" for cidr, service in plan.networks]
    documents = []
    for service, group in groupby(sorted(plan.names, key=lambda n: (n.service, n)), lambda n: n.service):
        names = list(group)
        for category, field in (("dns", "query"), ("proxy", "cs-host")):
            documents.append("---\n" + "".join(_sigma_rule(plan, service, names, category, field)))
    return "".join(documents)


def _sigma_rule(plan: Plan, service: str, names: list[Pattern], category: str, field: str) -> Iterator[str]:
    excepted = sorted({e for name in names for e in plan.excepted if name.name in e.above})
    yield f"title: {json.dumps(f'Use of AI service {service} ({category})')}\n"
    yield f"id: {uuid.uuid5(_SPACE, f'{category} {service}')}\n"
    yield "status: experimental\n"
    yield f"description: {json.dumps(plan.head)}\n"
    yield "author: aiscope\n"
    yield f"logsource:\n  category: {category}\n"
    yield "detection:\n"
    yield from _selection("selection", field, names)
    if excepted:
        yield from _selection("filter", field, excepted)
    yield f"  condition: 1 of selection_*{' and not 1 of filter_*' if excepted else ''}\n"
    yield f"level: {_LEVEL.get(names[0].verdict, 'low')}\n"


def _selection(label: str, field: str, names: list[Pattern]) -> Iterator[str]:
    by_kind = {
        "": [name.name for name in names if name.kind != "glob"],
        "|endswith": [f".{name.name}" for name in names if name.kind == "suffix"],
        "|re": [f"^{glob_regex(name.name)}$" for name in names if name.kind == "glob"],
    }
    for number, (modifier, values) in enumerate(by_kind.items()):
        if values:
            yield f"  {label}_{number}:\n    {field}{modifier}:\n"
            yield from (f"      - {json.dumps(value)}\n" for value in values)
