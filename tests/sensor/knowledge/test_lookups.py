import dns.message
import dns.rrset

from sensor.knowledge.catalogue import load
from sensor.knowledge.lookups import ANSWER_NS, Asked, Lookups
from sensor.packets.facts import Message

CLIENT, RESOLVER = ("10.0.0.7", 40_000), ("10.0.0.1", 53)
S = 1_000_000_000


def query(name: str = "claude.ai", kind: str = "A", ident: int = 1) -> bytes:
    return dns.message.make_query(name, kind, id=ident).to_wire()


def answer(name: str = "claude.ai", kind: str = "A", ident: int = 1, data: str = "192.0.2.7") -> bytes:
    response = dns.message.make_response(dns.message.make_query(name, kind, id=ident))
    response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, data))
    return response.to_wire()


def feed(lookups: Lookups, time: int, payload: bytes, up: bool = True, port: int = 40_000) -> list[Asked]:
    client = (CLIENT[0], port)
    (src, dst) = (client, RESOLVER) if up else (RESOLVER, client)
    fact = Message("dns", time, "udp", *src, *dst, "02:00:00:00:00:07", None, payload)
    return lookups.observe(fact)


def test_question_and_answer_are_one_lookup() -> None:
    lookups = Lookups()
    assert feed(lookups, 5, query()) == []
    assert feed(lookups, 6, query()) == []  # sent again
    (asked,) = feed(lookups, 7, answer(), up=False)
    assert (asked.time, asked.client_ip, asked.resolver_ip, asked.client_mac) == (
        5,
        "10.0.0.7",
        "10.0.0.1",
        "02:00:00:00:00:07",
    )
    assert (asked.question, asked.qtype) == ("claude.ai", "A")
    assert asked.answer is not None
    assert asked.answer.addresses == ("192.0.2.7",)
    assert lookups.expire() == []


def test_answers_go_to_their_own_question() -> None:
    lookups = Lookups()
    feed(lookups, 1, query(ident=1))
    feed(lookups, 2, query(kind="AAAA", ident=1))
    feed(lookups, 3, query(ident=1), port=40_001)
    feed(lookups, 4, query(ident=2))
    assert [asked.time for asked in feed(lookups, 5, answer(ident=2), up=False)] == [4]
    assert [asked.time for asked in feed(lookups, 5, answer(ident=1), up=False, port=40_001)] == [3]
    assert [(asked.time, asked.qtype) for asked in lookups.expire()] == [(1, "A"), (2, "AAAA")]


def test_an_answer_without_its_question_counts() -> None:
    (asked,) = feed(Lookups(), 9, answer(), up=False)
    assert (asked.time, asked.client_ip, asked.resolver_ip, asked.client_mac) == (
        9,
        "10.0.0.7",
        "10.0.0.1",
        "",
    )


def test_a_question_nobody_answers_ends_in_time() -> None:
    lookups = Lookups()
    feed(lookups, 0, query(ident=1))
    assert feed(lookups, ANSWER_NS - 1, query(ident=2)) == []
    (asked,) = feed(lookups, ANSWER_NS, query(ident=3))
    assert (asked.time, asked.answer) == (0, None)
    assert len(lookups.expire(3 * ANSWER_NS)) == 2


def test_memory_is_bounded() -> None:
    lookups = Lookups(pending=2)
    ended = [asked.time for ident in range(5) for asked in feed(lookups, ident, query(ident=ident))]
    assert ended == [0, 1, 2]
    assert len(lookups.expire()) == 2


def test_a_message_without_a_question_is_nothing() -> None:
    assert feed(Lookups(), 0, bytes(12)) == []


def test_the_service_of_a_lookup() -> None:
    catalogue = load()

    def service(name: str, **more: str) -> str:
        (asked,) = feed(Lookups(), 9, answer(name, **more), up=False)
        found = asked.match(catalogue.match)
        return found.service if found else ""

    assert service("claude.ai") == "claude"
    assert service("ai.example.com", kind="CNAME", data="api.openai.com.") == "openai-api"
    assert service("www.example.com") == ""
