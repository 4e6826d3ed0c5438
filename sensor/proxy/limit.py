"""Token buckets per user, service and model. Times are seconds of a clock that only goes forward."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from sensor.knowledge.policy import Rate

BUCKETS = 100_000
HOUR = 3600


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Limiter:
    """How much may still be used. A bucket begins full and fills evenly; the one used longest ago is
    forgotten."""

    def __init__(self, tokens_per_hour: int = 0, upload_per_hour: int = 0) -> None:
        """0 is no limit of this kind."""
        self._tokens = Rate(tokens_per_hour, HOUR) if tokens_per_hour else None
        self._upload = Rate(upload_per_hour, HOUR) if upload_per_hour else None
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()

    def ask(self, key: tuple[str, ...], rate: Rate | None, upload: int, now: float) -> int:
        """0: go on, and it is counted. Else the seconds after which it is worth another try."""
        wanted = [
            # Rules with other rates do not share one: 5 uploads, 100 chats.
            (f"requests {rate!r}", rate, 1.0),
            ("tokens", self._tokens, 0.0),
            ("upload", self._upload, float(upload)),
        ]
        waits = [self._wait((*key, kind), r, amount, now) for kind, r, amount in wanted if r]
        if wait := max(waits, default=0.0):
            return max(1, math.ceil(wait))
        for kind, r, amount in wanted:
            if r:
                self._bucket((*key, kind), r, now).level -= amount
        return 0

    def used(self, key: tuple[str, ...], tokens: int, upload: int, now: float) -> None:
        """Tokens, and what came of a body that passed as a stream, are known when it is over: the bucket may go
        below zero, and the next request waits."""
        for kind, rate, amount in (("tokens", self._tokens, tokens), ("upload", self._upload, upload)):
            if rate and amount:
                self._bucket((*key, kind), rate, now).level -= amount

    def _wait(self, key: tuple[str, ...], rate: Rate, amount: float, now: float) -> float:
        missing = min(amount, rate.count) - self._bucket(key, rate, now).level
        if amount == 0:
            missing += 1e-9  # tokens: any room at all will do
        return max(0.0, missing * rate.seconds / rate.count)

    def _bucket(self, key: tuple[str, ...], rate: Rate, now: float) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(rate.count, now))
        self._buckets.move_to_end(key)
        bucket.level = min(rate.count, bucket.level + (now - bucket.at) * rate.count / rate.seconds)
        bucket.at = now
        while len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return bucket
