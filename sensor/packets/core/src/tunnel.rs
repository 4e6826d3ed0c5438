//! GRE, ERSPAN and the tunnels that run in UDP.

use crate::bytes::{array, be16, be32, u8_at};
use crate::link::{Decoder, Found, Next, Rest, Tunnel};

impl Decoder<'_> {
    pub fn enter(&mut self, tunnel: Tunnel) -> Option<()> {
        if self.around.tunnels.len() >= self.tunnels {
            return None;
        }
        self.around.tunnels.push(tunnel);
        Some(())
    }
}

/// RFC 2784, RFC 2890 (key, sequence), RFC 2637 4.1 (version 1 with acknowledgement).
pub fn gre<'a>(decoder: &mut Decoder<'_>, rest: Rest<'a>) -> Option<Next<'a>> {
    let flags = be16(rest.data, 0)?;
    let kind = be16(rest.data, 2)?;
    let version = flags & 7;
    if version > 1 || flags & 0x4000 != 0 {
        return None; // source routes (RFC 1701) are long gone
    }
    let mut header = 4_usize;
    for bit in [0x8000, 0x2000, 0x1000] {
        if flags & bit != 0 {
            header = header.saturating_add(4);
        }
    }
    if version == 1 && flags & 0x0080 != 0 {
        header = header.saturating_add(4);
    }
    if header > rest.data.len() {
        return None;
    }
    let body = rest.skip(header);
    match kind {
        0x88be if flags & 0x1000 != 0 => {
            let id = be16(body.data, 2)? & 0x03ff;
            decoder.enter(Tunnel::Erspan(id))?;
            Some(Next::Ethernet(body.skip(8)))
        }
        0x88be => {
            decoder.enter(Tunnel::Erspan(0))?;
            Some(Next::Ethernet(body))
        }
        0x22eb => {
            let id = be16(body.data, 2)? & 0x03ff;
            decoder.enter(Tunnel::Erspan(id))?;
            let optional = u8_at(body.data, 11)? & 1 != 0;
            Some(Next::Ethernet(body.skip(if optional { 20 } else { 12 })))
        }
        0x6400 if flags == 0x2001 => {
            // MikroTik's Ethernet over IP: length, and the tunnel's number in little endian.
            let id = u16::from_le_bytes(array(rest.data, 6)?);
            decoder.enter(Tunnel::Eoip(id))?;
            // A keep-alive has nothing inside.
            if body.wire == 0 { Some(Next::Done(Found::Other)) } else { Some(Next::Ethernet(body)) }
        }
        _ if kind & 0xfe0f == 0x8200 => {
            // Aruba's access points, by priority.
            decoder.enter(Tunnel::Gre)?;
            Some(Next::Wlan(body, false))
        }
        0x6558 => {
            decoder.enter(Tunnel::Gre)?;
            Some(Next::Ethernet(body))
        }
        0x880b => {
            decoder.enter(Tunnel::Gre)?;
            if body.data.is_empty() { Some(Next::Done(Found::Other)) } else { Some(Next::Ppp(body)) }
        }
        _ => {
            decoder.enter(Tunnel::Gre)?;
            Some(Next::Type(kind, body))
        }
    }
}

/// None: not a tunnel. Some(None): a tunnel that cannot be read.
#[inline(always)]
pub fn in_udp<'a>(
    decoder: &mut Decoder<'_>,
    source: u16,
    target: u16,
    body: Rest<'a>,
) -> Option<Option<Next<'a>>> {
    match target {
        4789 | 8472 => vxlan(decoder, body),
        6081 => geneve(decoder, body),
        2152 => gtpu(decoder, body),
        4754 => gre_in_udp(decoder, body),
        37008 => tzsp(decoder, body),
        3544 => teredo(decoder, body),
        5247 => capwap(decoder, body),
        _ => match source {
            3544 => teredo(decoder, body),
            5247 => capwap(decoder, body),
            _ => None,
        },
    }
}

/// EtherTypes by which a tunnel is known whose reserved bits are set: clients may have its port, and answers look so too.
fn is_frame(kind: u16) -> bool {
    matches!(kind, 0x0800 | 0x86dd | 0x0806 | 0x8100 | 0x88a8 | 0x9100 | 0x8847 | 0x8848 | 0x8864)
        || matches!(kind, 0x88e5 | 0x88e7 | 0x8903 | 0x8909 | 0x8926 | 0x893f)
}

/// RFC 7348 5: the I flag must be set; 0x80 is a group policy's.
fn vxlan<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let [flags, _, _, _, a, b, c, reserved]: [u8; 8] = array(body.data, 0)?;
    let odd = flags & 0x77 != 0 || reserved != 0;
    if flags & 0x08 == 0 || odd && !be16(body.data, 20).is_some_and(is_frame) {
        return None;
    }
    let id = u32::from_be_bytes([0, a, b, c]);
    Some(decoder.enter(Tunnel::Vxlan(id)).map(|()| Next::Ethernet(body.skip(8))))
}

/// RFC 8926 3.4: version 0.
fn geneve<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let [first, second, high, low, a, b, c, reserved]: [u8; 8] = array(body.data, 0)?;
    let (kind, id) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([0, a, b, c]));
    let odd = second & 0x3f != 0 || reserved != 0;
    if first >> 6 != 0 || odd && !matches!(kind, 0x0800 | 0x86dd | 0x6558) {
        return None;
    }
    let inner = body.skip((usize::from(first & 0x3f) << 2).saturating_add(8));
    Some(decoder.enter(Tunnel::Geneve(id)).map(|()| match kind {
        0x6558 => Next::Ethernet(inner),
        _ => Next::Type(kind, inner),
    }))
}

/// 3GPP TS 29.281 5.1: version 1, type 255 carries a packet.
fn gtpu<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let flags = u8_at(body.data, 0)?;
    if flags >> 5 != 1 || flags & 0x10 == 0 || u8_at(body.data, 1)? != 0xff {
        return None;
    }
    let id = be32(body.data, 4)?;
    let mut inner = body.skip(8);
    if flags & 7 != 0 {
        let mut next = u8_at(inner.data, 3)?;
        inner = inner.skip(4);
        while flags & 4 != 0 && next != 0 {
            let length = usize::from(u8_at(inner.data, 0)?) << 2;
            if length == 0 {
                return Some(None);
            }
            next = u8_at(inner.data, length.saturating_sub(1))?;
            inner = inner.skip(length);
        }
    }
    Some(decoder.enter(Tunnel::Gtpu(id)).map(|()| Next::Ip(inner)))
}

/// RFC 4380 5.1.1: authentication and origin indications may come first. An address, of its prefix or
/// link-local, tells it: QUIC's bytes to a client that has this port often begin like IPv6.
fn teredo<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let mut inner = body;
    if be16(inner.data, 0)? == 1 {
        let id = usize::from(u8_at(inner.data, 2)?);
        let auth = usize::from(u8_at(inner.data, 3)?);
        inner = inner.skip(id.saturating_add(auth).saturating_add(13));
    }
    if be16(inner.data, 0)? == 0 {
        inner = inner.skip(8);
    }
    let known = |at| matches!(array(inner.data, at), Some([0x20, 1, 0, 0] | [0xfe, 0x80, 0, 0]));
    if u8_at(inner.data, 0)? >> 4 != 6 || !(known(8) || known(24)) {
        return None;
    }
    Some(decoder.enter(Tunnel::Teredo).map(|()| Next::Ipv6(inner)))
}

/// RFC 8086 3: no routing, no version; what else comes to this port has no such header.
fn gre_in_udp<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let (flags, kind) = (be16(body.data, 0)?, be16(body.data, 2)?);
    if flags & !0xb000 != 0 || !(is_frame(kind) || kind == 0x6558) {
        return None;
    }
    Some(gre(decoder, body))
}

/// How MikroTik and others send copies: version 1, received or sent, Ethernet; then fields up to one of type 1.
fn tzsp<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    if !matches!(array(body.data, 0)?, [1, 0 | 1, 0, 1]) {
        return None;
    }
    let mut at = 4_usize;
    loop {
        let length = match u8_at(body.data, at)? {
            0 => 1,
            1 => break,
            _ => usize::from(u8_at(body.data, at.saturating_add(1))?).saturating_add(2),
        };
        at = at.saturating_add(length);
    }
    let inner = body.skip(at.saturating_add(1));
    if !is_frame(be16(inner.data, 12)?) {
        return None;
    }
    Some(decoder.enter(Tunnel::Tzsp).map(|()| Next::Ethernet(inner)))
}

/// RFC 5415 4.3: a controller's data channel. Version 0, binding 1 (IEEE 802.11), no keep-alive.
fn capwap<'a>(decoder: &mut Decoder<'_>, body: Rest<'a>) -> Option<Option<Next<'a>>> {
    let word = be32(body.data, 0)?;
    let header = usize::try_from(word >> 17 & 0x7c).ok()?; // in words
    if word & 0xff00_3e0f != 0x0000_0200 || header < 8 {
        return None;
    }
    let inner = body.skip(header);
    Some(decoder.enter(Tunnel::Capwap).map(|()| match word & 0x0180 {
        0x0100 => Next::Wlan(inner, false),
        0x0000 => Next::Ethernet(inner),
        _ => Next::Done(Found::Tunnelled), // a fragment
    }))
}
