import pytest

from sensor.knowledge.catalogue import load
from sensor.knowledge.evidence import HOSTED_MCP, NAMES, PROGRAMS, Learnt, channel, confidence, rung
from sensor.packets.facts import Limits


@pytest.mark.parametrize(
    ("name_source", "up", "down", "content", "expected"),
    [
        ("sni", 0, 0, False, "sni"),
        ("sni", 10, 0, False, "sni"),
        ("sni", 0, 10, False, "sni"),
        ("sni", 10, 10, False, "flow"),
        ("quic_sni", 10, 10, False, "flow"),
        ("connect", 10, 10, False, "flow"),
        ("socks", 0, 0, False, "sni"),
        ("http_host", 10, 10, False, "flow"),
        ("http_host", 10, 10, True, "decrypted"),
        ("dns", 10_000, 10_000, False, "ip"),
        ("ip", 10_000, 10_000, False, "ip"),
        ("none", 10_000, 10_000, False, "ip"),
        ("ip", 0, 0, True, "decrypted"),
    ],
)
def test_rung(name_source: str, up: int, down: int, content: bool, expected: str) -> None:
    assert rung(name_source, up, down, content) == expected


def test_more_evidence_is_more_confidence() -> None:
    values = [
        confidence("ip", "dns", "app"),
        confidence("sni", "sni", "app"),
        confidence("flow", "sni", "app"),
        confidence("decrypted", "sni", "app"),
    ]
    assert values == sorted(values)
    assert len(set(values)) == 4
    assert all(0 < value < 1 for value in values)


def test_what_weakens_it() -> None:
    plain = confidence("flow", "sni", "app")
    for role in ("cdn", "auth", "telemetry"):
        assert confidence("flow", "sni", role) == pytest.approx(plain / 2, abs=0.01)
    assert confidence("flow", "sni", "app", front=True) < plain
    assert confidence("flow", "sni", "app", partial=True) < plain
    assert confidence("ip", "dns", "app", candidates=3) == pytest.approx(confidence("ip", "dns", "app") / 3)
    assert confidence("flow", "sni", "app", candidates=3) == plain  # the name is there to be read
    assert confidence("ip", "ip", "") < confidence("ip", "dns", "app")
    assert confidence("ip", "dns", "app", front=True) == confidence("ip", "dns", "app")


@pytest.mark.parametrize(
    ("service", "role", "client", "expected"),
    [
        ("mcp-server", "api", "", "mcp"),
        ("notion-mcp", "api", "node", "mcp"),
        ("rube-mcp", "app", "browser", "web"),
        ("claude-api", "api", "cli", "cli"),
        ("chatgpt", "app", "cli", "cli"),
        ("github-copilot", "api", "editor", "ide"),
        ("chatgpt", "telemetry", "cli", ""),
        ("openai-api", "api", "browser", "api"),
        ("chatgpt", "app", "browser", "web"),
        ("chatgpt", "app", "", ""),
        ("chatgpt", "cdn", "browser", ""),
    ],
)
def test_channel(service: str, role: str, client: str, expected: str) -> None:
    assert channel(service, role, client) == expected


def test_channels_that_a_user_agent_tells() -> None:
    known = {agent.name for agent in load().contents.clients.user_agents}
    assert set(PROGRAMS) <= known


def test_only_mcp_servers_have_ids_that_end_like_theirs() -> None:
    services = load().services.values()
    hosted = [entry.service for entry in services if entry.service.id.endswith(HOSTED_MCP)]
    assert hosted
    assert [s.id for s in hosted if "MCP" not in f"{s.name} {s.description}"] == []


def test_candidates_are_by_client_address_and_time() -> None:
    second = 1_000_000_000
    learnt = Learnt(Limits(name_min_ns=5 * second, name_max_ns=30 * second))
    address = "192.0.2.1"
    assert learnt.candidates("10.0.0.1", address, 0) == 1
    learnt.learn("10.0.0.1", [("a", address, 1)], "claude", 0)
    learnt.learn("10.0.0.1", [("b", address, 20)], "chatgpt", 0)
    learnt.learn("10.0.0.1", [("b", address, 90), ("b", "192.0.2.2", 90)], "chatgpt", 0)
    learnt.learn("10.0.0.2", [("c", address, 30)], "gemini", 0)
    times = (0, 4, 5, 29, 30)
    assert [learnt.candidates("10.0.0.1", address, t * second) for t in times] == [2, 2, 1, 1, 1]


def test_memory_is_bounded() -> None:
    learnt = Learnt(pairs=2)
    for number in range(100):
        learnt.learn("10.0.0.1", [("a", "192.0.2.1", 60)], f"service-{number}", 0)
    assert learnt.candidates("10.0.0.1", "192.0.2.1", 0) == NAMES
    learnt.learn("10.0.0.1", [("a", f"192.0.2.{number}", 60) for number in (2, 3)], "claude", 0)
    assert learnt.candidates("10.0.0.1", "192.0.2.1", 0) == 1
