//! Drives the engine over a capture file.

use crate::capture::{Format, HEADER, Step};
use crate::engine::Core;
use crate::memory::prefetch;
use crate::source::Source;
use std::io;
use std::path::Path;

/// Bytes of capture between two looks at Python, for its signals and its facts.
const TURN: u64 = 64 << 20;
/// Facts that are handed over at once.
const FACTS: usize = 8_192;
/// How far ahead of the walk memory is asked for. Records are chained: without this each costs a cache miss.
const AHEAD: usize = 4_096;

pub enum Failure {
    NotACapture(String),
    /// Offset in the decompressed file.
    Damaged(u64, String),
    Io(io::Error),
}

pub struct Reader {
    source: Source,
    format: Format,
    /// Offset in the file of the window's first byte, and where in the window the next record is.
    base: u64,
    at: usize,
    /// Whether a second thread walks ahead.
    two: bool,
}

impl Reader {
    pub fn open(path: &Path, two: bool) -> Result<Self, Failure> {
        let mut source = Source::open(path).map_err(Failure::Io)?;
        loop {
            match source.advance(0) {
                Ok(Some(_)) if source.window().len() < HEADER => {}
                Ok(_) => break,
                Err(error) if source.window().is_empty() => {
                    return Err(Failure::NotACapture(format!("cannot be decompressed: {error}")));
                }
                Err(_) => break,
            }
        }
        let window = source.window();
        let Some((format, at)) = Format::detect(window) else {
            let head: String = window.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let head = if head.is_empty() { "nothing".to_owned() } else { head };
            return Err(Failure::NotACapture(format!("neither pcap nor pcapng (it begins with {head})")));
        };
        Ok(Self { source, format, base: 0, at, two })
    }

    /// Bytes of the file on disk read so far.
    pub fn position(&self) -> u64 {
        self.source.position(self.at)
    }

    /// Offset of the next record in the decompressed file.
    fn offset(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    /// Feeds the next part of the file. False: that was all.
    pub fn read(&mut self, core: &mut Core) -> Result<bool, Failure> {
        let start = self.offset();
        loop {
            let (need, broken) = self.window(core);
            if let Some(reason) = broken {
                return Err(Failure::Damaged(self.offset(), reason));
            }
            match self.source.advance(self.at) {
                Ok(Some(at)) => {
                    self.base = self.base.saturating_add(self.at as u64).saturating_sub(at as u64);
                    self.at = at;
                }
                Ok(None) if self.at >= self.source.window().len() => return Ok(false),
                Ok(None) => {
                    let reason = format!("the file ends inside a record of at least {need} bytes");
                    return Err(Failure::Damaged(self.offset(), reason));
                }
                Err(error) => {
                    return Err(Failure::Damaged(self.offset(), format!("decompression failed: {error}")));
                }
            }
            if self.offset().saturating_sub(start) >= TURN || core.facts() >= FACTS {
                return Ok(true);
            }
        }
    }

    /// Feeds all whole records of the window. Returns how many bytes the next needs, and what is wrong with it.
    fn window(&mut self, core: &mut Core) -> (usize, Option<String>) {
        let mut retired = self.source.retired();
        let data = self.source.window();
        let mut rest = (0, None);
        let mut at = self.at;
        let format = &mut self.format;
        let records = std::iter::from_fn(|| {
            retired.take();
            loop {
                match format.step(data, at) {
                    Step::Frame(record) => {
                        ahead(data, at, record.next);
                        at = record.next;
                        let bytes = data.get(record.start..record.end).unwrap_or_default();
                        return Some((record.time, record.link, bytes, record.length));
                    }
                    Step::Skip(next) => at = next,
                    Step::More(need) => {
                        rest = (need, None);
                        return None;
                    }
                    Step::Damaged(reason) => {
                        rest = (0, Some(reason));
                        return None;
                    }
                }
            }
        });
        if self.two {
            core.feed_in_two(records);
        } else {
            core.feed(records);
        }
        self.at = at;
        rest
    }
}

#[inline(always)]
fn ahead(data: &[u8], start: usize, end: usize) {
    let mut at = start.saturating_add(AHEAD);
    let end = end.saturating_add(AHEAD);
    while at < end {
        prefetch(data, at);
        at = at.saturating_add(64);
    }
}
