//! A frame on its way to its flow: everything that can be said of it without the frames before.

use crate::bytes::from;
use crate::duplicates::identity;
use crate::hash::Seed;
use crate::link::{Around, Decoder, Found};
use crate::table::{Key, Side};

/// Captured bytes with their time, link type and length on the wire.
pub type Raw<'a> = (i64, u32, &'a [u8], u32);

/// A frame with its headers read.
pub struct Frame<'a> {
    pub time: i64,
    pub length: i64,
    link: u32,
    data: &'a [u8],
    pub found: Found<'a>,
    /// Bytes from the outermost IP header on.
    pub ip: &'a [u8],
    /// What copies of it share.
    pub identity: Option<u32>,
    /// Its flow's key, its side of it, and the key's hash.
    pub key: Option<(Key, Side, u32)>,
}

impl<'a> Frame<'a> {
    pub fn place(&self) -> Place<'a> {
        Place::Frame(self.link, self.data, u32::try_from(self.length).unwrap_or(u32::MAX))
    }
}

/// Where a packet was found. What is around it matters for new flows and for messages only, and is worked out then.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Link type, bytes, length on the wire.
    Frame(u32, &'a [u8], u32),
    Known(&'a Around),
}

impl Place<'_> {
    pub fn around(&self, tunnels: usize) -> Around {
        match *self {
            Self::Known(around) => around.clone(),
            Self::Frame(link, data, length) => {
                let mut decoder = Decoder::new(tunnels);
                decoder.frame(link, data, length);
                decoder.around
            }
        }
    }
}

/// What decoding needs of an engine.
#[derive(Clone, Copy)]
pub struct Decoding {
    pub tunnels: usize,
    pub seed: Seed,
}

impl Decoding {
    #[inline(always)]
    pub fn frame<'a>(&self, (time, link, data, length): Raw<'a>) -> Frame<'a> {
        let mut decoder = Decoder::new(self.tunnels);
        let found = decoder.frame(link, data, length);
        let key = match &found {
            Found::Transport(packet) => {
                let (key, side) = Key::of(packet);
                Some((key, side, key.hash(self.seed)))
            }
            _ => None,
        };
        let ip = decoder.network.map_or(&[][..], |at| from(data, at));
        let identity = identity(ip);
        Frame { time, link, length: length.into(), data, found, ip, identity, key }
    }
}
