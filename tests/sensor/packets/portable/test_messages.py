from __future__ import annotations

import pytest

from sensor.packets.portable.messages import kind_of


@pytest.mark.parametrize(
    ("tcp", "ports", "kind"),
    [
        (False, (40_000, 53), "dns"),
        (False, (53, 40_000), "dns"),
        (False, (5_353, 5_353), "mdns"),
        (False, (53, 5_353), "dns"),
        (False, (68, 67), "dhcp"),
        (False, (40_000, 443), ""),
        (True, (40_000, 53), "dns"),
        (True, (40_000, 5_353), ""),
        (True, (68, 67), ""),
    ],
)
def test_what_ports_carry(tcp: bool, ports: tuple[int, int], kind: str) -> None:
    assert kind_of(tcp, ports) == kind
