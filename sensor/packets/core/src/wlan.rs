//! IEEE 802.11 frames, which sensors of the air and controllers' tunnels have.

use crate::bytes::{array, u8_at};
use crate::link::{Decoder, Found, Next, Rest};
use crate::tags;

const TO_SYSTEM: u8 = 1;
const FROM_SYSTEM: u8 = 2;
const ENCRYPTED: u8 = 0x40;
const ORDER: u8 = 0x80;
/// Of the frame control field's first byte: a data frame's version and type; its subtype without and with QoS.
const DATA: u8 = 0x08;
const NOTHING: u8 = 0x40;
const QOS: u8 = 0x80;
/// Of the sequence control field's first byte: number of the fragment.
const PIECE: u8 = 0x0f;

/// IEEE 802.11-2020 9.2.4 and 9.3.2. Of several frames in one (A-MSDU) and of fragments the first is looked at.
pub fn wlan<'a>(decoder: &mut Decoder<'_>, rest: Rest<'a>) -> Option<Next<'a>> {
    let [first, second] = array(rest.data, 0)?;
    // Cisco's access points send the field's bytes the other way round; the version is 0.
    let (kind, flags) = if first & 3 == 0 { (first, second) } else { (second, first) };
    if kind & 0x0f != DATA || kind & NOTHING != 0 {
        return Some(Next::Done(Found::Other));
    }
    if flags & ENCRYPTED != 0 || u8_at(rest.data, 22)? & PIECE != 0 {
        return Some(Next::Done(Found::Tunnelled));
    }
    let address = |at| array::<6>(rest.data, at);
    let (target, source, mut header) = match flags & (TO_SYSTEM | FROM_SYSTEM) {
        0 => (address(4), address(10), 24_usize),
        TO_SYSTEM => (address(16), address(10), 24),
        FROM_SYSTEM => (address(4), address(16), 24),
        _ => (address(16), address(24), 30),
    };
    decoder.around.macs = Some((target?, source?));
    let mut several = false;
    if kind & QOS != 0 {
        several = u8_at(rest.data, header)? & 0x80 != 0;
        header = header.saturating_add(if flags & ORDER != 0 { 6 } else { 2 });
    }
    let body = rest.skip(header);
    if several { subframe(decoder, body) } else { tags::llc(body) }
}

/// IEEE 802.11-2020 9.3.2.2.2: target, source and length, which is over 1,500 for a packet of 1,500 bytes.
fn subframe<'a>(decoder: &mut Decoder<'_>, rest: Rest<'a>) -> Option<Next<'a>> {
    decoder.around.macs = Some((array(rest.data, 0)?, array(rest.data, 6)?));
    tags::llc(rest.skip(14))
}

/// radiotap.org: version, padding, length in little endian.
pub fn radiotap(rest: Rest<'_>) -> Option<Next<'_>> {
    let length = u16::from_le_bytes(array(rest.data, 2)?);
    Some(Next::Wlan(rest.skip(length.into())))
}
