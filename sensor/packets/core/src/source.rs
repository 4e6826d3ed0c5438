//! Where a capture's bytes come from: a file, or what a decompressor makes of it.

use flate2::bufread::GzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
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
            Box::new(Gzip { decoder: Some(GzDecoder::new(input)) })
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(Zstd { decoder: None, rest: Some(input) })
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
