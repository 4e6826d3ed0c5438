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
/// radiotap: another word follows; there are bytes between header and body.
const MORE: u32 = 1 << 31;
const PADDED: u8 = 0x20;
/// Of the sequence control field's first byte: number of the fragment.
const PIECE: u8 = 0x0f;

/// IEEE 802.11-2020 9.2.4 and 9.3.2. Of several frames in one (A-MSDU) and of fragments the first is looked at.
/// `padded`: the header ends at a multiple of four.
pub fn wlan<'a>(decoder: &mut Decoder<'_>, rest: Rest<'a>, padded: bool) -> Option<Next<'a>> {
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
    let body = rest.skip(if padded { header.next_multiple_of(4) } else { header });
    if several { subframe(decoder, body) } else { tags::llc(body) }
}

/// IEEE 802.11-2020 9.3.2.2.2: target, source and length, which is over 1,500 for a packet of 1,500 bytes.
fn subframe<'a>(decoder: &mut Decoder<'_>, rest: Rest<'a>) -> Option<Next<'a>> {
    decoder.around.macs = Some((array(rest.data, 0)?, array(rest.data, 6)?));
    tags::llc(rest.skip(14))
}

/// radiotap.org: version, padding, length in little endian, then which fields follow.
pub fn radiotap(rest: Rest<'_>) -> Option<Next<'_>> {
    let length = u16::from_le_bytes(array(rest.data, 2)?);
    let padded = radiotap_flags(rest.data)? & PADDED != 0;
    Some(Next::Wlan(rest.skip(length.into()), padded))
}

/// The second field: behind one or more words of what is there, and a time that begins at a multiple of eight.
fn radiotap_flags(data: &[u8]) -> Option<u8> {
    let word = |at| array(data, at).map(u32::from_le_bytes);
    let present = word(4)?;
    let (mut last, mut place) = (present, 8_usize);
    while last & MORE != 0 {
        last = word(place)?;
        place = place.saturating_add(4);
    }
    if present & 1 != 0 {
        place = place.next_multiple_of(8).saturating_add(8);
    }
    if present & 2 == 0 { Some(0) } else { u8_at(data, place) }
}
