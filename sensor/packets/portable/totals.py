"""Counts of everything seen: wire bytes by visibility class, and events."""

from __future__ import annotations

from sensor.packets.facts import COUNTERS, VISIBILITY, Totals
from sensor.packets.portable.headers import UNDECODABLE


class Tally:
    """What `Totals` will say. A class is a list of one number: a flow holds its own and adds to it."""

    frames: int
    flows: int
    undecodable: int
    duplicates: int
    fragments_lost: int
    flows_evicted: int
    reorder_lost: int
    clear_capped: int
    names_evicted: int

    def __init__(self) -> None:
        self.classes: dict[str, list[int]] = {name: [0] for name in VISIBILITY}
        self.epoch = 0  # number of the running interval
        self._clear()

    def _clear(self) -> None:
        for name in COUNTERS:
            if name != "bytes":
                setattr(self, name, 0)
        for cell in self.classes.values():
            cell[0] = 0

    def lose(self, kind: str, length: int) -> None:
        """A frame that leads to no transport header, in the class it has instead."""
        self.frames += 1
        self.undecodable += kind == UNDECODABLE
        self.classes[kind][0] += length

    def take(self, start: int, end: int) -> Totals:
        """What was counted since the last time; zero entries are left out."""
        classes = {name: cell[0] for name, cell in self.classes.items() if cell[0]}
        total = sum(classes.values())
        counters = {name: total if name == "bytes" else getattr(self, name) for name in COUNTERS}
        self._clear()
        self.epoch += 1
        return Totals(start, end, classes, {name: value for name, value in counters.items() if value})
