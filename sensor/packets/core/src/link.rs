//! Link layer: from a captured frame to the first network header (docs/engine.md 1).

use crate::bytes::{array, be16, be32, from, u8_at};
use crate::ip;
use crate::table::{Key, Side};
use crate::{tags, wlan};

/// LINKTYPE_ETHERNET
pub const ETHERNET: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tunnel {
    #[default]
    Gre,
    Erspan(u16),
    Vxlan(u32),
    Geneve(u32),
    Ipip,
    Gtpu(u32),
    Teredo,
    Pbb(u32),
    Fabricpath,
    Eoip(u16),
    Capwap,
    Tzsp,
}

/// Outermost first. Most frames have none, and an empty list allocates nothing.
pub type Tunnels = Vec<Tunnel>;

/// What lies around the innermost network header.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Destination and source, as on the wire.
    pub macs: Option<([u8; 6], [u8; 6])>,
    pub vlan: Option<u16>,
    pub tunnels: Tunnels,
}

#[derive(Clone, Copy, Default)]
pub struct Packet<'a> {
    pub key: Key,
    /// Of its sender.
    pub side: Side,
    pub payload: &'a [u8],
    /// Payload bytes by the IP header; `payload` is shorter when the capture cut it.
    pub size: u32,
    pub seq: u32,
    pub flags: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FragmentKey {
    pub source: crate::facts::Address,
    pub target: crate::facts::Address,
    pub id: u32,
    pub protocol: u8,
}

#[derive(Clone, Copy, Default)]
pub struct Fragment<'a> {
    pub key: FragmentKey,
    pub protocol: u8,
    pub offset: u32,
    pub more: bool,
    pub data: &'a [u8],
    /// Bytes by the IP header.
    pub size: u32,
}

#[derive(Clone, Copy, Default)]
pub enum Found {
    /// `Decoder::packet`
    Transport,
    /// `Decoder::fragment`
    Fragment,
    Other,
    Tunnelled,
    #[default]
    Undecodable,
}

/// What is left of a frame: captured bytes, and how many there were on the wire.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    pub data: &'a [u8],
    pub wire: usize,
}

impl<'a> Rest<'a> {
    #[inline(always)]
    pub fn skip(self, count: usize) -> Self {
        Self { data: from(self.data, count), wire: self.wire.saturating_sub(count) }
    }

    #[inline(always)]
    pub fn limit(self, wire: usize) -> Self {
        Self { data: self.data.get(..wire).unwrap_or(self.data), wire }
    }
}

/// The next header to be read.
pub enum Next<'a> {
    Ethernet(Rest<'a>),
    Type(u16, Rest<'a>),
    /// Padded.
    Wlan(Rest<'a>, bool),
    Ppp(Rest<'a>),
    Ip(Rest<'a>),
    Ipv4(Rest<'a>),
    Ipv6(Rest<'a>),
    /// Protocol, addresses.
    Transport(u8, ip::Ends, Rest<'a>),
    Done(Found),
}

/// Reads headers. What it finds is written here once: to hand it on from function to function takes longer than reading.
#[derive(Default)]
pub struct Decoder<'a> {
    pub packet: Packet<'a>,
    pub fragment: Fragment<'a>,
    pub around: Around,
    /// How deep they may be.
    pub tunnels: usize,
    /// Address of the frame's first byte, from which `network` is told.
    start: usize,
    /// Offset of the outermost IP header.
    pub network: Option<usize>,
}

impl<'a> Decoder<'a> {
    pub fn new(tunnels: usize) -> Self {
        Self { tunnels, ..Self::default() }
    }

    #[inline]
    pub fn frame(&mut self, link: u32, data: &'a [u8], length: u32) -> Found {
        (self.around.macs, self.around.vlan, self.network) = (None, None, None);
        self.around.tunnels.clear();
        let rest = Rest { data, wire: (length as usize).max(data.len()) };
        self.start = data.as_ptr().addr();
        // Nearly all are Ethernet and need no second step.
        let step = if link == ETHERNET { self.ethernet(rest) } else { first(link, rest) };
        match step {
            Some(Next::Done(found)) => found,
            Some(next) => self.run(next),
            None => Found::Undecodable,
        }
    }

    pub fn run(&mut self, mut next: Next<'a>) -> Found {
        // Every step but Done consumes bytes or a level of tunnels, so this ends.
        loop {
            let step = match next {
                Next::Done(found) => return found,
                Next::Ethernet(rest) => self.ethernet(rest),
                Next::Type(kind, rest) => self.ether_type(kind, rest),
                Next::Wlan(rest, padded) => wlan::wlan(self, rest, padded),
                Next::Ppp(rest) => ppp(rest),
                Next::Ip(rest) => any_ip(rest),
                Next::Ipv4(rest) => self.ipv4(rest),
                Next::Ipv6(rest) => self.ipv6(rest),
                Next::Transport(protocol, ends, rest) => ip::transport(self, protocol, ends, rest),
            };
            next = step.unwrap_or(Next::Done(Found::Undecodable));
        }
    }

    #[inline(always)]
    fn note_ip(&mut self, rest: Rest<'_>) {
        if self.network.is_none() {
            self.network = Some(rest.data.as_ptr().addr().saturating_sub(self.start));
        }
    }

    #[inline(always)]
    fn ethernet(&mut self, rest: Rest<'a>) -> Option<Next<'a>> {
        let head: [u8; 14] = array(rest.data, 0)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = head;
        self.around.macs = Some(([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]));
        self.ether_type(u16::from_be_bytes([t0, t1]), rest.skip(14))
    }

    #[inline(always)]
    fn ipv4(&mut self, rest: Rest<'a>) -> Option<Next<'a>> {
        self.note_ip(rest);
        ip::v4(self, rest)
    }

    #[inline(always)]
    fn ipv6(&mut self, rest: Rest<'a>) -> Option<Next<'a>> {
        self.note_ip(rest);
        ip::v6(self, rest)
    }

    #[inline(always)]
    fn ether_type(&mut self, kind: u16, rest: Rest<'a>) -> Option<Next<'a>> {
        match kind {
            0x0800 => self.ipv4(rest),
            0x86dd => self.ipv6(rest),
            0x8100 | 0x88a8 | 0x9100 => {
                self.around.vlan = Some(be16(rest.data, 0)? & 0x0fff);
                Some(Next::Type(be16(rest.data, 2)?, rest.skip(4)))
            }
            0x8847 | 0x8848 => mpls(rest),
            0x8864 => {
                // RFC 2516 4: version/type, code, session, length.
                let length = usize::from(be16(rest.data, 4)?);
                let body = rest.skip(6);
                Some(Next::Ppp(body.limit(length.min(body.wire))))
            }
            _ => tags::ether_type(self, kind, rest),
        }
    }
}

/// The other LINKTYPE values of tcpdump.org.
fn first(link: u32, rest: Rest<'_>) -> Option<Next<'_>> {
    Some(match link {
        ETHERNET => Next::Ethernet(rest),
        12 | 14 | 101 => Next::Ip(rest),
        228 => Next::Ipv4(rest),
        229 => Next::Ipv6(rest),
        // AF_ values differ between systems and byte orders; the version nibble behind them does not.
        0 | 108 => Next::Ip(rest.skip(4)),
        9 => Next::Ppp(rest),
        50 => Next::Ppp(rest),
        51 => Next::Type(0x8864, rest),
        113 => Next::Type(be16(rest.data, 14)?, rest.skip(16)),
        276 => Next::Type(be16(rest.data, 0)?, rest.skip(20)),
        239 => nflog(rest)?,
        7 => arcnet(rest, 2)?,
        129 => arcnet(rest, 4)?,         // Linux: an offset before the protocol
        10 => tags::llc(rest.skip(13))?, // FDDI: frame control and addresses
        105 => Next::Wlan(rest, false),
        127 => wlan::radiotap(rest)?,
        258 | 149 => pktap(rest)?,
        _ => Next::Done(Found::Undecodable),
    })
}

fn any_ip(rest: Rest<'_>) -> Option<Next<'_>> {
    match u8_at(rest.data, 0)? >> 4 {
        4 => Some(Next::Ipv4(rest)),
        6 => Some(Next::Ipv6(rest)),
        _ => None,
    }
}

/// RFC 3032 2.1; what is below the last label is told by the first nibble (RFC 4928 3).
fn mpls(mut rest: Rest<'_>) -> Option<Next<'_>> {
    loop {
        let label = be32(rest.data, 0)?;
        rest = rest.skip(4);
        if label & 0x100 != 0 {
            break;
        }
    }
    match u8_at(rest.data, 0)? >> 4 {
        4 => Some(Next::Ipv4(rest)),
        6 => Some(Next::Ipv6(rest)),
        // RFC 4385 3: a control word before an Ethernet pseudowire.
        0 => Some(Next::Ethernet(rest.skip(4))),
        _ => Some(Next::Ethernet(rest)),
    }
}

/// RFC 1661 2 and RFC 1662: address and control may be there, the protocol may be one byte.
fn ppp(rest: Rest<'_>) -> Option<Next<'_>> {
    let rest = if be16(rest.data, 0) == Some(0xff03) { rest.skip(2) } else { rest };
    let first = u8_at(rest.data, 0)?;
    let (kind, rest) =
        if first & 1 == 1 { (u16::from(first), rest.skip(1)) } else { (be16(rest.data, 0)?, rest.skip(2)) };
    Some(match kind {
        0x0021 => Next::Ipv4(rest),
        0x0057 => Next::Ipv6(rest),
        0x0281 | 0x0283 => return mpls(rest),
        _ => Next::Done(Found::Other),
    })
}

fn nflog(rest: Rest<'_>) -> Option<Next<'_>> {
    const PAYLOAD: u16 = 9;
    let family = u8_at(rest.data, 0)?;
    let mut rest = rest.skip(4);
    loop {
        let head: [u8; 4] = array(rest.data, 0)?;
        let [l0, l1, t0, t1] = head;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let kind = u16::from_le_bytes([t0, t1]) & 0x7fff;
        if length < 4 {
            return None;
        }
        if kind == PAYLOAD {
            let body = rest.skip(4).limit(length.saturating_sub(4));
            return Some(match family {
                2 => Next::Ipv4(body),
                10 => Next::Ipv6(body),
                _ => Next::Done(Found::Other),
            });
        }
        rest = rest.skip(length.checked_next_multiple_of(4)?);
    }
}

/// Protocol identifiers of RFC 1201, whose header has a sequence number, and of RFC 1051.
fn arcnet(rest: Rest<'_>, kind: usize) -> Option<Next<'_>> {
    match u8_at(rest.data, kind)? {
        240 => Some(Next::Ipv4(rest.skip(kind.saturating_add(1)))),
        212 => Some(Next::Ipv4(rest.skip(kind.saturating_add(4)))),
        196 => Some(Next::Ipv6(rest.skip(kind.saturating_add(4)))),
        _ => Some(Next::Done(Found::Other)),
    }
}

/// What macOS's tcpdump writes, also as the second of the private link types: length, record type, link type.
fn pktap(rest: Rest<'_>) -> Option<Next<'_>> {
    let word = |at| array(rest.data, at).map(u32::from_le_bytes);
    let (length, kind, link) = (word(0)?, word(4)?, word(8)?);
    if kind != 1 || matches!(link, 258 | 149) {
        return None;
    }
    first(link, rest.skip(usize::try_from(length).ok()?))
}
