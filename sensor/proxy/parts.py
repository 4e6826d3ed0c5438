"""What the addons are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sensor.delivery.event import Event
from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.catalogue_files import PACKAGED
from sensor.proxy.actions import Actions
from sensor.proxy.decide import Gaps, Targets
from sensor.proxy.local import Local
from sensor.proxy.people import Exceptions, People
from sensor.proxy.providers.prices import Prices, read_prices
from sensor.proxy.rows import Findings
from sensor.proxy.workers import Workers


class Sink(Protocol):
    """Where events go."""

    def put(self, events: Iterable[Event]) -> None:
        """Take them, at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each."""

    catalogue: Catalogue
    targets: Targets
    actions: Actions
    workers: Workers
    sink: Sink
    local: Local
    key: Callable[[], bytes]  # of hashes
    people: People
    exceptions: Exceptions
    gaps: Gaps
    tenants: Mapping[str, tuple[tuple[str, str], ...]]
    hold: int  # bytes of a request
    pass_pinned: bool = True
    findings: Findings = field(default_factory=Findings)
    prices: Prices = field(default_factory=lambda: read_prices((PACKAGED / "prices.yaml").read_text("utf-8")))
