//! Where the frames of a capture file are: part after part of it.

use crate::bytes::{from, upto};
use crate::capture::{Format, HEADER, Record, Step};
use crate::frame::Raw;
use crate::memory::prefetch;
use crate::source::Source;
use std::io;
use std::path::Path;

/// For the beginning of a record that is in the part before.
const ROOM: usize = 64 << 10;
/// Records between asking for a frame's memory and reading its headers.
const SOON: usize = 8;

pub enum Failure {
    NotACapture(String),
    /// Offset in the decompressed file.
    Damaged(u64, String),
    Io(io::Error),
}

/// A part of the capture: where its whole records are, and whether it is the last.
#[derive(Default)]
pub struct Part {
    data: Vec<u8>,
    records: Vec<Record>,
    /// Bytes of the file on disk read so far.
    pub position: u64,
    pub last: bool,
    /// Offset in the decompressed file and reason.
    pub damage: Option<(u64, String)>,
}

impl Part {
    /// Bytes of the capture in it.
    pub fn length(&self) -> usize {
        self.records.last().map_or(0, |record| record.end)
    }

    fn raw(&self, record: &Record) -> Raw<'_> {
        let bytes = self.data.get(record.start..record.end).unwrap_or_default();
        (record.time, record.link, bytes, record.length)
    }

    pub fn frames(&self) -> impl Iterator<Item = Raw<'_>> {
        self.records.iter().enumerate().map(|(number, record)| {
            if let Some(soon) = self.records.get(number.saturating_add(SOON)) {
                prefetch(&self.data, soon.start);
                prefetch(&self.data, soon.start.saturating_add(64));
            }
            self.raw(record)
        })
    }
}

/// Reads the file and finds its records.
pub struct Walker {
    source: Source,
    /// Bytes read at a time.
    size: usize,
    format: Format,
    /// Offset in the decompressed file of the next record.
    offset: u64,
    /// The beginning of the next record, read already.
    rest: Vec<u8>,
    /// Why there is no more than the file's head.
    broken: Option<io::Error>,
}

impl Walker {
    pub fn open(path: &Path, size: usize) -> Result<Self, Failure> {
        let mut source = Source::open(path).map_err(Failure::Io)?;
        let mut head = [0; HEADER];
        let (have, end) = source.fill(&mut head);
        let (head, broken) = (upto(&head, have), end.and_then(Result::err));
        if let (Some(error), true) = (&broken, head.is_empty()) {
            return Err(Failure::NotACapture(format!("cannot be decompressed: {error}")));
        }
        let Some((format, at)) = Format::detect(head) else {
            let head: String = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let head = if head.is_empty() { "nothing".to_owned() } else { head };
            return Err(Failure::NotACapture(format!("neither pcap nor pcapng (it begins with {head})")));
        };
        let rest = from(head, at).to_vec();
        Ok(Self { source, size, format, offset: at as u64, rest, broken })
    }

    /// Reads the next part into `part`, whose memory is used again.
    pub fn next(&mut self, part: &mut Part) {
        part.records.clear();
        let (mut at, mut have) = (0_usize, self.rest.len());
        let usual = have.saturating_add(self.size);
        if part.data.len() < usual || part.data.len() > usual.saturating_mul(4) {
            part.data = vec![0; usual.saturating_add(ROOM)];
        }
        if let Some(start) = part.data.get_mut(..have) {
            start.copy_from_slice(&self.rest);
        }
        loop {
            let (count, end) = match self.broken.take() {
                None => self.source.fill(part.data.get_mut(have..).unwrap_or_default()),
                Some(error) => (0, Some(Err(error))),
            };
            have = have.saturating_add(count);
            let data = part.data.get(..have).unwrap_or_default();
            let before = at;
            let (need, reason) = self.walk(data, &mut at, &mut part.records);
            self.offset = self.offset.saturating_add(at.saturating_sub(before) as u64);
            let reason = reason.or(match &end {
                Some(Ok(())) if at < have => {
                    Some(format!("the file ends inside a record of at least {need} bytes"))
                }
                Some(Err(error)) => Some(format!("decompression failed: {error}")),
                _ => None,
            });
            part.last = end.is_some() || reason.is_some();
            part.damage = reason.map(|reason| (self.offset, reason));
            if part.last || at > 0 {
                break;
            }
            part.data.resize(have.saturating_mul(2), 0); // a record that is longer
        }
        part.position = self.source.position();
        self.rest.clear();
        self.rest.extend_from_slice(part.data.get(at..have).unwrap_or_default());
    }

    /// Finds whole records. Returns how many bytes the next needs, and what is wrong with it.
    fn walk(&mut self, data: &[u8], at: &mut usize, records: &mut Vec<Record>) -> (usize, Option<String>) {
        loop {
            match self.format.step(data, *at) {
                Step::Frame(record) => {
                    *at = record.next;
                    records.push(record);
                }
                Step::Skip(next) => *at = next,
                Step::More(need) => return (need, None),
                Step::Damaged(reason) => return (0, Some(reason)),
            }
        }
    }
}
