from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensor.wire.names import NAME_MAX, clean_name, escape, is_address


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"api.openai.com", "api.openai.com"),
        (b"API.OpenAI.com.", "api.openai.com"),
        (b"api.openai.com:443", "api.openai.com"),
        (b"api.openai.com.:443", "api.openai.com"),
        (b"ollama", "ollama"),
        (b"host:", "host"),
        (b"1.2.3.4:80", "1.2.3.4"),
        (b"", ""),
        (b".", ""),
        (b"a b\x00c", r"a\x20b\x00c"),
        (b"b\xc3\xbccher.example", r"b\xc3\xbccher.example"),
        (b"a:b:1", r"a\x3ab\x3a1"),
        (b"host:x1", r"host\x3ax1"),
        (b"_svc.x-y.example", "_svc.x-y.example"),
        ("Bücher.example", r"b\xc3\xbccher.example"),
        (b"x" * 300, "x" * NAME_MAX),
    ],
)
def test_clean_name(raw: bytes | str, name: str) -> None:
    assert clean_name(raw) == name


@pytest.mark.parametrize(
    "text", ["1.2.3.4", "255.255.255.255", "::1", "[2001:db8::1]", "fe80::a", "::ffff:1.2.3.4"]
)
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["", "a", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4.com", "a:b", "1.2.3.\x004", "é:1", "é1"]
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


@given(st.binary(max_size=400) | st.text(max_size=200))
@example("\ud800")
def test_any_bytes_become_a_safe_name(raw: bytes | str) -> None:
    name = clean_name(raw)
    assert re.fullmatch(r"[a-z0-9._\\-]{0,255}", name)
    is_address(raw.decode("latin-1") if isinstance(raw, bytes) else raw)


@given(st.binary(max_size=60))
def test_escape_loses_nothing_but_case(raw: bytes) -> None:
    text = re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), escape(raw))
    assert text.encode("latin-1") == raw.lower()
