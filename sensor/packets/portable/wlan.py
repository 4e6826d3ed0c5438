"""IEEE 802.11 frames, which sensors of the air and controllers' tunnels have: steps of `decap.Decap`."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import TYPE_CHECKING

from sensor.packets.portable.headers import OTHER, TUNNELLED
from sensor.packets.portable.tags import llc
from sensor.wire.cursor import Malformed

if TYPE_CHECKING:
    from sensor.packets.portable.decap import Decap, Next

_u16, _u32 = Struct("<H").unpack_from, Struct("<I").unpack_from
_MORE, _PADDED = 1 << 31, 0x20  # radiotap: another word follows; between header and body
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


def wlan(decap: Decap, at: int, wire: int, padded: bool = False) -> Next:
    """IEEE 802.11-2020 9.2.4 and 9.3.2. Of several frames in one (A-MSDU) and of fragments the first is looked at.

    `padded`: the header ends at a multiple of four.
    """
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
    header += -header % 4 if padded else 0
    at, wire = at + header, wire - header
    return _subframe(decap, at, wire) if several else llc(decap, at, wire)


def _subframe(decap: Decap, at: int, wire: int) -> Next:
    """IEEE 802.11-2020 9.3.2.2.2: target, source and length, which is over 1,500 for a packet of 1,500 bytes."""
    if at + 12 > len(decap.data):
        raise Malformed("A-MSDU subframe cut off")
    decap.macs = decap.data[at : at + 12]
    return llc(decap, at + 14, wire - 14)


def radiotap(decap: Decap, at: int, wire: int) -> Next:
    """radiotap.org: version, padding, length in little endian, then which fields follow."""
    size = _u16(decap.data, at + 2)[0]
    padded = _radiotap_flags(decap.data, at) & _PADDED > 0
    return partial(wlan, decap, padded=padded), at + size, wire - size


def _radiotap_flags(data: bytes, at: int) -> int:
    """The second field: behind one or more words of what is there, and a time that begins at a multiple of eight."""
    present, place = _u32(data, at + 4)[0], 8
    while _u32(data, at + place - 4)[0] & _MORE:
        place += 4
    if present & 1:
        place += -place % 8 + 8
    return data[at + place] if present & 2 else 0
