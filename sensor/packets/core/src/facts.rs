//! What the engine says, before it becomes `sensor.packets.facts`.

use crate::link::{Tunnel, Tunnels};
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// IPv4 is kept in the last four bytes; `v6` tells it from an IPv6 address that looks the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Address {
    /// The number in two halves, the upper first: whole words, for they are compared and copied for every packet.
    pub halves: [u64; 2],
    pub v6: bool,
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.halves;
        state.write_u64(low);
        if self.v6 {
            state.write_u64(high);
        }
    }
}

impl Address {
    pub fn v4(bytes: [u8; 4]) -> Self {
        Self { halves: [0, u32::from_be_bytes(bytes).into()], v6: false }
    }

    pub fn v6(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self { halves: [(number >> 64) as u64, number as u64], v6: true }
    }

    pub fn number(&self) -> u128 {
        let [high, low] = self.halves;
        u128::from(high) << 64 | u128::from(low)
    }

    pub fn text(&self) -> String {
        let ip = Ipv6Addr::from(self.number());
        let [.., a, b, c, d] = ip.octets();
        if !self.v6 {
            return Ipv4Addr::new(a, b, c, d).to_string();
        }
        // inet_ntop writes ::a.b.c.d for the deprecated IPv4-compatible form, Rust does not.
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, high, _] if high != 0 => format!("::{}", Ipv4Addr::new(a, b, c, d)),
            _ => ip.to_string(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Endpoint {
    pub address: Address,
    pub port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub fn text(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

pub struct Flow {
    pub id: u64,
    pub transport: Transport,
    pub client: Endpoint,
    pub server: Endpoint,
    pub mac: Option<[u8; 6]>,
    pub vlan: Option<u16>,
    pub tunnels: Tunnels,
}

pub fn mac_text(mac: Option<[u8; 6]>) -> String {
    let Some([a, b, c, d, e, f]) = mac else { return String::new() };
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

pub fn tunnel_text(tunnels: &[Tunnel]) -> String {
    let mut text = String::new();
    for tunnel in tunnels.iter() {
        if !text.is_empty() {
            text.push('/');
        }
        // Writing to a String cannot fail.
        let _ = match tunnel {
            Tunnel::Gre => write!(text, "gre"),
            Tunnel::Erspan(id) => write!(text, "erspan:{id}"),
            Tunnel::Vxlan(id) => write!(text, "vxlan:{id}"),
            Tunnel::Geneve(id) => write!(text, "geneve:{id}"),
            Tunnel::Ipip => write!(text, "ipip"),
            Tunnel::Gtpu(id) => write!(text, "gtpu:{id}"),
            Tunnel::Teredo => write!(text, "teredo"),
            Tunnel::Pbb(id) => write!(text, "pbb:{id}"),
            Tunnel::Fabricpath => write!(text, "fabricpath"),
            Tunnel::Eoip(id) => write!(text, "eoip:{id}"),
            Tunnel::Capwap => write!(text, "capwap"),
            Tunnel::Tzsp => write!(text, "tzsp"),
        };
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    Tls,
    Quic,
    Http,
    #[default]
    Other,
}

impl Protocol {
    pub fn text(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Http => "http",
            Self::Other => "other",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NameSource {
    Sni,
    QuicSni,
    HttpHost,
    Connect,
    Socks,
    Dns,
    Ip,
    #[default]
    None,
}

impl NameSource {
    pub fn text(self) -> &'static str {
        match self {
            Self::Sni => "sni",
            Self::QuicSni => "quic_sni",
            Self::HttpHost => "http_host",
            Self::Connect => "connect",
            Self::Socks => "socks",
            Self::Dns => "dns",
            Self::Ip => "ip",
            Self::None => "none",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ech {
    #[default]
    None,
    Grease,
    Offered,
}

impl Ech {
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Grease => "grease",
            Self::Offered => "offered",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    Open,
    Fin,
    Rst,
    Idle,
    Evicted,
    End,
}

impl Closed {
    pub fn text(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::End => "end",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    pub up: bool,
    pub start: i64,
    pub end: i64,
    pub bytes: u64,
    pub records: u64,
}

pub struct Opened {
    pub flow: Arc<Flow>,
    pub time: i64,
    pub protocol: Protocol,
    pub name: String,
    pub source: NameSource,
    pub ech: Ech,
    pub client_bytes: Vec<u8>,
    pub server_bytes: Vec<u8>,
    pub quic_version: u32,
    pub listed: bool,
}

#[derive(Default, Clone)]
pub struct Counters {
    pub bytes: [u64; 2],
    pub packets: [u64; 2],
    pub app: [u64; 2],
}

pub struct Progress {
    pub flow: Arc<Flow>,
    pub start: i64,
    pub end: i64,
    pub counters: Counters,
    pub bursts: Vec<Burst>,
    pub closed: Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Dns,
    Mdns,
    Dhcp,
}

impl Kind {
    pub fn text(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Mdns => "mdns",
            Self::Dhcp => "dhcp",
        }
    }
}

pub struct Message {
    pub kind: Kind,
    pub time: i64,
    pub transport: Transport,
    pub src: Endpoint,
    pub dst: Endpoint,
    pub mac: Option<[u8; 6]>,
    pub vlan: Option<u16>,
    pub payload: Vec<u8>,
}

pub struct Clear {
    pub flow: Arc<Flow>,
    pub up: bool,
    pub time: i64,
    pub gap: u64,
    pub data: Vec<u8>,
}

pub struct Totals {
    pub start: i64,
    pub end: i64,
    pub bytes: Vec<(&'static str, i64)>,
    pub counters: Vec<(&'static str, i64)>,
}

pub enum Fact {
    Opened(Box<Opened>),
    Progress(Box<Progress>),
    Message(Box<Message>),
    Clear(Box<Clear>),
    Totals(Box<Totals>),
}
