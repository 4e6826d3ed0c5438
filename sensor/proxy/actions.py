"""The policy's verdict on a request, and what is done about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from sensor.knowledge.catalogue import Catalogue
from sensor.knowledge.policy import DEFAULT, Case, Decision, Policy, holds
from sensor.knowledge.policy_judge import Meter
from sensor.proxy import analyse
from sensor.proxy.analyse import PASSAGES, Asked, Job
from sensor.proxy.coach import Grants
from sensor.proxy.decide import is_use
from sensor.proxy.dlp import DATA_CLASSES
from sensor.proxy.limit import Limiter
from sensor.proxy.rows import Seen
from sensor.proxy.workers import ScanFailed, Workers

# Keys of a rule that only content answers: when it could not be read, such a rule may hold.
CONTENT = frozenset({"data_class", "operation", "account", "account_type", "channel", "volume", "evidence"})
REFUSALS = {
    "block": "Your organisation's policy does not allow this request.",
    "coach": "Your organisation asks you to think again before you send this.",
    "limit": "Your organisation's limit for this service is reached.",
    "failed": "This request could not be inspected, and your organisation's policy may not allow it.",
    "redact": "This request holds data that may not leave, in a place where it cannot be replaced.",
}
_log = logging.getLogger("aiscope.proxy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a request: it goes on, with another `body` if there is one, or it is refused."""

    refused: str = ""  # block, coach, limit; "" goes on
    message: str = ""
    rule: str = ""
    token: str = ""  # by which a coached person goes on
    retry_after: int | None = None
    body: bytes | None = field(default=None, repr=False)
    originals: dict[str, str] = field(default_factory=dict, repr=False)


PASS = Outcome()


class Actions:
    """One for a proxy. `closed`: verdicts for which what could not be inspected is refused."""

    def __init__(
        self,
        policy: Policy | None,
        catalogue: Catalogue,
        workers: Workers,
        *,
        enforce: bool,
        closed: Iterable[str],
        limiter: Limiter,
        grants: Grants,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy, self.enforce, self.grants = policy, enforce, grants
        self._workers, self._limiter, self._clock = workers, limiter, clock
        self._closed = frozenset(closed)
        self._meter = Meter(policy.volumes) if policy and policy.volumes else None
        rules = policy.file.rules if policy else ()
        self._verdicts = {rule.id: rule.verdict for rule in rules} | {
            DEFAULT: policy.file.default if policy else "allow"
        }
        self._classes = {rule.id: rule.match.data_class for rule in rules}
        # When even our own code fails there is no case to ask about.
        self.may_forbid = enforce and bool(self._closed.intersection(self._verdicts.values()))

        @cache
        def known(service: str) -> tuple[str, int | None]:
            entry = catalogue.services.get(service)
            return (entry.vendor.country or "", catalogue.score(service).score) if entry else ("", None)

        self._known = known

    async def judge(self, seen: Seen, job: Job, size: int) -> Outcome:
        """Look at a request and say what becomes of it; `seen` is told what was found."""
        try:
            seen.asked = await self._workers.run(size, analyse.ask, job)
        except ScanFailed:
            seen.problems.append("failed")
            return self.unread(seen)
        asked = seen.asked
        if asked:
            flags = (("cut", asked.cut), ("unreadable", asked.unreadable), ("opaque", asked.opaque))
            seen.problems += [name for name, is_so in flags if is_so]
        if self.policy is None or not is_use(seen.match):
            return PASS
        case = self.case(seen, asked)
        decision = seen.decision = self.policy.decide(case)
        outcome = await self._act(seen, job, size, decision)
        if asked and asked.cut and not outcome.refused and self._possible(case, CONTENT) & self._closed:
            return self._refused("block", "failed", decision)
        if asked and asked.flaws and outcome is PASS and self.may_forbid:
            return Outcome(body=analyse.heal(job))
        return outcome

    def before(self, seen: Seen) -> Outcome:
        """What becomes of a request whatever its content is."""
        if self.policy is None or not is_use(seen.match):
            return PASS
        decision = self.policy.decide(self.case(seen, None))
        if decision.verdict == "block":
            seen.decision = decision
            return self._refused("block", "block", decision)
        return PASS

    def unread(self, seen: Seen) -> Outcome:
        """What becomes of a request whose content could not be read. What is certain without it is done."""
        if self.policy is None or not is_use(seen.match):
            return PASS
        case = self.case(seen, None)
        decision = seen.decision = self.policy.decide(case)
        possible = self._possible(case, CONTENT)
        if possible == {decision.verdict} != {"redact"}:
            return self._whole(seen, decision)
        if possible & self._closed:
            return self._refused("block", "failed", decision)
        return PASS

    def used(self, seen: Seen) -> None:
        """An exchange is over."""
        result = seen.told.result if seen.told else None
        tokens = (result.tokens_in or 0) + (result.tokens_out or 0) if result else 0
        late = seen.up - seen.judged if seen.judged else 0  # of a body that passed as a stream
        if seen.decision and seen.decision.verdict == "limit":
            self._limiter.used(_bucket(seen), tokens, late, self._clock())
        if self._meter:
            self._meter.add(seen.client.ip, seen.service, seen.time, late, seen.down)

    def case(self, seen: Seen, asked: Asked | None) -> Case:
        """An exchange as the policy sees it."""
        read = bool(asked or seen.problems)  # else it is a page or a poll, and moves nothing
        country, score = self._known(seen.service)
        volumes: dict[tuple[str, str], int] = {}
        if self._meter:
            self._meter.add(seen.client.ip, seen.service, seen.time, seen.up - seen.judged if read else 0, 0)
            volumes = self._meter.volumes(seen.client.ip, seen.service)
        seen.judged = seen.up if read else 0
        return Case(
            service=seen.service,
            vendor=seen.match.vendor,
            category=seen.match.category,
            score=score,
            country=country,
            user=seen.client.user,
            groups=seen.client.groups,
            client_ip=seen.client.ip,
            evidence="decrypted",
            channel=seen.channel,
            operation=asked.operation if asked else "",
            data_classes=asked.data_classes if asked else (),
            account=asked.account if asked else "",
            account_type=asked.account_type if asked else "",
            time=seen.time,
            volumes=volumes,
        )

    async def _act(self, seen: Seen, job: Job, size: int, decision: Decision) -> Outcome:
        if decision.verdict == "redact":
            return await self._redact(seen, job, size, decision)
        return PASS if decision.verdict == "limit" and not seen.asked else self._whole(seen, decision)

    def _whole(self, seen: Seen, decision: Decision) -> Outcome:
        """What is done with a request as it is."""
        if decision.verdict == "block":
            return self._refused("block", "block", decision)
        if decision.verdict == "coach":
            return self._coach(seen, decision)
        if decision.verdict == "limit":
            wait = self._limiter.ask(_bucket(seen), decision.rate, seen.up, self._clock())
            return self._refused("limit", "limit", decision, retry_after=wait) if wait else PASS
        return PASS

    def _coach(self, seen: Seen, decision: Decision) -> Outcome:
        who, now = (seen.client.key, seen.service, decision.rule), self._clock()
        if not self.enforce or self.grants.holds(who, now):
            return PASS
        message = decision.message or REFUSALS["coach"]
        return self._refused("coach", "coach", decision, token=self.grants.ticket(who, message, now))

    async def _redact(self, seen: Seen, job: Job, size: int, decision: Decision) -> Outcome:
        asked = seen.asked
        if asked is None:
            return PASS
        asking = self._classes.get(decision.rule)
        one_of = holds(asking) if asking else None
        wanted = [c for c in DATA_CLASSES if (one_of(c) if one_of else c not in PASSAGES)]
        if not self.enforce or not set(wanted).intersection(asked.data_classes):
            return PASS
        try:
            made = await self._workers.run(size, analyse.redact, job, asked, wanted)
        except ScanFailed:
            seen.problems.append("failed")
            return self._refused("block", "failed", decision) if "redact" in self._closed else PASS
        if made is None:
            seen.problems.append("not-redacted")
            return self._refused("block", "redact", decision)
        return Outcome(body=made.body, originals=made.originals)

    def _refused(
        self, verdict: str, why: str, decision: Decision, *, token: str = "", retry_after: int | None = None
    ) -> Outcome:
        if not self.enforce:
            return PASS
        message = REFUSALS[why] if why in ("failed", "redact") else decision.message or REFUSALS[why]
        return Outcome(verdict, message, decision.rule, token, retry_after)

    def _possible(self, case: Case, unknown: frozenset[str]) -> set[str]:
        """Verdicts that the policy might have given, had it known these keys."""
        if self.policy is None:
            return set()
        return {
            self._verdicts[rule] for rule, failing in self.policy.explain(case) if unknown.issuperset(failing)
        }


def _bucket(seen: Seen) -> tuple[str, ...]:
    return seen.client.key, seen.service, seen.asked.model if seen.asked else ""
