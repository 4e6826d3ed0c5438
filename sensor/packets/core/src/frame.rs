//! A frame on its way to its flow: everything that can be said of it without the frames before.

use crate::bytes::{from, upto};
use crate::duplicates::{COMPARED, identity};
use crate::hash::Seed;
use crate::link::{Decoder, Found};
use std::num::NonZeroU32;

/// Captured bytes with their time, link type and length on the wire.
pub type Raw<'a> = (i64, u32, &'a [u8], u32);

/// A frame with its headers read.
#[derive(Default)]
pub struct Frame<'a> {
    pub time: i64,
    pub length: i64,
    pub found: Found,
    pub decoder: Decoder<'a>,
    /// From the outermost IP header on: what is compared with others.
    pub ip: &'a [u8],
    /// What copies of it share.
    pub identity: Option<NonZeroU32>,
    /// Of its flow's key.
    pub hash: u32,
}

impl<'a> Frame<'a> {
    /// Becomes another frame.
    #[inline(always)]
    pub fn read(&mut self, (time, link, data, length): Raw<'a>, tunnels: usize, seed: Seed) {
        (self.time, self.length, self.decoder.tunnels) = (time, length.into(), tunnels);
        self.found = self.decoder.frame(link, data, length);
        self.hash = match self.found {
            Found::Transport => self.decoder.packet.key.hash(seed),
            _ => 0,
        };
        self.ip = self.decoder.network.map_or(&[], |at| upto(from(data, at), COMPARED));
        self.identity = identity(self.ip);
    }
}
