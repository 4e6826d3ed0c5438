"""IEEE 802.11 frames, which sensors of the air and controllers' tunnels have: steps of `decap.Decap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor.packets.portable.headers import OTHER, TUNNELLED
from sensor.packets.portable.tags import llc
from sensor.wire.cursor import Malformed

if TYPE_CHECKING:
    from sensor.packets.portable.decap import Decap, Next

_TO_SYSTEM, _FROM_SYSTEM, _ENCRYPTED, _ORDER = 1, 2, 0x40, 0x80
# Of the frame control field's first byte: a data frame's version and type; its subtype without and with QoS.
_DATA, _NOTHING, _QOS = 0x08, 0x40, 0x80
_PIECE = 0x0F  # of the sequence control field's first byte: number of the fragment
# Where target and source are, and the header's length, by the flags to and from the distribution system.
_ADDRESSES = {
    0: (4, 10, 24),
    _TO_SYSTEM: (16, 10, 24),
    _FROM_SYSTEM: (4, 16, 24),
    _TO_SYSTEM | _FROM_SYSTEM: (16, 24, 30),
}


def wlan(decap: Decap, at: int, wire: int) -> Next:
    """IEEE 802.11-2020 9.2.4 and 9.3.2. Of several frames in one (A-MSDU) and of fragments the first is looked at."""
    kind, flags = decap.data[at], decap.data[at + 1]
    if kind & 3:  # Cisco's access points send the field's bytes the other way round; the version is 0
        kind, flags = flags, kind
    if kind & 0x0F != _DATA or kind & _NOTHING:
        return OTHER
    if flags & _ENCRYPTED or decap.data[at + 22] & _PIECE:
        return TUNNELLED
    target, source, header = _ADDRESSES[flags & (_TO_SYSTEM | _FROM_SYSTEM)]
    if at + max(target, source) + 6 > len(decap.data):
        raise Malformed("802.11 header cut off")
    decap.macs = b"".join(decap.data[at + place : at + place + 6] for place in (target, source))
    several = False
    if kind & _QOS:
        several = decap.data[at + header] & 0x80 > 0
        header += 6 if flags & _ORDER else 2
    at, wire = at + header, wire - header
    return _subframe(decap, at, wire) if several else llc(decap, at, wire)


def _subframe(decap: Decap, at: int, wire: int) -> Next:
    """IEEE 802.11-2020 9.3.2.2.2: target, source and length, which is over 1,500 for a packet of 1,500 bytes."""
    if at + 12 > len(decap.data):
        raise Malformed("A-MSDU subframe cut off")
    decap.macs = decap.data[at : at + 12]
    return llc(decap, at + 14, wire - 14)


def radiotap(decap: Decap, at: int, wire: int) -> Next:
    """radiotap.org: version, padding, length in little endian."""
    if at + 4 > len(decap.data):
        raise Malformed("radiotap header cut off")
    size = int.from_bytes(decap.data[at + 2 : at + 4], "little")
    return decap.wlan, at + size, wire - size
