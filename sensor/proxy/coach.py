"""Coaching: say why not, and let a person go on who says what for. Times are seconds of a clock that only
goes forward."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

PENDING = 20_000
PENDING_SECONDS = 3600.0
REASON = 500  # characters of a justification
Who = tuple[str, str, str]  # whom limits are counted for, service, rule


@dataclass(frozen=True, slots=True)
class Ticket:
    """A refusal that may be justified."""

    who: Who
    message: str
    until: float


class Grants:
    """Who may go on until when, and the tickets by which one asks. Both are bounded; the oldest go first."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long a justification holds."""
        self._seconds = seconds
        self._granted: OrderedDict[Who, float] = OrderedDict()
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._latest: dict[Who, str] = {}

    def holds(self, who: Who, now: float) -> bool:
        """Whether a justification was given not long ago."""
        return now < self._granted.get(who, -1.0)

    def ticket(self, who: Who, message: str, now: float) -> str:
        """The token of a refusal, to be shown to that person only."""
        token = self._latest.get(who, "")
        if token in self._tickets and self._tickets[token].until > now:
            return token
        token = secrets.token_urlsafe(16)
        self._tickets[token] = Ticket(who, message, now + PENDING_SECONDS)
        self._latest[who] = token
        if len(self._tickets) > PENDING:
            _, old = self._tickets.popitem(last=False)
            self._latest.pop(old.who, None)
        return token

    def find(self, token: str, now: float) -> Ticket | None:
        """The ticket of a token that is not too old."""
        ticket = self._tickets.get(token)
        return ticket if ticket and now < ticket.until else None

    def justify(self, token: str, now: float) -> Ticket | None:
        """Let the ticket's owner go on; None for a token that is unknown or too old."""
        ticket = self.find(token, now)
        if ticket is None:
            return None
        del self._tickets[token]
        self._latest.pop(ticket.who, None)
        self._granted[ticket.who] = now + self._seconds
        self._granted.move_to_end(ticket.who)
        if len(self._granted) > PENDING:
            self._granted.popitem(last=False)
        return ticket
