//! Any number of gzip members (RFC 1952 2.2); what follows the last is padding. What precedes damage is not lost.

use crate::bytes::{from, upto};
use crate::source::{at_end, early, number};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::io::{self, BufRead, Read};

/// Decompressed at a time: more than the window, so that nothing stays within when it fails.
const PIECE: usize = 64 << 10;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Of a member's header (2.3.1).
const HEADER_CHECK: u64 = 2;
const EXTRA: u64 = 4;
const NAME: u64 = 8;
const COMMENT: u64 = 16;
const RESERVED: u64 = 0xe0;

struct Member {
    inflate: Decompress,
    check: Crc,
}

pub struct Gzip<R> {
    input: R,
    member: Option<Member>,
    /// Padding was reached.
    over: bool,
    piece: Vec<u8>,
    /// What of the piece is still to be handed out.
    ready: (usize, usize),
    failed: Option<io::Error>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.0 >= self.ready.1 {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            match self.advance() {
                Ok(()) if self.over => return Ok(0),
                Ok(()) => {}
                Err(error) => self.failed = Some(error),
            }
        }
        let (start, end) = self.ready;
        let count = from(upto(&self.piece, end), start).read(out)?;
        self.ready.0 = start.saturating_add(count);
        Ok(count)
    }
}

impl<R: BufRead> Gzip<R> {
    pub fn new(input: R) -> Self {
        let piece = vec![0; PIECE];
        Self { input, member: None, over: false, piece, ready: (0, 0), failed: None }
    }

    /// Reads a header, or a piece and with the last one what is behind it.
    fn advance(&mut self) -> io::Result<()> {
        let Some(member) = &mut self.member else { return self.begin() };
        if at_end(&mut self.input)? {
            return Err(early());
        }
        let (read, written) = (member.inflate.total_in(), member.inflate.total_out());
        let done = member.inflate.decompress(self.input.fill_buf()?, &mut self.piece, FlushDecompress::None);
        let read = member.inflate.total_in().saturating_sub(read) as usize;
        let written = member.inflate.total_out().saturating_sub(written) as usize;
        self.input.consume(read);
        self.ready = (0, written);
        member.check.update(upto(&self.piece, written));
        match done {
            Ok(Status::StreamEnd) => self.end(),
            Ok(_) if read > 0 || written > 0 => Ok(()),
            _ => Err(io::Error::other("the gzip stream cannot be decoded")),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        for byte in MAGIC {
            self.over = self.over || at_end(&mut self.input)? || !self.input.fill_buf()?.starts_with(&[byte]);
            if self.over {
                return Ok(());
            }
            self.input.consume(1);
        }
        let mut check = Crc::new();
        check.update(&MAGIC);
        let mut next = |size| -> io::Result<u64> {
            let value = number(&mut self.input, size)?;
            check.update(upto(&value.to_le_bytes(), size));
            Ok(value)
        };
        let (method, flags) = (next(1)?, next(1)?);
        next(6)?;
        let extra = if flags & EXTRA != 0 { next(2)? } else { 0 };
        for _ in 0..extra {
            next(1)?;
        }
        for text in [NAME, COMMENT] {
            while flags & text != 0 && next(1)? != 0 {}
        }
        let sum = u64::from(check.sum() & 0xffff);
        let fits = flags & HEADER_CHECK == 0 || number(&mut self.input, 2)? == sum;
        if method != 8 || flags & RESERVED != 0 || !fits {
            return Err(io::Error::other("a gzip member's header cannot be read"));
        }
        self.member = Some(Member { inflate: Decompress::new(false), check: Crc::new() });
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let (sum, size) = (number(&mut self.input, 4)?, number(&mut self.input, 4)?);
        let Some(Member { check, .. }) = self.member.take() else { return Ok(()) };
        if (sum, size) != (check.sum().into(), check.amount().into()) {
            return Err(io::Error::other("a gzip member's checksum is another"));
        }
        Ok(())
    }
}
