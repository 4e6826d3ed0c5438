"""Matchers: a slow and plain one agrees, most specific wins, nothing raises."""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.knowledge.catalogue_match import Match, Names, Networks, glob_regex, path_prefix, path_regex


def rule(text: str) -> tuple[str, Match]:
    return text, Match(text, "v", "chat", "app", text)


def names(*patterns: str) -> Names:
    return Names(rule(pattern) for pattern in patterns)


def slow(patterns: list[str], name: str) -> str | None:
    """The README's words: more labels, exact before suffix before glob, more literal characters."""
    name = name.lower().removesuffix(".")
    hits = []
    for pattern in patterns:
        text = pattern.removeprefix("=")
        if pattern.startswith("="):
            hit, kind = name == text, 2
        elif "*" in pattern:
            parts, labels = pattern.split("."), name.split(".")
            pairs = zip(parts, labels, strict=False)
            hit = len(parts) == len(labels) and all(
                fnmatchcase(label, part) and bool(label) >= (part == "*") for part, label in pairs
            )
            kind = 0
        else:
            hit, kind = name == text or name.endswith("." + text), 1
        if hit:
            hits.append((text.count("."), kind, len(pattern) - pattern.count("*"), pattern))
    if not hits:
        return None
    best = max(hit[:3] for hit in hits)
    return min(hit[3] for hit in hits if hit[:3] == best)


LABEL = st.text("ab-1", min_size=1, max_size=3)
GLOB = st.text("ab*", min_size=1, max_size=3).filter(lambda label: label.count("*") < 2)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
TAIL = st.sampled_from(["a.b", "b.a", "ab.a"])
PATTERN = st.one_of(
    st.tuples(NAME, TAIL).map(".".join),
    TAIL,
    st.tuples(NAME, TAIL).map(lambda pair: "=" + ".".join(pair)),
    st.tuples(st.lists(GLOB, min_size=1, max_size=3).map(".".join), TAIL).map(".".join),
)


@given(
    st.lists(PATTERN, max_size=12, unique=True),
    st.one_of(NAME, TAIL, st.tuples(NAME, TAIL).map(".".join)),
)
def test_agrees_with_a_slow_matcher(patterns: list[str], name: str) -> None:
    found = names(*patterns).match(name)
    assert (found.rule if found else None) == slow(patterns, name)


@given(st.text(max_size=300))
def test_any_text_matches_or_not(text: str) -> None:
    found = names("a.b", "=c.d", "x*.e.f").match(text)
    assert found is None or isinstance(found, Match)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("chatgpt.com", "chatgpt.com"),
        ("WS.ChatGPT.com.", "chatgpt.com"),
        ("chatgpt.com..", None),
        ("mychatgpt.com", None),
        ("chatgpt.com.example.net", None),
        ("com", None),
        ("", None),
        (".", None),
        (".chatgpt.com", "chatgpt.com"),
        ("api.x.com", "=api.x.com"),
        ("v1.api.x.com", None),
        ("bedrock.eu-west-1.aws.com", "bedrock.*.aws.com"),
        ("bedrock-x.eu-west-1.aws.com", "bedrock-*.*.aws.com"),
        ("bedrock..aws.com", None),
        ("a.bedrock.eu.aws.com", None),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.EXAMPLE", "xn--bcher-kva.example"),
        ("www.BÜCHER。example", "xn--bcher-kva.example"),
        ("\udc80.chatgpt.com", None),
        ("chatgpt.com:443", None),
        ("chatgpt.com\n", None),
        ("a" * 300 + ".chatgpt.com", None),
        ("a." * 100_000 + "chatgpt.com", None),
    ],
)
def test_names(name: str, wanted: str | None) -> None:
    known = ("chatgpt.com", "=api.x.com", "bedrock.*.aws.com", "bedrock-*.*.aws.com", "xn--bcher-kva.example")
    found = names(*known).match(name)
    assert (found.rule if found else None) == wanted


def test_most_specific_wins() -> None:
    known = names("x.com", "a.x.com", "=a.x.com", "*.x.com", "a*.x.com", "b.*.x.com", "*.b.x.com")
    wanted = {
        "x.com": "x.com",
        "a.x.com": "=a.x.com",
        "z.a.x.com": "a.x.com",
        "ab.x.com": "a*.x.com",
        "zz.x.com": "*.x.com",
        "b.b.x.com": "*.b.x.com",  # as many literal characters: by the alphabet
        "q.r.x.com": "x.com",
    }
    assert {name: known.match(name) and known.match(name).rule for name in wanted} == wanted  # type: ignore[union-attr]


def test_later_rules_replace_equal_ones() -> None:
    first, second = Match("one", "v", "chat", "app", "a.b"), Match("two", "v", "chat", "app", "a.b")
    assert Names([("a.b", first), ("a.b", second)]).match("a.b") is second
    assert Names([("*.a.b", first), ("*.a.b", second)]).match("x.a.b") is second


def test_a_star_that_is_a_label_is_not_empty() -> None:
    assert not re.fullmatch(glob_regex("*.a.b"), ".a.b")
    assert re.fullmatch(glob_regex("x*.a.b"), "x.a.b")


NETWORKS = Networks(rule(cidr) for cidr in ("10.0.0.0/8", "10.1.0.0/16", "2607:6bc0::/48", "192.0.2.7/32"))


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.2.2.3", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.0.0/16"),
        ("2607:6bc0::1", "2607:6bc0::/48"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.8", None),
        ("::1", None),
        ("nonsense", None),
        ("", None),
        ("10.1.2.3%eth0", None),
        ("fe80::1%eth0", None),
    ],
)
def test_networks(address: str, wanted: str | None) -> None:
    found = NETWORKS.match(address)
    assert (found.rule if found else None) == wanted


@given(st.ip_addresses())
def test_networks_agree_with_ipaddress(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    cidrs = ["10.0.0.0/8", "10.1.0.0/16", "2607:6bc0::/48", "192.0.2.7/32"]
    hits = [n for n in map(ipaddress.ip_network, cidrs) if n.version == address.version and address in n]
    found = NETWORKS.match(str(address))
    assert (found.rule if found else None) == (str(max(hits, key=lambda n: n.prefixlen)) if hits else None)


@pytest.mark.parametrize(
    ("path", "line", "hit"),
    [
        ("/api/chat", "POST /api/chat", True),
        ("/api/chat", "GET /api/chat?stream=1", True),
        ("/api/chat", "GET /api/chat/1", True),
        ("/api/chat", "GET /api/chatter", False),
        ("/api/chat", "GET /x/api/chat", False),
        ("/v1/", "GET /v1/models", True),
        ("/v1/", "GET /v1", False),
        ("=/", "GET /", True),
        ("=/", "GET /?a", True),
        ("=/", "GET /index.html", False),
        ("POST /api/chat", "GET /api/chat", False),
        ("POST /api/chat", "POST /api/chat", True),
        ("/v2/models/*/infer", "POST /v2/models/bert/infer", True),
        ("/v2/models/*/infer", "POST /v2/models/a/b/infer", False),
        ("/v1beta/models/*:generateContent", "POST /v1beta/models/gemini-2.5:generateContent?key=x", True),
        ("/a.b", "GET /axb", False),
    ],
)
def test_paths(path: str, line: str, hit: bool) -> None:
    assert bool(path_regex(path).match(line)) is hit


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("/api/chat", "/api/chat"), ("POST /v2/models/*/infer", "/v2/models/"), ("=/", "/"), ("=GET /x", "/x")],
)
def test_prefixes_for_the_engine(path: str, prefix: str) -> None:
    assert path_prefix(path) == prefix
