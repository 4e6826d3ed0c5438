from __future__ import annotations

import pytest
from scapy.layers.dot11 import Dot11, Dot11Beacon, Dot11QoS, RadioTap, RadioTapExtendedPresenceMask
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import LLC, SNAP
from scapy.packet import Packet as Layer
from scapy.packet import Raw

from tests.sensor.packets.build import MACS
from tests.sensor.packets.portable.test_decap import INNER, INNER6, KEY4, KEY6, PAYLOAD, look, payload

TARGET, SOURCE, STATION, AIR = (f"02:00:00:00:00:0{number}" for number in (2, 1, 7, 8))
UP = {"FCfield": 1, "addr1": STATION, "addr2": SOURCE, "addr3": TARGET}
DOWN = {"FCfield": 2, "addr1": TARGET, "addr2": STATION, "addr3": SOURCE}
OVER = {"FCfield": 3, "addr1": STATION, "addr2": AIR, "addr3": TARGET, "addr4": SOURCE}
BESIDE = {"addr1": TARGET, "addr2": SOURCE, "addr3": STATION}
V4 = LLC() / SNAP(code=0x0800) / INNER
V6 = LLC() / SNAP(code=0x86DD) / INNER6


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (Dot11(type=2, **UP) / V4, 105),
        (Dot11(type=2, **DOWN) / V6, 105),
        (Dot11(type=2, **OVER) / V4, 105),
        (Dot11(type=2, **BESIDE) / V4, 105),
        (Dot11(type=2, subtype=8, **UP) / Dot11QoS(TID=5) / V6, 105),
        (Dot11(type=2, subtype=8, **OVER) / Dot11QoS() / V4, 105),
        (Dot11(type=2, subtype=8, **{**DOWN, "FCfield": 0x82}) / Dot11QoS() / Raw(bytes(4)) / V4, 105),
        (RadioTap() / Dot11(type=2, **UP) / V4, 127),
        (RadioTap(present="TSFT+Flags+Rate") / Dot11(type=2, subtype=8, **DOWN) / Dot11QoS() / V6, 127),
        (RadioTap(present="Flags", Flags=0x20) / Dot11(type=2, subtype=8, **UP) / Dot11QoS() / bytes(2) / V4, 127),
        (RadioTap(present="Flags", Flags=0x20) / Dot11(type=2, **UP) / V4, 127),
        (bytes(RadioTap(present="TSFT+Flags+Ext", Ext=[RadioTapExtendedPresenceMask(present=1)], Flags=0x20))
         + bytes(Dot11(type=2, subtype=8, **UP) / Dot11QoS() / bytes(2) / V6), 127),
    ],
)  # fmt: skip
def test_data_frames_are_looked_into(frame: Layer, link: int) -> None:
    found, around = look(frame, link)
    assert payload(found) == PAYLOAD
    assert around.macs == MACS
    assert found.key in (KEY4, KEY6)  # type: ignore[attr-defined]
    for cut in range(len(bytes(frame))):
        look(bytes(frame)[:cut], link, len(bytes(frame)))


@pytest.mark.parametrize("size", [len(PAYLOAD), 1_472])
def test_of_several_in_one_the_first_is_looked_at(size: int) -> None:
    body = bytes(LLC() / SNAP(code=0x0800) / IP(src="10.0.0.1") / UDP() / PAYLOAD.ljust(size))
    subframe = MACS + len(body).to_bytes(2, "big") + body
    head = bytes(Dot11(type=2, subtype=8, **UP) / Dot11QoS(A_MSDU_Present=1))
    found, around = look(head + subframe + bytes(2) + subframe, 105)
    assert payload(found) == PAYLOAD.ljust(size)
    assert around.macs == MACS


def test_the_first_field_the_other_way_round() -> None:
    frame = bytes(Dot11(type=2, **UP) / V4)
    assert payload(look(frame[1::-1] + frame[2:], 105)[0]) == PAYLOAD


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (Dot11(type=0, subtype=8, **BESIDE) / Dot11Beacon(), "other"),
        (Dot11(type=1, subtype=13, addr1=TARGET), "other"),
        (Dot11(type=2, subtype=4, **UP), "other"),
        (Dot11(type=2, subtype=12, **UP) / Dot11QoS(), "other"),
        (Dot11(type=2, **{**UP, "FCfield": 0x41}) / Raw(bytes(60)), "tunnelled"),
        (Dot11(type=2, SC=1, **UP) / V4, "tunnelled"),
        (Dot11(type=2, subtype=8, SC=0x12, **UP) / Dot11QoS(A_MSDU_Present=1) / INNER, "tunnelled"),
        (Dot11(type=2, **UP), "other"),
        (bytes(Dot11(type=2, **UP))[:21], "undecodable"),
        (bytes(Dot11(type=2, subtype=8, **UP)), "undecodable"),
        (b"\x08", "undecodable"),
    ],
)
def test_what_has_nothing_to_look_into(frame: bytes | Layer, kind: str) -> None:
    assert look(frame, 105)[0] == kind
    assert look(b"\0\0\x08\0" + bytes(4) + bytes(frame), 127)[0] == kind
    assert look(b"\0\0\x08", 127)[0] == "undecodable"
