from __future__ import annotations

import pytest

from sensor.packets import facts
from sensor.packets.portable.watch import Networks, Watch, pack

WATCH = Watch(
    facts.Watch(
        names=frozenset({"openai.com", "localhost"}),
        patterns=frozenset({"bedrock-runtime.*.amazonaws.com", "api-*-x.*", "*"}),
        paths=frozenset({"/v1/chat", "/api/generate"}),
    )
)


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("openai.com", True),
        ("api.openai.com", True),
        ("a.b.openai.com", True),
        ("notopenai.com", False),
        ("openai.com.evil.org", False),
        ("com", True),  # the pattern `*`: any one label
        ("bedrock-runtime.eu-west-1.amazonaws.com", True),
        ("bedrock-runtime.a.b.amazonaws.com", False),
        ("bedrock-runtimeXeu-west-1.amazonaws.com", False),
        ("api-7-x.dev", True),
        ("api-x.dev", False),
        ("", False),
    ],
)
def test_names(name: str, watched: bool) -> None:
    assert WATCH.name(name) is watched


def test_paths_are_prefixes() -> None:
    assert WATCH.path("/v1/chat/completions")
    assert not WATCH.path("/v2/chat")
    assert not Watch(facts.Watch()).path("/")


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("9.255.255.255", False),
        ("192.0.2.128", True),
        ("192.0.2.127", False),
        ("2001:db8::1", True),
        ("2001:db9::", False),
        ("::a00:1", False),
    ],
)
def test_networks(address: str, inside: bool) -> None:
    networks = Networks(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.128/25", "2001:db8::/32"])
    assert (pack(address) in networks) is inside
    assert pack(address) not in Networks([])
