from __future__ import annotations

from sensor.knowledge.catalogue_match import Match
from sensor.knowledge.policy import Decision
from sensor.proxy import rows
from sensor.proxy.people import Client
from sensor.proxy.rows import Findings, Seen

DAY = 86_400_000_000_000
BLOCK = Decision("block", "no-keys", severity="high")


def seen(time: int = DAY, ip: str = "10.0.0.1", service: str = "chatgpt", **more: object) -> Seen:
    found = Seen("id", time, Client(ip, "anna"), Match(service, "openai", "chat", "app", ""), "chatgpt.com")
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_one_finding_per_client_service_rule_and_day() -> None:
    findings = Findings()
    (first,) = findings.policy(seen(), BLOCK)
    assert list(findings.policy(seen(DAY + 5), BLOCK)) == []
    other = [
        *findings.policy(seen(2 * DAY), BLOCK),
        *findings.policy(seen(ip="10.0.0.2"), BLOCK),
        *findings.policy(seen(service="claude"), BLOCK),
    ]
    assert len({one.id for one in (first, *other)}) == 4
    (again,) = Findings().policy(seen(), BLOCK)
    assert again.id == first.id, "the same after a restart, so that the store has it once"
    assert (first.severity, first.user, first.rule) == ("high", "anna", "policy:no-keys")
    assert "AND policy = 'no-keys' AND client_ip = toIPv6('10.0.0.1')" in first.evidence_query
    assert list(findings.policy(seen(), Decision("allow", "x"))) == []


def test_what_was_not_read_is_told() -> None:
    found = list(Findings().problems(seen(problems=["cut", "unreadable", "opaque", "failed", "too-large"])))
    assert len(found) == 5
    assert all(one.rule.startswith("inspection-") and one.severity == "low" for one in found)


def test_gaps_name_the_host_where_there_is_no_service() -> None:
    (finding,) = Findings().gap(seen(service=""), "does not trust the certificate")
    assert finding.title == "chatgpt.com: passes uninspected, the client does not trust the certificate"


def test_reasons_are_one_line_each_time() -> None:
    findings = Findings()
    first, second = (
        next(findings.justified(seen(DAY + n), "think", "a\n\x1b[31mb" + "x" * 900)) for n in (1, 2)
    )
    assert first.id != second.id
    assert first.title.isprintable()
    assert len(first.title) < 600


def test_what_is_remembered_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(rows, "REMEMBERED", 2)
    findings = Findings()
    for number in range(4):
        assert len(list(findings.policy(seen(ip=f"10.0.0.{number}"), BLOCK))) == 1
    assert len(findings._found) == 2
