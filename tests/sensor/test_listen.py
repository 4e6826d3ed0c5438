from __future__ import annotations

import pytest

from sensor.listen import address, bind


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8123", ("127.0.0.1", 8123)),
        ("[::1]:8791", ("::1", 8791)),
        ("::1:8791", ("::1", 8791)),
        ("db_1.example:0", ("db_1.example", 0)),
        (":8080", ("", 8080)),
    ],
)
def test_host_and_port(text: str, found: tuple[str, int]):
    assert address(text) == found


@pytest.mark.parametrize("text", ["", "nowhere", "localhost:", "x:65536", "x:-1", "x:1\n", "a b:1", "x:١"])
def test_what_is_no_address(text: str):
    with pytest.raises(ValueError, match="HOST:PORT is wanted"):
        address(text)


def test_a_taken_port_is_said():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
            bind("127.0.0.1", port)
    with pytest.raises(OSError, match=r"^cannot listen on \[2001:db8::1\]:1: "):
        bind("2001:db8::1", 1)
