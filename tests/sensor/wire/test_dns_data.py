from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sensor.wire import dns_data
from sensor.wire.cursor import Malformed


@given(
    st.integers(0, 2),
    st.sampled_from([b"\0", b"\3svc\0"]),
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    (0, b"\0\1"), (1, b"\2h2"), (1, b"\2h2\2h3"), (1, b"\3h2"), (1, b"\2H,"), (2, b""), (3, b"\1\xbb"),
                    (4, bytes(8)), (4, b"\1"), (4, b""), (5, b"\0\4ech?"), (5, b""), (5, b"\0\5ech?"),
                    (6, bytes(15) + b"\1"), (65_000, b"x y"),
                ]
            ),
            st.tuples(st.integers(0, 8), st.binary(max_size=12)),
        ),
        max_size=4,
    ),
)  # fmt: skip
def test_usual_services_are_written_as_dnspython_does(
    priority: int, target: bytes, parameters: list[tuple[int, bytes]]
) -> None:
    data = priority.to_bytes(2, "big") + target
    for key, value in parameters:
        data += key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    try:
        text = dns_data._usual_service(data)
    except Malformed:
        text = ""
    if text:
        assert text == dns_data.text_of(65, 1, data, 0, len(data)) == dns_data.service(65, 1, data)


def test_the_usual_services_are_read_without_dnspython() -> None:
    data = b"\0\1\0" + b"\0\1\0\6\2h3\2h2" + b"\0\4\0\4\x68\x10\x84\xe5" + b"\0\5\0\6\0\4ech?"
    data += b"\0\6\0\x10" + bytes(15) + b"\1"
    text = '1 . alpn="h3,h2" ipv4hint="104.16.132.229" ech="AARlY2g/" ipv6hint="::1"'
    assert dns_data._usual_service(data) == text
