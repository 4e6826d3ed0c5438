//! Where a capture's bytes come from: a file, or what a decompressor makes of it.

use crate::gzip::Gzip;
use crate::zstd::{self, Zstd};
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
            Box::new(Gzip::new(input))
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

/// Whether there is nothing left.
pub fn at_end(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            buffer => return buffer.map(<[u8]>::is_empty),
        }
    }
}

/// The next bytes, at most eight, as a number: least significant first.
pub fn number(input: &mut impl Read, size: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match input.read_exact(bytes.get_mut(..size).unwrap_or_default()) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(early()),
        read => read.map(|()| u64::from_le_bytes(bytes)),
    }
}

pub fn early() -> io::Error {
    io::Error::other("the compressed stream ends early")
}
