from __future__ import annotations

import struct

import pytest
from scapy.contrib.macsec import MACsec
from scapy.layers.l2 import LLC, SNAP, Dot1AH, Dot1Q, Dot3, Ether
from scapy.packet import Packet as Layer
from scapy.packet import Raw

from sensor.packets.portable.decap import Decap
from tests.sensor.packets.build import MAC
from tests.sensor.packets.portable.test_decap import ETHER, INNER, INNER6, KEY4, KEY6, PAYLOAD, look, payload

OWN = Ether(dst="02:00:00:00:00:09", src="02:00:00:00:00:08")
V4, V6 = bytes(INNER), bytes(INNER6)


def typed(kind: int, tag: bytes, body: bytes, inner: int = 0x0800) -> bytes:
    return bytes(ETHER)[:12] + struct.pack(">H", kind) + tag + struct.pack(">H", inner) + body


@pytest.mark.parametrize(
    ("frame", "tunnel", "vlan"),
    [
        (Dot3(dst=ETHER.dst, src=ETHER.src) / LLC() / SNAP(code=0x0800) / INNER, "", None),
        (Dot3(dst=ETHER.dst, src=ETHER.src) / LLC() / SNAP(OUI=0xF8, code=0x86DD) / INNER6, "", None),
        (ETHER / Dot1Q(vlan=5, type=8 + len(V4)) / LLC() / SNAP(code=0x0800) / INNER, "", 5),
        (OWN / Dot1AH(isid=77) / ETHER / INNER, "pbb:77", None),
        (OWN / Dot1Q(vlan=3, type=0x88E7) / Dot1AH(isid=77) / ETHER / Dot1Q(vlan=9) / INNER6, "pbb:77", 9),
        (ETHER / MACsec(SC=1, E=0, C=0, SCI=b"\1" * 8, type=0x0800) / INNER, "", None),
        (ETHER / MACsec(SC=0, ES=1, E=0, C=0, type=0x8100) / Dot1Q(vlan=6) / INNER, "", 6),
        (typed(0x8926, b"\x80\1\0\2", V4), "", None),
        (typed(0x8926, b"\x80\1\0\2", b"\0\x0c\x08\0" + V4, 0x8100), "", 12),
        (typed(0x893F, b"\0\0\0\1\0\0", V6, 0x86DD), "", None),
        (typed(0x8909, b"\1\1\0\1\0\x0f", V4), "", None),
        (bytes(OWN)[:12] + b"\x89\3\0\x60" + bytes(ETHER / INNER), "fabricpath", None),
    ],
)
def test_what_lies_between_is_passed(frame: bytes | Layer, tunnel: str, vlan: int | None) -> None:
    found, around = look(frame)
    assert payload(found) == PAYLOAD
    assert (around.tunnel, around.vlan) == (tunnel, vlan)
    assert around.macs[6:] == bytes.fromhex(MAC.replace(":", ""))
    assert found.key in (KEY4, KEY6)  # type: ignore[attr-defined]
    for cut in range(14, len(bytes(frame))):
        look(bytes(frame)[:cut], length=len(bytes(frame)))


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (Dot3(dst=ETHER.dst, src=ETHER.src) / LLC(dsap=0x42, ssap=0x42) / Raw(bytes(35)), "other"),
        (Dot3(dst=ETHER.dst, src=ETHER.src) / LLC() / SNAP(OUI=0x0C, code=0x2000) / Raw(bytes(9)), "other"),
        (Dot3(dst=ETHER.dst, src=ETHER.src, len=2) / Raw(b"\xff\xff"), "other"),
        (Dot3(dst=ETHER.dst, src=ETHER.src, len=7) / Raw(b"\xaa\xaa\3\0\0\0\x08"), "undecodable"),
        (ETHER / MACsec(SC=1, E=1, C=1, SCI=b"\1" * 8) / Raw(bytes(60)), "tunnelled"),
        (ETHER / MACsec(SC=0, E=0, C=1) / Raw(bytes(60)), "tunnelled"),
        (ETHER / Raw(b""), "other"),
        (typed(0x8926, b"\0", b""), "undecodable"),
        (OWN / Dot1AH(isid=1), "undecodable"),
    ],
)
def test_what_ends_there(frame: bytes | Layer, kind: str) -> None:
    assert look(frame)[0] == kind


def test_frames_in_frames_end_at_the_limit() -> None:
    shells = b"".join(bytes(OWN)[:12] + b"\x88\xe7\0\0\0\1" for _ in range(9))
    assert look(shells[18:] + bytes(ETHER / INNER))[1].tunnel == "/".join(["pbb:1"] * 8)
    assert look(shells + bytes(ETHER / INNER))[0] == "undecodable"
    assert Decap(0).frame(1, shells, len(shells)) == "undecodable"
