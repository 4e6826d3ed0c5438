from __future__ import annotations

from dataclasses import replace

from sensor.packets import facts
from sensor.packets.facts import Limits
from sensor.packets.portable.names import SECOND, Names
from sensor.packets.portable.totals import Tally
from sensor.packets.portable.watch import Watch, pack
from tests.sensor.packets.scenarios import NAME, OTHER, dns, name, record

CLIENT, SERVER = pack("10.0.0.1"), pack("192.0.2.1")
ADDRESS = record(1, SERVER)
OPENAI = facts.Watch(names=frozenset({"openai.com"}), fronts=frozenset({"front.example"}))


def learn(names: Names, payload: bytes, question: bytes = NAME, time: int = 0) -> bool:
    return names.learn(CLIENT, question.decode(), payload, time)


def make(watch: facts.Watch = OPENAI, limits: Limits | None = None) -> tuple[Names, Tally]:
    tally = Tally()
    return Names(Watch(watch), limits or Limits(), tally), tally


def test_an_address_stands_for_its_name_for_a_time() -> None:
    names, _ = make()
    assert learn(names, dns(answers=[ADDRESS]))
    assert names.find(CLIENT, SERVER, 60 * SECOND - 1) == "api.openai.com"
    assert names.find(CLIENT, SERVER, 60 * SECOND) == ""
    assert names.find(SERVER, SERVER, 0) == ""


def test_a_name_of_the_chain() -> None:
    names, _ = make()
    assert learn(names, dns(OTHER, [record(5, name(NAME)), ADDRESS]), OTHER)
    assert names.find(CLIENT, SERVER, 0) == "api.openai.com"


def test_what_is_not_watched() -> None:
    names, _ = make()
    assert not learn(names, dns(OTHER, [ADDRESS]), OTHER)
    assert not learn(names, dns(OTHER, [record(5, name(b"a.example")), ADDRESS]), OTHER)
    assert names.find(CLIENT, SERVER, 0) == ""
    everything, _ = make(facts.Watch(all=True))
    assert learn(everything, dns(OTHER, [ADDRESS]), OTHER)
    assert everything.find(CLIENT, SERVER, 0) == "www.example.net"


def test_an_answer_that_cannot_be_read() -> None:
    names, _ = make()
    assert learn(names, dns(answers=[ADDRESS])[:20])  # the question was watched
    assert names.find(CLIENT, SERVER, 0) == ""


def test_the_oldest_goes() -> None:
    names, tally = make(limits=replace(Limits(), names=2))
    addresses = [bytes((192, 0, 2, last)) for last in (1, 2, 3)]
    for time, address in enumerate(addresses):
        learn(names, dns(answers=[record(1, address)]), time=time)
    assert [bool(names.find(CLIENT, address, 9)) for address in addresses] == [False, True, True]
    assert tally.names_evicted == 1


def test_fronts_of_the_watch() -> None:
    names, _ = make()
    assert names.is_front("front.example")
    assert not names.is_front("api.openai.com")
