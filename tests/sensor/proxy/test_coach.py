from __future__ import annotations

from sensor.proxy import coach
from sensor.proxy.coach import Grants

WHO = ("anna", "chatgpt", "think")


def test_a_justification_holds_for_its_owner_and_a_while(monkeypatch) -> None:
    grants = Grants(60)
    token = grants.ticket(WHO, "why?", 0)
    assert grants.ticket(WHO, "why?", 1) == token
    assert not grants.holds(WHO, 1)
    assert grants.justify(token, 1).who == WHO  # type: ignore[union-attr]
    assert grants.holds(WHO, 60)
    assert not grants.holds(WHO, 61)
    assert not grants.holds(("berta", *WHO[1:]), 2)
    assert grants.justify(token, 2) is None


def test_tickets_grow_old_and_are_bounded(monkeypatch) -> None:
    grants = Grants(60)
    token = grants.ticket(WHO, "", 0)
    assert grants.justify(token, coach.PENDING_SECONDS) is None
    monkeypatch.setattr(coach, "PENDING", 2)
    first = grants.ticket(("a", "b", "c"), "", 5000)
    for name in "xyz":
        grants.ticket((name, "b", "c"), "", 5000)
    assert grants.find(first, 5000) is None
