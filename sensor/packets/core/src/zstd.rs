//! Frames of zstd one after the other (RFC 8878 3.1), block by block: what precedes damage is not lost. The twin of
//! `sensor/packets/zstd.py`.

use crate::bytes::upto;
use crate::source::{at_end, early, number};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, Read};

const FRAME: u64 = 0xfd2f_b528;
/// The first of sixteen magic numbers (RFC 8878 3.1.2).
const SKIPPABLE: u64 = 0x184d_2a50;
/// `zstd` takes no more either unless it is told to.
const WINDOW: u64 = 1 << 27;
const BLOCK: u64 = 128 << 10;
/// What ruzstd gets instead of a frame's header: one with a window of a block, and an empty last block. Of a frame that has
/// ended it tells how much it holds and hands out what it is asked for; so the window is kept here.
const HEADER: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
const ENDED: &[u8] = &[1, 0, 0];

struct Frame {
    window: u64,
    /// Bytes that it says it has.
    content: Option<u64>,
    /// Bytes decoded so far.
    total: u64,
    checksum: bool,
    /// The last block was read.
    ended: bool,
}

pub struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    frame: Option<Frame>,
    /// Decoded bytes that no later block needs.
    ready: usize,
    failed: Option<io::Error>,
}

/// Whether a file that begins so is zstd.
pub fn begins(magic: &[u8]) -> bool {
    crate::bytes::array(magic, 0)
        .map(|magic| u64::from(u32::from_le_bytes(magic)))
        .is_some_and(|magic| magic == FRAME || magic & !15 == SKIPPABLE)
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready == 0 {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let held = self.decoder.can_collect();
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => (self.ready, self.failed) = (held, Some(error)),
            }
        }
        let most = out.len().min(self.ready);
        let count = self.decoder.read(out.get_mut(..most).unwrap_or_default())?;
        self.ready = self.ready.saturating_sub(count);
        Ok(count)
    }
}

impl<R: BufRead> Zstd<R> {
    pub fn new(input: R) -> Self {
        Self { input, decoder: FrameDecoder::new(), frame: None, ready: 0, failed: None }
    }

    /// Reads a header, a block or a checksum. False at the end of the input.
    fn advance(&mut self) -> io::Result<bool> {
        match &self.frame {
            None => return self.begin(),
            Some(frame) if frame.ended => self.end()?,
            Some(_) => self.decode()?,
        }
        Ok(true)
    }

    fn begin(&mut self) -> io::Result<bool> {
        if at_end(&mut self.input)? {
            return Ok(false);
        }
        let magic = number(&mut self.input, 4)?;
        if magic & !15 == SKIPPABLE {
            let size = number(&mut self.input, 4)?;
            if io::copy(&mut (&mut self.input).take(size), &mut io::sink())? < size {
                return Err(early());
            }
        } else if magic == FRAME {
            self.frame = Some(self.header()?);
            self.decoder.reset(HEADER).map_err(io::Error::other)?;
            self.decoder
                .decode_blocks(ENDED, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(io::Error::other)?;
        } else {
            return Err(io::Error::other("what follows a zstd frame is none"));
        }
        Ok(true)
    }

    /// 3.1.1.1
    fn header(&mut self) -> io::Result<Frame> {
        let descriptor = number(&mut self.input, 1)?;
        let single = descriptor & 0x20 != 0;
        let window = if single { None } else { Some(number(&mut self.input, 1)?) };
        let dictionary =
            number(&mut self.input, [0, 1, 2, 4].get((descriptor & 3) as usize).copied().unwrap_or(0))?;
        let size = match descriptor >> 6 {
            0 => usize::from(single),
            code => 1 << code,
        };
        let content = number(&mut self.input, size)?.saturating_add(if size == 2 { 256 } else { 0 });
        let window = window.map_or(content, |window| {
            let base = 1024_u64 << (window >> 3);
            base.saturating_add((base >> 3).saturating_mul(window & 7))
        });
        if descriptor & 8 != 0 {
            return Err(io::Error::other("a zstd frame of a form that is not known"));
        }
        if dictionary != 0 {
            return Err(io::Error::other(format!("a zstd frame that needs dictionary {dictionary}")));
        }
        if window > WINDOW {
            let why = format!("a zstd frame that needs a window of {window} bytes, more than {WINDOW}");
            return Err(io::Error::other(why));
        }
        let content = (size > 0).then_some(content);
        Ok(Frame { window, content, total: 0, checksum: descriptor & 4 != 0, ended: false })
    }

    /// 3.1.1.2
    fn decode(&mut self) -> io::Result<()> {
        let header = number(&mut self.input, 3)?;
        let (last, kind, size) = (header & 1 != 0, header >> 1 & 3, header >> 3);
        let Some(frame) = &mut self.frame else { return Ok(()) };
        let most = BLOCK.min(frame.window);
        if kind == 3 || size > most {
            return Err(broken());
        }
        let stored = if kind == 1 { 1 } else { size };
        let head = header.to_le_bytes();
        let mut block = upto(&head, 3).chain((&mut self.input).take(stored));
        let held = self.decoder.can_collect();
        let decoded = self.decoder.decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1));
        if block.into_inner().1.limit() > 0 {
            return Err(if at_end(&mut self.input)? { early() } else { broken() });
        }
        let have = self.decoder.can_collect();
        let grown = have.saturating_sub(held) as u64;
        frame.total = frame.total.saturating_add(grown);
        let whole = !last || frame.content.is_none_or(|content| content == frame.total);
        if decoded.is_err() || grown > most || !whole {
            return Err(broken());
        }
        frame.ended = last;
        self.ready = if last { have } else { have.saturating_sub(frame.window as usize) };
        Ok(())
    }

    /// The checksum is of what was handed out, which is all.
    fn end(&mut self) -> io::Result<()> {
        if self.frame.take().is_some_and(|frame| frame.checksum) {
            let said = number(&mut self.input, 4)?;
            if self.decoder.get_calculated_checksum().map(u64::from) != Some(said) {
                return Err(io::Error::other("a zstd frame's checksum is another"));
            }
        }
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::other("a zstd block cannot be decoded")
}
