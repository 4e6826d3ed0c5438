//! Tags and frames that may lie between Ethernet and the network header, besides the usual ones of `link`.

use crate::bytes::{array, be16, be32, u8_at};
use crate::link::{Decoder, Found, Next, Rest, Tunnel};

#[inline(never)]
pub fn ether_type<'a>(decoder: &mut Decoder<'_>, kind: u16, rest: Rest<'a>) -> Option<Next<'a>> {
    match kind {
        ..=0x05dc => llc(rest), // a length (IEEE 802.3 3.2.6)
        0x8926 => tag(rest, 4), // VN-Tag
        0x8909 => tag(rest, 6), // Cisco MetaData: version, length, option, security group
        0x893f => tag(rest, 6), // E-TAG, IEEE 802.1BR 7.3
        0x8903 => {
            // Cisco FabricPath: tree and TTL, then the frame.
            decoder.enter(Tunnel::Fabricpath)?;
            Some(Next::Ethernet(rest.skip(2)))
        }
        0x88e7 => {
            // I-TAG, IEEE 802.1Q 9.7: the last 24 bits of it are the service instance.
            let id = be32(rest.data, 0)? & 0x00ff_ffff;
            decoder.enter(Tunnel::Pbb(id))?;
            Some(Next::Ethernet(rest.skip(4)))
        }
        0x88e5 => macsec(rest),
        _ => Some(Next::Done(Found::Other)),
    }
}

fn tag(rest: Rest<'_>, length: usize) -> Option<Next<'_>> {
    Some(Next::Type(be16(rest.data, length)?, rest.skip(length.saturating_add(2))))
}

/// IEEE 802.2 with SNAP: an EtherType after the organisations 00-00-00 (RFC 1042) and 00-00-F8 (IEEE 802.1H).
pub fn llc(rest: Rest<'_>) -> Option<Next<'_>> {
    match array(rest.data, 0) {
        Some([0xaa, 0xaa, 0x03, 0, 0, 0 | 0xf8]) => tag(rest, 6),
        _ => Some(Next::Done(Found::Other)),
    }
}

/// IEEE 802.1AE 9.3: TCI, short length, packet number and, with the SC bit, an identifier.
fn macsec(rest: Rest<'_>) -> Option<Next<'_>> {
    let control = u8_at(rest.data, 0)?;
    match control & 0x8c {
        0 => tag(rest, if control & 0x20 != 0 { 14 } else { 6 }),
        _ => Some(Next::Done(Found::Tunnelled)), // encrypted, or another version
    }
}
