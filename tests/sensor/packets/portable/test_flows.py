from __future__ import annotations

from dataclasses import replace

from sensor.packets.facts import Limits
from sensor.packets.portable.flows import Flow, Side, State, Table, reverse
from sensor.packets.portable.headers import Around
from sensor.packets.portable.watch import pack

SECOND = 1_000_000_000
MACS = bytes.fromhex("020000000002020000000001")


def key(client: str = "10.0.0.1", server: str = "192.0.2.1", sport: int = 40_000, dport: int = 443) -> bytes:
    return pack(client) + pack(server) + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")


def flow(number: int = 0, ends: bytes = key(), last: int = 0) -> Flow:
    side, other = Side(ends), Side(reverse(ends))
    side.other, other.other = other, side
    made = Flow(number, True, side, other, last, Around(MACS))
    side.flow = other.flow = made
    made.last = made.seen = last
    made.idle, made.slice_due = 300 * SECOND, 60 * SECOND
    return made


def test_reverse() -> None:
    assert reverse(key()) == key("192.0.2.1", "10.0.0.1", 443, 40_000)
    six = key("2001:db8::1", "2001:db8::2", 1, 2)
    assert reverse(six) == key("2001:db8::2", "2001:db8::1", 2, 1)
    assert reverse(reverse(six)) == six


def test_both_directions_lead_to_a_flow_until_it_is_removed() -> None:
    table, one = Table(Limits()), flow()
    table.add(one, one.client)
    assert table.tcp[key()].flow is table.tcp[reverse(key())].flow is one
    assert (len(table), list(table)) == (1, [one])
    table.remove(one)
    assert (len(table), table.tcp, one.state) == (0, {}, State.GONE)


def test_both_ends_are_one() -> None:
    table, land = Table(replace(Limits(), flows=1)), flow(ends=key(server="10.0.0.1", sport=443))
    table.add(land, land.client)
    assert table.tcp[key(server="10.0.0.1", sport=443)] is land.client
    assert table.full
    table.remove(land)
    assert not table.full


def test_the_least_recently_seen_flow() -> None:
    table = Table(Limits())
    flows = [flow(number, key(sport=number + 1), last=10 - number) for number in range(3)]
    for one in flows:
        table.add(one, one.client)
    assert table.least_recent() is flows[2]
    table.remove(flows[2])
    flows[1].seen = 20
    assert table.least_recent() is flows[0]


def test_flows_come_up_when_they_are_due() -> None:
    table, one = Table(Limits()), flow()
    table.add(one, one.client)
    assert list(table.due(59 * SECOND)) == []
    assert list(table.due(60 * SECOND)) == [one]
    table.wait(one, 61 * SECOND)
    table.remove(one)
    assert list(table.due(99 * SECOND)) == []


def test_a_swap_before_anything_was_said() -> None:
    one = flow()
    one.swap()
    said = one.describe()
    assert (said.client_ip, said.client_port, said.client_mac) == ("192.0.2.1", 443, "02:00:00:00:00:02")
    assert (said.server_ip, said.transport, said.vlan, said.tunnel) == ("10.0.0.1", "tcp", None, "")
