from __future__ import annotations

from sensor.packets.portable.duplicates import COMPARED, WINDOW, Duplicates
from tests.sensor.packets.build import ethernet, ipv4, ipv6, tcp, udp


def test_equal_keys_are_compared_byte_by_byte() -> None:
    seen = Duplicates(10).seen
    one, other = ethernet(ipv4(udp(b"1"), 17, ident=1)), ethernet(ipv4(udp(b"2"), 17, ident=1))
    assert not seen(7, 0, one, 14)
    assert not seen(7, 1, other, 14)
    assert seen(7, 2, one, 14)
    assert seen(7, 10, ethernet(ipv4(udp(b"1"), 17, ident=1, ttl=3), macs=bytes(12)), 14)
    assert not seen(7, 12, one, 14)


def test_another_outer_frame_does_not_matter() -> None:
    seen = Duplicates(10).seen
    packet = ipv6(tcp(b"x"), 6)
    assert not seen(7, 0, packet, 0)
    assert seen(7, 0, ethernet(packet, 0x86DD), 14)


def test_what_is_far_behind_the_checksum_is_not_compared() -> None:
    seen = Duplicates(10).seen
    packet = ethernet(ipv4(tcp(bytes(COMPARED)), 6))
    last, before = len(packet) - 1, 14 + COMPARED - 1
    assert not seen(7, 0, packet, 14)
    assert seen(7, 0, packet[:last] + b"x" + packet[last + 1 :], 14)
    assert not seen(7, 0, packet[:before] + b"x" + packet[before + 1 :], 14)


def test_only_the_last_frames_are_remembered() -> None:
    seen = Duplicates(10).seen
    packet = ipv4(tcp(), 6)
    assert [seen(key, 0, packet, 0) for key in range(WINDOW + 1)] == [False] * (WINDOW + 1)
    assert seen(1, 0, packet, 0)
    assert not seen(0, 0, packet, 0)
    assert not seen(1, 0, packet, 0)
