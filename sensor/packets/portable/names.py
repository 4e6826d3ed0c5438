"""Names learnt from DNS answers: which watched name an address stood for, per client; outer names of ECH."""

from __future__ import annotations

from sensor.packets.facts import Limits
from sensor.packets.portable.totals import Tally
from sensor.packets.portable.watch import Watch, pack
from sensor.wire.cursor import Malformed
from sensor.wire.dns import Answers, peek_answers

SECOND = 1_000_000_000
_CNAME, _HTTPS, _SVCB = b"\0\5\0\1", b"\0\x41\0\1", b"\0\x40\0\1"  # type and class IN, as records spell them


class Names:
    """docs/engine.md 3. Least recently written entries go first."""

    def __init__(self, watch: Watch, limits: Limits, tally: Tally) -> None:
        self._watch, self._limits, self._tally = watch, limits, tally
        self._names: dict[tuple[bytes, bytes], tuple[str, int]] = {}
        self._fronts: dict[str, None] = {}  # public names of ECH configurations

    def find(self, client: bytes, server: bytes, time: int) -> str:
        name, until = self._names.get((client, server), ("", 0))
        return name if time < until else ""

    def is_front(self, name: str) -> bool:
        return name in self._fronts or name in self._watch.fronts

    def learn(self, client: bytes, question: str, payload: bytes, time: int) -> bool:
        """Whether `payload`, a DNS response to `client` about `question`, is of a watched name."""
        watched = self._watch.all or self._watch.name(question)
        # Parsing every response would cost more than all else here: those that cannot matter are not parsed.
        if not (watched or _CNAME in payload or _HTTPS in payload or _SVCB in payload):
            return False
        try:
            answers = peek_answers(payload)
        except Malformed:
            return watched
        for front in answers.ech_names:
            self._keep_front(front)
        name = question if watched else self._in_chain(answers)
        if name:
            for _, address, ttl in answers.addresses:
                life = min(max(ttl * SECOND, self._limits.name_min_ns), self._limits.name_max_ns)
                self._keep((client, pack(address)), (name, time + life))
        return watched or bool(name)

    def _in_chain(self, answers: Answers) -> str:
        names = (name for pair in answers.chain for name in pair)
        return next((name for name in names if self._watch.name(name)), "")

    def _keep(self, key: tuple[bytes, bytes], value: tuple[str, int]) -> None:
        self._names.pop(key, None)
        if len(self._names) >= self._limits.names:
            del self._names[next(iter(self._names))]
            self._tally.names_evicted += 1
        self._names[key] = value

    def _keep_front(self, name: str) -> None:
        self._fronts.pop(name, None)
        if len(self._fronts) >= self._limits.names:
            del self._fronts[next(iter(self._fronts))]
        self._fronts[name] = None
