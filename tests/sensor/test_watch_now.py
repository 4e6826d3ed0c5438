"""What is open now, and whether both directions come by."""

from __future__ import annotations

from dataclasses import replace

from sensor.knowledge.catalogue import load
from sensor.monitor import Monitor
from sensor.packets.facts import Clear, Fact, Flow, Opened, Progress
from sensor.watch_now import Directions, Now, finding

FLOW = Flow(1, "tcp", "10.0.0.1", 40_000, "192.0.2.1", 443, "", None, "")
OPENED = Opened(FLOW, 1, "tls", "api.openai.com", "sni", "none", b"", b"", 0)
CLOSED = Progress(FLOW, 1, 2, 10, 10, 1, 1, 5, 5, (), "fin")


def test_clients_and_services_now() -> None:
    monitor = Monitor(load())
    now = Now(monitor.service)

    def say(*facts: Fact) -> None:
        for fact in facts:
            monitor.observe(fact)
            now.add(fact)

    for number, (client, name) in enumerate(
        [
            ("10.0.0.1", "api.openai.com"),
            ("10.0.0.1", "claude.ai"),
            ("10.0.0.2", "api.openai.com"),
            ("10.0.0.3", "example.org"),
        ]
    ):
        say(replace(OPENED, flow=replace(FLOW, id=number, client_ip=client), name=name))
    assert (now.clients(), now.services()) == (2, ["openai-api", "claude"])
    say(replace(CLOSED, flow=replace(FLOW, id=1), closed=""))
    say(replace(CLOSED, flow=replace(FLOW, id=0)))
    say(replace(CLOSED, flow=replace(FLOW, id=2)))
    assert (now.clients(), now.services()) == (1, ["claude"])
    local = replace(FLOW, id=9, client_ip="10.0.0.9", server_port=11_434)
    say(replace(OPENED, flow=local, protocol="http", name="", name_source="none"))
    assert now.services() == ["claude"]
    say(Clear(local, True, 2, 0, b"POST /api/chat HTTP/1.1\r\nHost: 192.0.2.1:11434\r\n\r\n"))
    say(Clear(local, False, 3, 0, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{"))
    assert (now.clients(), now.services()) == (2, ["claude", "ollama"])
    say(replace(CLOSED, flow=local))
    assert now.services() == ["claude"]


def test_one_way_after_enough_connections() -> None:
    seen = Directions()
    for number in range(30):
        assert not seen.one_way or number >= 20
        half = replace(CLOSED, flow=replace(FLOW, id=number), packets_down=0, bytes_down=0, closed="")
        seen.add(half)
        seen.add(half)  # once a connection
        seen.add(replace(CLOSED, flow=replace(FLOW, id=100 + number), bytes_up=0, bytes_down=0))
    assert (seen.one, seen.both, seen.one_way, seen.recent) == (30, 0, True, (30, 30))
    for number in range(200, 300):
        seen.add(replace(CLOSED, flow=replace(FLOW, id=number)))
        seen.add(replace(CLOSED, flow=replace(FLOW, id=number, transport="udp"), packets_down=0))
    assert (seen.one, seen.both, seen.one_way) == (30, 100, False)


def test_a_mirror_that_becomes_one_way_and_whole_again() -> None:
    seen, half = Directions(), [False] * 500 + [True] * 40 + [False] * 60
    said = []
    for number, one in enumerate(half):
        flow = replace(FLOW, id=number)
        seen.add(replace(CLOSED, flow=flow, packets_down=0 if one else 1))
        said.append(seen.one_way)
    assert (said.index(True), said.index(False, 526)) == (525, 577)
    assert not any(said[:525] + said[577:])


def test_a_finding_of_the_sensor_itself() -> None:
    one, two = (finding("o'brien", "one-way-mirror", "high", "t", time) for time in (5, 6))
    assert one.id == two.id != finding("o'brien", "one-way-mirror", "high", "t", 86_400 * 10**9).id
    assert one.evidence_query.endswith("sensor = 'o\\'brien'")
