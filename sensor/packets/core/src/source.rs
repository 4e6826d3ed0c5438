//! Where a capture's bytes come from: a file, or what a decompressor makes of it.

use crate::zstd::{self, Zstd};
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Compressed bytes read at a time; what is not compressed does not pass through a buffer of ours.
const INPUT: usize = 64 << 10;

/// A file that counts what was read of it.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(out)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

type Input = BufReader<Counted>;

pub struct Source {
    read: Arc<AtomicU64>,
    reader: Box<dyn Read + Send + Sync>,
}

impl Source {
    pub fn open(path: &Path) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: File::open(path)?, read: Arc::clone(&read) };
        let mut input = BufReader::with_capacity(INPUT, counted);
        let magic = input.fill_buf()?;
        let reader: Box<dyn Read + Send + Sync> = if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(Gzip { decoder: Some(GzDecoder::new([].as_slice().chain(input))) })
        } else if zstd::begins(magic) {
            Box::new(Zstd::new(input))
        } else {
            Box::new(input)
        };
        Ok(Self { read, reader })
    }

    /// Bytes of the file on disk read so far.
    pub fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Fills `out` as far as there is something: how many bytes, and why there are no more (None: there may be).
    pub fn fill(&mut self, out: &mut [u8]) -> (usize, Option<io::Result<()>>) {
        let mut have = 0_usize;
        while let Some(rest) = out.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => return (have, Some(Ok(()))),
                Ok(count) => have = have.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (have, Some(Err(error))),
            }
        }
        (have, None)
    }
}

/// Any number of gzip members (RFC 1952 2.2); what follows the last is padding.
struct Gzip {
    decoder: Option<GzDecoder<Member>>,
}

/// A member's first byte, when it had to be taken to see the second, and what follows.
type Member = io::Chain<&'static [u8], Input>;

impl Read for Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(out).map_err(named)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            let Some((_, mut rest)) = self.decoder.take().map(|done| done.into_inner().into_inner()) else {
                break;
            };
            if rest.fill_buf()?.starts_with(&[0x1f]) {
                rest.consume(1);
                if rest.fill_buf()?.starts_with(&[0x8b]) {
                    self.decoder = Some(GzDecoder::new([0x1f].as_slice().chain(rest)));
                }
            }
        }
        Ok(0)
    }
}

fn named(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        return io::Error::other("the gzip stream ends early");
    }
    error
}
