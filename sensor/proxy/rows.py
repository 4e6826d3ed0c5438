"""Events of the proxy: what the store gets of an exchange and of what a person should look at."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sensor.delivery.event import Exchange, Finding, Sealed
from sensor.knowledge.catalogue_match import Match
from sensor.knowledge.policy import Decision
from sensor.proxy.analyse import Asked, Told
from sensor.proxy.people import Client
from sensor.proxy.providers import Result
from sensor.proxy.providers.prices import Prices

REMEMBERED = 100_000
INJECTED = ("prompt-injection", "credentials")  # classes in an answer that a person should know of


@dataclass(slots=True)
class Seen:
    """A request on its way, as far as it is known by now."""

    id: str
    time: int  # ns
    client: Client
    match: Match
    host: str
    channel: str = ""
    legs: tuple[str, str] = ("", "")  # Community IDs: client to proxy, proxy to server
    asked: Asked | None = None
    decision: Decision | None = None
    up: int = 0
    judged: int = 0  # bytes of `up` that volumes and limits have counted
    down: int = 0
    status: int | None = None
    ttfb_ms: float | None = None
    duration_ms: float | None = None
    told: Told | None = None
    refused: bool = False  # answered by us
    problems: list[str] = field(default_factory=list)

    @property
    def service(self) -> str:
        """The catalogue's; on hosts that only the settings know, what the request's format tells."""
        return self.match.service or (self.asked.provider if self.asked else "")


def exchange(seen: Seen, prices: Prices) -> Exchange | None:
    """The row of an exchange; None for what is none."""
    asked, result = seen.asked, seen.told.result if seen.told else None
    if asked is None:
        return None
    return Exchange(
        id=seen.id,
        time=seen.time,
        client_flow_id=seen.legs[0],
        server_flow_id=seen.legs[1],
        client_ip=seen.client.ip,
        client_host=seen.client.host,
        user=seen.client.user,
        groups=seen.client.groups,
        service=seen.service,
        vendor=seen.match.vendor,
        category=seen.match.category,
        server_name=seen.host,
        channel=seen.channel,
        operation=asked.operation,
        model=asked.model or (result.model if result else ""),
        stream=result.stream if result and not seen.refused else asked.stream,
        evidence="decrypted",
        confidence=1.0,
        bytes_up=seen.up,
        bytes_down=seen.down,
        tokens_in=result.tokens_in if result else None,
        tokens_out=result.tokens_out if result else None,
        cost_usd=prices.cost(seen.service, asked.model, result) if result else None,
        ttfb_ms=seen.ttfb_ms,
        duration_ms=seen.duration_ms,
        status=seen.status,
        attachments=asked.attachments,
        tools=tuple(dict.fromkeys((*(result.tools_called if result else ()), *asked.tools))),
        data_classes=asked.data_classes,
        verdict=seen.decision.verdict if seen.decision else "",
        policy=seen.decision.rule if seen.decision else "",
        account=_account(asked, result),
        account_type=asked.account_type,
        retry=asked.retry,
        prompt_hash=asked.prompt_hash,
        excerpt=asked.excerpt,
        messages=asked.messages,
        system_hash=asked.system_hash,
        tools_called=(result.tools_called if result else ()) or asked.tools_called,
        project=asked.project,
        key_hash=asked.key_hash,
    )


def _account(asked: Asked, result: Result | None) -> str:
    """The organisation that the answer names says more than a key does."""
    said = result.organisation if result else ""
    return said or asked.account if asked.account.startswith("key:") else asked.account or said


class Findings:
    """One finding per client, service, rule and day."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()

    def policy(self, seen: Seen, decision: Decision) -> Iterator[Finding]:
        """A verdict that a person should look at. The id is that of the sensor's finding of the same."""
        if decision.finding:
            title = f"{seen.service}: {decision.verdict} by policy rule {decision.rule}"
            tags = "policy", decision.verdict
            condition = f"policy = '{decision.rule}'"
            yield from self._one(
                seen, f"policy:{decision.rule}", decision.rule, decision.severity, title, tags, condition
            )

    def answer(self, seen: Seen) -> Iterator[Finding]:
        """What an answer brought in."""
        for name in seen.told.data_classes if seen.told else ():
            if name in INJECTED:
                rule, title = f"answer-{name}", f"{seen.service}: {name} in an answer"
                tags = ("inspection", "heuristic") if name == "prompt-injection" else ("inspection",)
                yield from self._one(seen, rule, rule, "medium", title, tags)

    def problems(self, seen: Seen) -> Iterator[Finding]:
        """What was not read."""
        for problem in seen.problems:
            rule = f"inspection-{problem}"
            yield from self._one(seen, rule, rule, "low", f"{seen.service}: {_WHY[problem]}", ("inspection",))

    def gap(self, seen: Seen, why: str) -> Iterator[Finding]:
        """A client that cannot be inspected."""
        title = f"{seen.service or seen.host}: passes uninspected, the client {why}"
        yield from self._one(
            seen, "inspection-gap", "inspection-gap", "medium", title, ("inspection", "blind-spot")
        )

    def justified(self, seen: Seen, rule: str, reason: str) -> Iterator[Finding]:
        """A person who went on, and what for. Every time, for reasons differ."""
        title = f"{seen.service}: went on past rule {rule}: {_line(reason)}"
        day = f"{seen.time}"
        yield self._made(seen, f"coach:{rule}", "info", title, ("policy", "coach", "justified"), "1", day)

    def _one(
        self,
        seen: Seen,
        rule: str,
        key: str,
        severity: str,
        title: str,
        tags: tuple[str, ...],
        condition: str = "1",
    ) -> Iterator[Finding]:
        day = f"{dt.datetime.fromtimestamp(seen.time // 1_000_000_000, dt.UTC):%Y-%m-%d}"
        which = (seen.client.ip, seen.service, key, day)
        if which in self._found:
            return
        self._found[which] = None
        if len(self._found) > REMEMBERED:
            self._found.popitem(last=False)
        yield self._made(seen, rule, severity, title, tags, condition, day, "\0".join(which))

    def _made(
        self,
        seen: Seen,
        rule: str,
        severity: str,
        title: str,
        tags: tuple[str, ...],
        condition: str,
        day: str,
        key: str = "",
    ) -> Finding:
        service, ip = seen.service, seen.client.ip
        key = key or "\0".join((ip, service, rule, day))
        query = f"SELECT * FROM exchanges WHERE service = '{service}' AND {condition} AND client_ip = toIPv6('{ip}')"
        return Finding(
            id=hashlib.blake2b(key.encode(), digest_size=16).hexdigest(),
            time=seen.time,
            rule=rule,
            severity=severity,
            title=title,
            client_ip=ip,
            user=seen.client.user,
            service=service,
            evidence_query=query if len(day) > 10 else f"{query} AND toDate(time) = '{day}'",
            tags=tags,
        )


_WHY = {
    "cut": "a request was not read wholly: too long, too deep or broken",
    "unreadable": "a file of a kind that is not read",
    "opaque": "the payload cannot be read",
    "failed": "a request could not be looked at",
    "too-large": "a request too large to be held was looked at in part",
    "not-redacted": "a request that could not be redacted was refused",
}


def sealed(seen: Seen) -> Iterator[Sealed]:
    """The original of a prompt, where originals are kept."""
    if seen.asked and seen.asked.sealed:
        yield Sealed(seen.id, *seen.asked.sealed)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:500]
