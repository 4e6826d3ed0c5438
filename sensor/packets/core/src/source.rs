//! Where a capture's bytes come from: a window over a mapped file, or over what a decompressor gives.

use crate::memory;
use flate2::bufread::GzDecoder;
use memmap2::Mmap;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Mapped at a time; what has been read is unmapped again, so that a large capture does not count as memory in use.
const WINDOW: u64 = 32 << 20;
/// A multiple of every page size in use.
const PAGE: u64 = 64 << 10;
/// Decompressed at a time.
const CHUNK: usize = 1 << 20;

pub struct Mapped {
    file: File,
    length: u64,
    offset: u64,
    map: Option<Mmap>,
    /// The window before.
    retired: Option<Mmap>,
}

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

pub struct Stream {
    read: Arc<AtomicU64>,
    reader: Box<dyn Read + Send + Sync>,
    buffer: Vec<u8>,
}

pub enum Source {
    Mapped(Mapped),
    Stream(Stream),
}

impl Source {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let read = Arc::new(AtomicU64::new(0));
        let mut reader = BufReader::with_capacity(CHUNK, Counted { file, read: Arc::clone(&read) });
        let magic = reader.fill_buf()?;
        let stream: Box<dyn Read + Send + Sync> = if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(Gzip { decoder: Some(GzDecoder::new(reader)) })
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(Zstd { decoder: None, rest: Some(reader) })
        } else if about.is_file() {
            let file = reader.into_inner().file;
            return Ok(Self::Mapped(Mapped {
                file,
                length: about.len(),
                offset: 0,
                map: None,
                retired: None,
            }));
        } else {
            Box::new(reader)
        };
        Ok(Self::Stream(Stream { read, reader: stream, buffer: Vec::new() }))
    }

    pub fn window(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped.map.as_deref().unwrap_or_default(),
            Self::Stream(stream) => &stream.buffer,
        }
    }

    /// Bytes of the file on disk that were read when the window's byte `at` is next.
    pub fn position(&self, at: usize) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.offset.saturating_add(at as u64),
            Self::Stream(stream) => stream.read.load(Ordering::Relaxed),
        }
    }

    /// The window before: giving it back takes time, which need not be the caller's.
    pub fn retired(&mut self) -> Option<Mmap> {
        match self {
            Self::Mapped(mapped) => mapped.retired.take(),
            Self::Stream(_) => None,
        }
    }

    /// Drops the first `consumed` bytes of the window and lengthens its end. Returns where in the new window
    /// the old one's byte `consumed` is, or None when there is nothing more; then the window stays.
    pub fn advance(&mut self, consumed: usize) -> io::Result<Option<usize>> {
        match self {
            Self::Mapped(mapped) => mapped.advance(consumed),
            Self::Stream(stream) => stream.advance(consumed),
        }
    }
}

impl Mapped {
    fn advance(&mut self, consumed: usize) -> io::Result<Option<usize>> {
        // A file that was cut short meanwhile ends where it ends now.
        self.length = self.length.min(self.file.metadata()?.len());
        let held = self.map.as_ref().map_or(0, |map| map.len() as u64);
        if self.offset.saturating_add(held) >= self.length {
            return Ok(None);
        }
        let at = self.offset.saturating_add(consumed as u64);
        let start = at.saturating_sub(at % PAGE);
        // A record that does not fit asks for a longer window.
        let wanted = if start == self.offset { held.saturating_mul(2).max(WINDOW) } else { WINDOW };
        let size = self.length.saturating_sub(start).min(wanted);
        self.retired = self.map.take();
        self.map = Some(memory::map(&self.file, start, usize::try_from(size).map_err(io::Error::other)?)?);
        self.offset = start;
        usize::try_from(at.saturating_sub(start)).map(Some).map_err(io::Error::other)
    }
}

impl Stream {
    fn advance(&mut self, consumed: usize) -> io::Result<Option<usize>> {
        let keep = self.buffer.len().saturating_sub(consumed);
        let mut next = Vec::with_capacity(keep.saturating_add(CHUNK));
        next.extend_from_slice(self.buffer.get(consumed..).unwrap_or_default());
        // What came before an error is read; the next call brings the error again.
        let outcome = self.reader.by_ref().take(CHUNK as u64).read_to_end(&mut next);
        if next.len() == keep {
            return outcome.map(|_| None);
        }
        self.buffer = next;
        Ok(Some(0))
    }
}

/// Any number of gzip members (RFC 1952 2.2); what follows the last is padding.
struct Gzip {
    decoder: Option<GzDecoder<Input>>,
}

impl Read for Gzip {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.decoder.take().map(GzDecoder::into_inner) else { break };
            if rest.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
                self.decoder = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Frames of zstd one after the other (RFC 8878 3.1).
struct Zstd {
    decoder: Option<StreamingDecoder<Input, FrameDecoder>>,
    rest: Option<Input>,
}

impl Read for Zstd {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let count = decoder.read(out)?;
                if count > 0 || out.is_empty() {
                    return Ok(count);
                }
            }
            if let Some(decoder) = self.decoder.take() {
                self.rest = Some(decoder.into_inner());
            }
            let Some(mut rest) = self.rest.take() else { return Ok(0) };
            if rest.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.decoder = Some(StreamingDecoder::new(rest).map_err(io::Error::other)?);
        }
    }
}
