"""What two engines must agree on: the facts of each flow in their order, messages, and `Totals`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sensor.packets.facts import Fact, Message, Totals

Told = dict[int | str, list[Fact]]


def told(facts: Iterable[Fact]) -> Told:
    """Facts by flow id, and apart from them messages and totals."""
    out: Told = defaultdict(list)
    for fact in facts:
        key = (
            "messages"
            if isinstance(fact, Message)
            else "totals"
            if isinstance(fact, Totals)
            else fact.flow.id
        )
        out[key].append(fact)
    return dict(out)
