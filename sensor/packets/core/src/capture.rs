//! pcap and pcapng: where the records are in a buffer. The twin of `sensor/packets/capture.py`.

use crate::bytes::{array, from};

/// No link layer has frames near this size; larger claims are damage.
const MAX_RECORD: usize = 256 << 20;
/// Per pcapng section.
const MAX_INTERFACES: usize = 65_536;
const SECOND: i64 = 1_000_000_000;
/// In the year 2116; leaves room for what an engine adds.
const MAX_TIME: i64 = 1 << 62;
/// Longest file header.
pub const HEADER: usize = 24;

/// A frame in the buffer that was walked.
#[derive(Clone, Copy)]
pub struct Record {
    pub time: i64,
    pub link: u32,
    pub start: usize,
    pub end: usize,
    pub length: u32,
    /// Where the next record begins.
    pub next: usize,
}

pub enum Step {
    Frame(Record),
    /// A block without a frame; where the next one begins.
    Skip(usize),
    /// The buffer ends inside a record of at least so many bytes.
    More(usize),
    Damaged(String),
}

#[derive(Clone, Copy)]
pub struct Pcap {
    big: bool,
    /// Nanoseconds of a time stamp's fraction.
    unit: i64,
    link: u32,
    /// Bytes of a record header.
    header: usize,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    snap: u32,
    /// time stamp * multiply / divide + offset = ns
    multiply: u128,
    divide: u128,
    offset: i128,
}

#[derive(Default)]
pub struct Pcapng {
    big: bool,
    interfaces: Vec<Interface>,
    /// A simple packet block has no time of its own.
    last: i64,
}

pub enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

fn word(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let bytes = array(data, at)?;
    Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

fn half(data: &[u8], at: usize, big: bool) -> Option<u16> {
    let bytes = array(data, at)?;
    Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

impl Format {
    /// The format and the length of its file header; a pcapng file begins with a block like any other.
    pub fn detect(data: &[u8]) -> Option<(Self, usize)> {
        let magic: [u8; 4] = array(data, 0)?;
        if magic == SECTION {
            return Some((Self::Pcapng(Pcapng::default()), 0));
        }
        let big = magic.first() == Some(&0xa1);
        let (unit, header) = match word(&magic, 0, big)? {
            0xa1b2_c3d4 => (1_000, 16),
            0xa1b2_3c4d => (1, 16),
            0xa1b2_cd34 => (1_000, 24), // Kuznetzov's variant
            _ => return None,
        };
        // The upper bits tell the length of a frame check sequence.
        let link = word(data, 20, big)? & 0x03ff_ffff;
        Some((Self::Pcap(Pcap { big, unit, link, header }), HEADER))
    }

    #[inline(always)]
    pub fn step(&mut self, data: &[u8], at: usize) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(data, at),
            Self::Pcapng(pcapng) => pcapng.step(data, at),
        }
    }
}

impl Pcap {
    #[inline(always)]
    fn step(&self, data: &[u8], at: usize) -> Step {
        let start = at.saturating_add(self.header);
        let Some(head) = array::<16>(data, at).filter(|_| start <= data.len()) else {
            return Step::More(self.header);
        };
        let [seconds, fraction, captured, length] =
            [0, 4, 8, 12].map(|i| word(&head, i, self.big).unwrap_or_default());
        let size = captured as usize;
        if size > MAX_RECORD {
            return Step::Damaged(format!("a record claims {size} bytes"));
        }
        let end = start.saturating_add(size);
        if end > data.len() {
            return Step::More(self.header.saturating_add(size));
        }
        let time =
            i64::from(seconds).wrapping_mul(SECOND).wrapping_add(i64::from(fraction).wrapping_mul(self.unit));
        Step::Frame(Record { time, link: self.link, start, end, length: length.max(captured), next: end })
    }
}

const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BLOCK: usize = 12;

impl Pcapng {
    fn step(&mut self, data: &[u8], at: usize) -> Step {
        let rest = from(data, at);
        if rest.len() < BLOCK {
            return Step::More(BLOCK);
        }
        if rest.starts_with(&SECTION) {
            match array(rest, 8) {
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => self.big = true,
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => self.big = false,
                _ => return Step::Damaged("a section header without its byte-order magic".into()),
            }
        }
        let big = self.big;
        let (Some(kind), Some(size)) = (word(rest, 0, big), word(rest, 4, big)) else {
            return Step::More(BLOCK);
        };
        let length = size as usize;
        if length < BLOCK || !length.is_multiple_of(4) || length > MAX_RECORD {
            return Step::Damaged(format!("a block of type {kind} claims {size} bytes"));
        }
        let Some(block) = rest.get(..length) else { return Step::More(length) };
        if word(block, length.saturating_sub(4), big) != Some(size) {
            return Step::Damaged("the two lengths of a block differ".into());
        }
        let next = at.saturating_add(length);
        match self.block(kind, block) {
            None => Step::Damaged(format!("a block of type {kind} cannot be read")),
            Some(None) => Step::Skip(next),
            Some(Some(mut record)) => {
                record.start = record.start.saturating_add(at);
                record.end = record.end.saturating_add(at);
                record.next = next;
                Step::Frame(record)
            }
        }
    }

    /// None: it cannot be read.
    fn block(&mut self, kind: u32, block: &[u8]) -> Option<Option<Record>> {
        let big = self.big;
        match kind {
            6 => self.packet(block, word(block, 8, big)?).map(Some),
            2 => self.packet(block, half(block, 8, big)?.into()).map(Some),
            3 => self.simple(block).map(Some),
            1 => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return None;
                }
                self.interfaces.push(interface(block, big)?);
                Some(None)
            }
            0x0a0d_0d0a => {
                self.interfaces.clear();
                Some(None)
            }
            _ => Some(None),
        }
    }

    /// draft-ietf-opsawg-pcapng 4.3; the obsolete packet block differs in its first word only.
    fn packet(&mut self, block: &[u8], number: u32) -> Option<Record> {
        let high = word(block, 12, self.big)?;
        let low = word(block, 16, self.big)?;
        let captured = word(block, 20, self.big)?;
        let length = word(block, 24, self.big)?;
        let interface = self.interfaces.get(number as usize)?;
        let end = 28_usize.checked_add(captured as usize)?;
        if end > block.len().saturating_sub(4).max(28) {
            return None;
        }
        self.last = interface.time(high, low);
        Some(Record {
            time: self.last,
            link: interface.link,
            start: 28,
            end,
            length: length.max(captured),
            next: 0,
        })
    }

    /// 4.4: no time, first interface.
    fn simple(&self, block: &[u8]) -> Option<Record> {
        let length = word(block, 8, self.big)?;
        let interface = self.interfaces.first()?;
        let snap = if interface.snap == 0 { length } else { interface.snap };
        let captured = (length.min(snap) as usize).min(block.len().saturating_sub(16));
        let end = 12_usize.saturating_add(captured);
        Some(Record { time: self.last, link: interface.link, start: 12, end, length, next: 0 })
    }
}

impl Interface {
    fn time(&self, high: u32, low: u32) -> i64 {
        let stamp = u128::from(high) << 32 | u128::from(low);
        let nanos = stamp.saturating_mul(self.multiply).checked_div(self.divide).unwrap_or_default();
        let time = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(self.offset);
        i64::try_from(time.max(0)).unwrap_or(MAX_TIME).min(MAX_TIME)
    }
}

/// 4.2: link type, snap length, options if_tsresol (9) and if_tsoffset (14).
fn interface(block: &[u8], big: bool) -> Option<Interface> {
    let end = block.len().checked_sub(4).filter(|&end| end >= 16)?;
    let (link, snap) = (u32::from(half(block, 8, big)?), word(block, 12, big)?);
    let mut result = Interface { link, snap, multiply: 1_000, divide: 1, offset: 0 };
    let mut options = block.get(16..end)?;
    while !options.is_empty() {
        let (code, length) = (half(options, 0, big)?, half(options, 2, big)?);
        let rest = from(options, 4);
        let value = rest.get(..usize::from(length)).unwrap_or(rest);
        match code {
            0 => break,
            9 => result.resolution(value),
            14 => {
                if let Some(bytes) = array(value, 0) {
                    let seconds = if big { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
                    result.offset = i128::from(seconds).saturating_mul(SECOND.into());
                }
            }
            _ => {}
        }
        options = from(rest, value.len().next_multiple_of(4));
    }
    Some(result)
}

impl Interface {
    fn resolution(&mut self, value: &[u8]) {
        let Some(&resolution) = value.first() else { return };
        let exponent = u32::from(resolution & 0x7f);
        let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
        self.multiply = SECOND.unsigned_abs().into();
        // Finer than any time stamp could tell: everything is at 0.
        self.divide = base.checked_pow(exponent).unwrap_or(u128::MAX);
    }
}
