//! A frame on its way to its flow: everything that can be said of it without the frames before.

use crate::bytes::from;
use crate::duplicates::identity;
use crate::hash::Seed;
use crate::link::{Around, Decoder, Found};
use std::num::NonZeroU32;

/// Captured bytes with their time, link type and length on the wire.
pub type Raw<'a> = (i64, u32, &'a [u8], u32);

/// A frame with its headers read.
pub struct Frame<'a> {
    pub time: i64,
    pub length: i64,
    link: u32,
    data: &'a [u8],
    pub found: Found<'a>,
    /// Where the outermost IP header begins.
    network: usize,
    /// What copies of it share.
    pub identity: Option<NonZeroU32>,
    /// Of its flow's key.
    pub hash: u32,
}

impl<'a> Frame<'a> {
    /// From the outermost IP header on.
    pub fn ip(&self) -> &'a [u8] {
        from(self.data, self.network)
    }

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
        let hash = match &found {
            Found::Transport(packet) => packet.key.hash(self.seed),
            _ => 0,
        };
        let network = decoder.network.unwrap_or(data.len());
        let identity = identity(from(data, network));
        Frame { time, link, length: length.into(), data, found, network, identity, hash }
    }
}
