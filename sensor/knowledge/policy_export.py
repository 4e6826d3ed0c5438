"""What is left of a policy for a control that sees names and addresses only.

A rule counts where it speaks of services alone. One that asks for a user, a time or anything else cannot be
said there: a service that such a rule lets through before is left out whole, and everything left out is
listed. A path on a shared host, a port and self-hosted software are left out as well: never is a parent
domain taken for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sensor.knowledge.catalogue import Catalogue, Entry
from sensor.knowledge.catalogue_match import glob_regex
from sensor.knowledge.catalogue_model import USE
from sensor.knowledge.policy import Case, Policy

OF_SERVICES = frozenset({"service", "vendor", "category", "review", "score", "country"})


@dataclass(frozen=True, slots=True, order=True)
class Pattern:
    """A host pattern of the catalogue. `kind`: suffix (the name and all under it), exact, glob."""

    name: str
    kind: str
    service: str
    verdict: str = ""

    @property
    def above(self) -> Iterator[str]:
        """Names whose suffix it is under, nearest first: of an exact name that is its own as well."""
        labels = self.name.split(".")
        return (".".join(labels[at:]) for at in range(self.kind != "exact", len(labels) - 1))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to export. `names` are concerned, `excepted` lie under one of them and are not; `within` do and are.

    What cannot be told apart from a name that is not concerned is in `left_out`.
    """

    policy: str
    catalogue: str
    names: tuple[Pattern, ...]
    excepted: tuple[Pattern, ...]
    within: tuple[Pattern, ...]
    networks: tuple[tuple[str, str], ...]  # CIDR, service
    left_out: tuple[str, ...]

    @property
    def head(self) -> str:
        """Which policy and which catalogue this is."""
        return f"aiscope policy {self.policy}, catalogue {self.catalogue}"

    def suffixes(self) -> Iterator[tuple[Pattern, tuple[Pattern, ...]]]:
        """Every suffix and the exceptions under it."""
        for name in self.names:
            if name.kind == "suffix":
                yield name, tuple(e for e in self.excepted if name.name in e.above)

    def of(self, kind: str) -> list[Pattern]:
        """The concerned names of one kind."""
        return [name for name in self.names if name.kind == kind]


def plan(policy: Policy, catalogue: Catalogue, verdicts: Sequence[str]) -> Plan:
    """What of a policy with these verdicts can be said by names and addresses. Always in the same order."""
    decided = {id: _decide(policy, catalogue, entry, verdicts) for id, entry in catalogue.services.items()}
    concerned = {id: verdict for id, (verdict, _) in decided.items() if verdict}
    left_out = {reason for _, reasons in decided.values() for reason in reasons}
    patterns = {p.name if p.kind != "exact" else f"={p.name}": p for p in _patterns(catalogue, concerned)}
    names = [p for p in patterns.values() if p.verdict and not _above(p, patterns)]
    within = [p for p in patterns.values() if p.verdict and _above(p, patterns)]
    excepted = [p for p in patterns.values() if not p.verdict and _above(p, patterns)]
    for pattern in names[:]:
        if other := _entangled(pattern, patterns):
            names.remove(pattern)
            left_out.add(f"{pattern.name} ({pattern.service}): {other} is not concerned")
    networks, shared = _networks(catalogue, concerned)
    left_out.update(shared, _by_path(catalogue, concerned, names))
    return Plan(
        policy.id,
        catalogue.id,
        tuple(sorted(names)),
        tuple(sorted(excepted)),
        tuple(sorted(within)),
        tuple(sorted(networks)),
        tuple(sorted(left_out)),
    )


def _decide(
    policy: Policy, catalogue: Catalogue, entry: Entry, verdicts: Sequence[str]
) -> tuple[str, list[str]]:
    """The verdict on everybody's use of a service, if it is one of these, and what cannot be said."""
    id, reasons, spared = entry.service.id, [], ""
    for rule, failing in policy.steps(service_case(catalogue, entry)):
        if OF_SERVICES.intersection(failing):
            continue
        conditions = [key for key in rule.match.given if key not in OF_SERVICES]
        if not conditions:
            verdict = rule.verdict
            break
        if rule.verdict in verdicts:
            reasons.append(f"rule {rule.id}: depends on {', '.join(conditions)}")
        else:
            spared = spared or rule.id
    else:
        verdict = policy.file.default
    if verdict not in verdicts:
        return "", reasons
    if spared:
        return "", [*reasons, f"{id}: rule {spared} lets some of it through"]
    return verdict, []


def service_case(catalogue: Catalogue, entry: Entry) -> Case:
    """Anybody's use of a service."""
    service, vendor = entry.service, entry.vendor
    return Case(
        service=service.id,
        vendor=vendor.vendor,
        category=service.category,
        country=vendor.country or "",
        score=catalogue.score(service.id).score,
    )


def _patterns(catalogue: Catalogue, concerned: dict[str, str]) -> Iterator[Pattern]:
    """Names of use. Others of a concerned service neither are concerned nor need an exception."""
    for id, entry in catalogue.services.items():
        for kind, role, text in entry.rules():
            if kind in ("exact", "suffix", "glob") and (role in USE or id not in concerned):
                yield Pattern(text, kind, id, concerned.get(id, ""))


def _above(pattern: Pattern, patterns: dict[str, Pattern]) -> bool:
    """Whether the nearest suffix above is concerned."""
    nearest = next(iter(_suffixes(pattern, patterns)), None)
    return bool(nearest and nearest.verdict)


def _suffixes(pattern: Pattern, patterns: dict[str, Pattern]) -> list[Pattern]:
    """The suffixes a pattern is under, nearest first."""
    found = (patterns[name] for name in pattern.above if name in patterns)
    return [suffix for suffix in found if suffix.kind == "suffix"]


def _entangled(pattern: Pattern, patterns: dict[str, Pattern]) -> str:
    """What is not concerned and cannot be told apart: a name between two that are, a name within a glob."""
    parents = _suffixes(pattern, patterns)
    if any(parent.verdict for parent in parents):
        return next(parent.name for parent in parents if not parent.verdict)
    if pattern.kind != "glob":
        return ""
    regex = re.compile(glob_regex(pattern.name))
    others = (p.name for p in patterns.values() if not p.verdict and regex.fullmatch(p.name))
    return next(others, "")


def _networks(catalogue: Catalogue, concerned: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Addresses of vendors all of whose services are concerned, and the vendors that have others."""
    spared = {e.vendor.vendor: id for id, e in catalogue.services.items() if id not in concerned}
    networks, left_out = [], []
    for id in concerned:
        entry = catalogue.services[id]
        for cidr in entry.service.addresses:
            if other := spared.get(entry.vendor.vendor):
                left_out.append(f"{cidr} ({id}): {other} of the same vendor is not concerned")
            else:
                networks.append((cidr, id))
    return networks, left_out


def _by_path(catalogue: Catalogue, concerned: dict[str, str], names: list[Pattern]) -> Iterator[str]:
    """What only a path or software tells, and what a name takes along."""
    held = {name.name for name in names}
    for id, entry in catalogue.services.items():
        for request in entry.service.requests:
            if id in concerned:
                where = f"on {request.host}" if request.host else "on any host"
                yield f"{id}: the path {request.path} {where} is not a name"
            elif request.host and request.host.removeprefix("=") in held:
                yield f"{id}: {request.host} is concerned, and {request.path} there goes with it"
        if id in concerned and entry.service.servers:
            yield f"{id}: self-hosted, told by ports and requests"
