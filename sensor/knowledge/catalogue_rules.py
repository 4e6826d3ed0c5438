"""What matching needs of a catalogue, as plain data: what a `Catalogue` is made of, and what its cache holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from sensor import __version__
from sensor.frozen import dataclass


class ServerRow(NamedTuple):
    """An entry of a service's `servers:`."""

    service: str
    role: str
    text: str
    ports: Sequence[int]
    paths: Sequence[str]
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str]
    body: str | None


@dataclass(frozen=True, slots=True)
class Rules:
    """Rows in the catalogue's order; of equal ones the last wins."""

    id: str
    services: Mapping[str, Sequence[str]]  # id: vendor, category
    hosts: Sequence[tuple[str, str, str]]  # pattern, service, role
    addresses: Sequence[tuple[str, str]]  # CIDR, service
    requests: Sequence[tuple[str | None, str, str, str, str]]  # host, path, service, role, text
    servers: Sequence[ServerRow]
    resolvers: Sequence[str]  # names of encrypted ones
    resolver_ips: Sequence[str]
    fronts: Sequence[str]  # outer names of ECH
    ja4: Mapping[str, str]  # to the class of client
    agents: Sequence[tuple[str, str]]  # text in a user agent, lower case, to class; the first counts


FORM = f"{__version__} {' '.join(field.name for field in fields(Rules))} {' '.join(ServerRow._fields)}"


def dump(rules: Rules) -> bytes:
    """JSON behind its own digest: whoever reads it need not look at every value again."""
    text = json.dumps({field.name: getattr(rules, field.name) for field in fields(Rules)}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def read(data: bytes) -> Rules | None:
    """What `dump` wrote; None for anything else."""
    digest, _, text = data.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    found = json.loads(text)
    return Rules(**found | {"servers": [ServerRow(*row) for row in found["servers"]]})
