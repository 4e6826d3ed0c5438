//! IPv4, IPv6, their extension headers, and the transport header.

use crate::bytes::{array, be16, be32, from, u8_at};
use crate::facts::{Address, Endpoint, Transport};
use crate::link::{Decoder, Found, Fragment, FragmentKey, Next, Packet, Rest, Tunnel};
use crate::table::Key;
use crate::tunnel;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AH: u8 = 51;
const L2TP: u8 = 115;

#[derive(Clone, Copy)]
pub struct Ends {
    pub source: Address,
    pub target: Address,
}

/// RFC 791 3.1.
#[inline(always)]
pub fn v4<'a>(decoder: &mut Decoder<'a>, rest: Rest<'a>) -> Option<Next<'a>> {
    let head: [u8; 20] = array(rest.data, 0)?;
    let [version, _, t0, t1, i0, i1, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = head;
    let header = usize::from(version & 0x0f) << 2;
    if version >> 4 != 4 || header < 20 || header > rest.data.len() {
        return None;
    }
    let total = match u16::from_be_bytes([t0, t1]) {
        0 => rest.wire, // segmentation offload: longer than the field can say
        total => usize::from(total),
    };
    if total < header {
        return None;
    }
    let ends = Ends { source: Address::v4([s0, s1, s2, s3]), target: Address::v4([d0, d1, d2, d3]) };
    let body = rest.limit(total).skip(header);
    let word = u16::from_be_bytes([f0, f1]);
    let id = u16::from_be_bytes([i0, i1]);
    if word & 0x3fff == 0 {
        return transport(decoder, protocol, ends, body);
    }
    let key = FragmentKey { source: ends.source, target: ends.target, id: id.into(), protocol };
    fragment(decoder, key, protocol, (u32::from(word & 0x1fff) << 3, word & 0x2000 != 0), body)
}

/// RFC 8200 3.
#[inline(always)]
pub fn v6<'a>(decoder: &mut Decoder<'a>, rest: Rest<'a>) -> Option<Next<'a>> {
    let head: [u8; 8] = array(rest.data, 0)?;
    let [version, _, _, _, l0, l1, protocol, _] = head;
    if version >> 4 != 6 {
        return None;
    }
    let ends = Ends { source: Address::v6(array(rest.data, 8)?), target: Address::v6(array(rest.data, 24)?) };
    let body = rest.skip(40);
    let body = match u16::from_be_bytes([l0, l1]) {
        0 => body, // jumbo payload (RFC 2675) or segmentation offload
        length => body.limit(usize::from(length)),
    };
    transport(decoder, protocol, ends, body)
}

/// What an IP header or a whole datagram holds.
#[inline(always)]
pub fn transport<'a>(
    decoder: &mut Decoder<'a>,
    protocol: u8,
    ends: Ends,
    rest: Rest<'a>,
) -> Option<Next<'a>> {
    match protocol {
        TCP => tcp(decoder, ends, rest),
        UDP => udp(decoder, ends, rest),
        _ => extensions(decoder, protocol, ends, rest),
    }
}

fn extensions<'a>(decoder: &mut Decoder<'a>, protocol: u8, ends: Ends, rest: Rest<'a>) -> Option<Next<'a>> {
    let length = match protocol {
        // RFC 4302 2.2: length in words, minus 2.
        AH => usize::from(u8_at(rest.data, 1)?).saturating_add(2) << 2,
        // Hop-by-hop, routing, destination, mobility, HIP, shim6 (RFC 8200 4, RFC 7045 4).
        0 | 43 | 60 | 135 | 139 | 140 if ends.source.v6 => {
            usize::from(u8_at(rest.data, 1)?).saturating_add(1) << 3
        }
        44 if ends.source.v6 => {
            let (word, id) = (be16(rest.data, 2)?, be32(rest.data, 4)?);
            if word & 0xfff9 != 0 {
                let key = FragmentKey { source: ends.source, target: ends.target, id, protocol: 0 };
                let place = (u32::from(word & 0xfff8), word & 1 != 0);
                return fragment(decoder, key, u8_at(rest.data, 0)?, place, rest.skip(8));
            }
            8
        }
        _ => return inside(decoder, protocol, rest),
    };
    if length > rest.data.len() {
        return None;
    }
    Some(Next::Transport(u8_at(rest.data, 0)?, ends, rest.skip(length)))
}

fn fragment<'a>(
    decoder: &mut Decoder<'a>,
    key: FragmentKey,
    protocol: u8,
    (offset, more): (u32, bool),
    body: Rest<'a>,
) -> Option<Next<'a>> {
    let size = u32::try_from(body.wire).ok()?;
    decoder.fragment = Fragment { key, protocol, offset, more, data: body.data, size };
    Some(Next::Done(Found::Fragment))
}

fn inside<'a>(decoder: &mut Decoder<'a>, protocol: u8, rest: Rest<'a>) -> Option<Next<'a>> {
    match protocol {
        4 | 41 => {
            decoder.enter(Tunnel::Ipip)?;
            Some(if protocol == 4 { Next::Ipv4(rest) } else { Next::Ipv6(rest) })
        }
        GRE => tunnel::gre(decoder, rest),
        ESP | L2TP => Some(Next::Done(Found::Tunnelled)),
        _ => Some(Next::Done(Found::Other)),
    }
}

/// RFC 9293 3.1.
#[inline(always)]
fn tcp<'a>(decoder: &mut Decoder<'a>, ends: Ends, rest: Rest<'a>) -> Option<Next<'a>> {
    let head: [u8; 20] = array(rest.data, 0)?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, _, _, _, _, offset, flags, ..] = head;
    let header = usize::from(offset >> 4) << 2;
    if header < 20 || header > rest.wire {
        return None;
    }
    let source = Endpoint { address: ends.source, port: u16::from_be_bytes([s0, s1]) };
    let target = Endpoint { address: ends.target, port: u16::from_be_bytes([d0, d1]) };
    let (key, side) = Key::of(Transport::Tcp, source, target);
    decoder.packet = Packet {
        key,
        side,
        payload: from(rest.data, header),
        size: u32::try_from(rest.wire.saturating_sub(header)).ok()?,
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        flags,
    };
    Some(Next::Done(Found::Transport))
}

/// RFC 768.
#[inline(always)]
fn udp<'a>(decoder: &mut Decoder<'a>, ends: Ends, rest: Rest<'a>) -> Option<Next<'a>> {
    let [s0, s1, d0, d1, ..]: [u8; 8] = array(rest.data, 0)?;
    let source = u16::from_be_bytes([s0, s1]);
    let target = u16::from_be_bytes([d0, d1]);
    let body = rest.skip(8);
    if let Some(next) = tunnel::in_udp(decoder, source, target, body) {
        return next;
    }
    let source = Endpoint { address: ends.source, port: source };
    let target = Endpoint { address: ends.target, port: target };
    let (key, side) = Key::of(Transport::Udp, source, target);
    decoder.packet =
        Packet { key, side, payload: body.data, size: u32::try_from(body.wire).ok()?, seq: 0, flags: 0 };
    Some(Next::Done(Found::Transport))
}
