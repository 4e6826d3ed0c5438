import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.proxy.providers import framing
from tests.sensor.proxy.providers.samples import cut, places
from tests.sensor.proxy.vendor_formats import aws

KINDS = (
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
)


def frames(kind: str, data: bytes, portions: list[int]) -> list[framing.Frame]:
    found = framing.framing(200, kind)
    out = [frame for portion in cut(data, portions) for frame in found.feed(portion)]
    return out + found.finish()


@given(
    st.sampled_from(KINDS),
    st.lists(st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":c", b"event: e", b"{}", aws("n", {})])),
    places,
)
@settings(max_examples=300)
def test_no_byte_is_lost_and_portions_do_not_matter(
    kind: str, parts: list[bytes], portions: list[int]
) -> None:
    data = b"".join(parts)
    got = frames(kind, data, portions)
    assert b"".join(frame.raw for frame in got) == data
    assert [frame for frame in got if frame.data is not None] == [
        f for f in frames(kind, data, []) if f.data is not None
    ]


def test_events() -> None:
    data = b": hi\n\nevent: a\ndata: one\ndata:two\n\nid: 1\r\ndata: three\r\n\r\ndata: four\r\rdata: five"
    got = [(frame.name, frame.data) for frame in frames("text/event-stream; charset=utf-8", data, [])]
    assert got == [("", None), ("a", b"one\ntwo"), ("", b"three"), ("", b"four"), ("", b"five")]


def test_an_event_is_written_with_its_other_fields() -> None:
    (frame,) = frames("text/event-stream", b"id: 7\nevent: a\ndata: one\ndata: two\n\n", [])
    assert frame.encode(b"x") == b"id: 7\nevent: a\ndata: x\n\n"


def test_amazon_s_messages() -> None:
    message = aws("chunk", {"a": 1})
    got = frames("application/vnd.amazon.eventstream", message * 2, [3, 15, 40])
    assert [(frame.name, frame.data) for frame in got] == [("chunk", b'{"a": 1}')] * 2
    assert got[0].encode(b'{"a": 1}') == message


def test_a_broken_prelude_ends_the_reading_and_not_the_passing() -> None:
    data = aws("chunk", {}) + b"\x00" * 40 + aws("chunk", {})
    got = frames("application/vnd.amazon.eventstream", data, [60, 70, 80])
    assert [frame.data for frame in got if frame.data is not None] == [b"{}"]
    assert b"".join(frame.raw for frame in got) == data


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_too_long_passes_and_the_next_is_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME", 100)
    long = {
        "text/event-stream": b"data: " + b"x" * 500 + b"\n\n",
        "application/x-ndjson": b"x" * 500 + b"\n",
    }.get(kind)
    if long is None:
        got = frames(kind, b"\x00\x00\x01" * 100, [])
        assert got
        assert all(frame.data is None for frame in got)
        return
    short = b"data: y\n\n" if "event" in kind else b"y\n"
    for portions in ([], [50, 150, 300], [505, 506, 507, 508]):
        got = frames(kind, long + short, portions)
        assert [frame.data for frame in got if frame.data is not None][-1:] == [b"y"]
        assert len([frame for frame in got if frame.data is not None]) == 1


def test_websocket_messages_are_frames() -> None:
    found = framing.framing(101, "")
    assert [frame.data for data in (b"{}", b"[]") for frame in found.feed(data)] == [b"{}", b"[]"]
    assert found.finish() == []
