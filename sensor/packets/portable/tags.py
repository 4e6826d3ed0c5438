"""Tags and frames that may lie between Ethernet and the network header, besides the usual ones of `decap.Decap`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sensor.packets.portable.headers import OTHER, TUNNELLED, u16, u32

if TYPE_CHECKING:
    from sensor.packets.portable.decap import Decap, Next

# VN-Tag; Cisco MetaData: version, length, option, security group; E-TAG, IEEE 802.1BR 7.3.
_TAGS = {0x8926: 4, 0x8909: 6, 0x893F: 6}
_SNAP = (b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\xf8")


def ether_type(decap: Decap, kind: int, at: int, wire: int) -> Next:
    if kind <= 0x05DC:  # a length (IEEE 802.3 3.2.6)
        return llc(decap, at, wire)
    if size := _TAGS.get(kind):
        return _tag(decap, at, wire, size)
    if kind == 0x8903:  # Cisco FabricPath: tree and TTL, then the frame
        decap.enter("fabricpath")
        return decap.ethernet, at + 2, wire - 2
    if kind == 0x88E7:  # I-TAG, IEEE 802.1Q 9.7: the last 24 bits of it are the service instance
        decap.enter(f"pbb:{u32(decap.data, at)[0] & 0xFFFFFF}")
        return decap.ethernet, at + 4, wire - 4
    return _macsec(decap, at, wire) if kind == 0x88E5 else OTHER


def _tag(decap: Decap, at: int, wire: int, size: int) -> Next:
    return partial(decap.ether_type, u16(decap.data, at + size)[0]), at + size + 2, wire - size - 2


def llc(decap: Decap, at: int, wire: int) -> Next:
    """IEEE 802.2 with SNAP: an EtherType after the organisations 00-00-00 (RFC 1042) and 00-00-F8 (IEEE 802.1H)."""
    return _tag(decap, at, wire, 6) if decap.data[at : at + 6] in _SNAP else OTHER


def _macsec(decap: Decap, at: int, wire: int) -> Next:
    """IEEE 802.1AE 9.3: TCI, short length, packet number and, with the SC bit, an identifier."""
    control = decap.data[at]
    if control & 0x8C:  # encrypted, or another version
        return TUNNELLED
    return _tag(decap, at, wire, 14 if control & 0x20 else 6)
