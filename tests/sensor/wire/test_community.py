from __future__ import annotations

import pytest

from sensor.wire.community import community_id

# TCP and UDP rows of the specification's baseline (corelight/community-id-spec, baseline_deflt.json).
BASELINE = [
    (
        "tcp",
        "2001:470:e5bf:dead:4957:2174:e82c:4887",
        63943,
        "2607:f8b0:400c:c03::1a",
        25,
        "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
    ),
    ("tcp", "128.232.110.120", 34855, "66.35.250.204", 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("udp", "192.168.1.52", 54585, "8.8.8.8", 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
]


@pytest.mark.parametrize(("transport", "ip", "port", "other_ip", "other_port", "expected"), BASELINE)
def test_baseline_both_ways(
    transport: str, ip: str, port: int, other_ip: str, other_port: int, expected: str
) -> None:
    assert community_id(transport, ip, port, other_ip, other_port) == expected
    assert community_id(transport, other_ip, other_port, ip, port) == expected


def test_ports_order_equal_addresses() -> None:
    assert community_id("tcp", "127.0.0.1", 1, "127.0.0.1", 2) == community_id(
        "tcp", "127.0.0.1", 2, "127.0.0.1", 1
    )
    assert community_id("tcp", "127.0.0.1", 1, "127.0.0.1", 2) != community_id(
        "udp", "127.0.0.1", 1, "127.0.0.1", 2
    )
