//! Frames in a block of a capture ring: struct tpacket_block_desc and tpacket3_hdr of linux/if_packet.h.

use crate::bytes::array;
use crate::ring::Instruction;

const COUNT: usize = 12;
const FIRST: usize = 16;
const VLAN_VALID: u32 = 0x10;
const TPID_VALID: u32 = 0x40;
const ETH_8021Q: u16 = 0x8100;
/// Destination and source, and a tag (IEEE 802.1Q 9.6).
const MACS: usize = 12;
const TAG: usize = 4;
const SECOND: i64 = 1_000_000_000;

/// Where in the block a frame is.
#[derive(Clone, Copy)]
pub struct Record {
    pub time: i64,
    pub start: usize,
    pub end: usize,
    pub length: u32,
}

/// Appends the block's frames, with the VLAN tag that the kernel or the card took off back in its place.
pub fn unpack(block: &mut [u8], records: &mut Vec<Record>) {
    let count = word(block, COUNT).unwrap_or_default();
    let mut at = word(block, FIRST).unwrap_or_default() as usize;
    for _ in 0..count {
        let Some((record, next)) = frame(block, at) else { return };
        records.push(record);
        at = at.saturating_add(next);
    }
}

fn frame(block: &mut [u8], at: usize) -> Option<(Record, usize)> {
    let header: [u8; 40] = array(block, at)?;
    let word = |offset| word(&header, offset);
    let half = |offset| array(&header, offset).map(u16::from_ne_bytes);
    let (next, captured, status) = (word(0)?, word(12)? as usize, word(20)?);
    let mut record = Record {
        time: i64::from(word(4)?).saturating_mul(SECOND).saturating_add(i64::from(word(8)?)),
        start: at.saturating_add(half(24)?.into()),
        end: 0,
        length: word(16)?,
    };
    record.end = record.start.saturating_add(captured);
    block.get(record.start..record.end)?;
    if status & VLAN_VALID != 0 && captured >= MACS {
        let tpid = if status & TPID_VALID != 0 { half(36)? } else { ETH_8021Q };
        let [t0, t1] = tpid.to_be_bytes();
        let [_, _, c0, c1] = word(32)?.to_be_bytes();
        // Between the header and the frame the kernel leaves more room than a tag needs.
        let start =
            record.start.checked_sub(TAG).filter(|start| *start >= at.saturating_add(header.len()))?;
        block.copy_within(record.start..record.start.saturating_add(MACS), start);
        block
            .get_mut(start.saturating_add(MACS)..)?
            .first_chunk_mut::<TAG>()?
            .copy_from_slice(&[t0, t1, c0, c1]);
        record.start = start;
        record.length = record.length.saturating_add(TAG as u32);
    }
    Some((record, next as usize))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_ne_bytes)
}

/// Which worker a packet goes to: a program over the outermost addresses that gives both directions, and all
/// fragments, the same number. The kernel's own hash puts a datagram's fragments and its flow on different workers.
pub fn spread() -> Vec<Instruction> {
    const LOAD_PROTOCOL: Instruction = (0x28, 0, 0, 0xffff_f000); // ldh [SKF_AD_OFF + SKF_AD_PROTOCOL]
    const LOAD_NET: u16 = 0x20; // ld [SKF_NET_OFF + k]
    const NET: u32 = 0xfff0_0000;
    const TAX: Instruction = (0x07, 0, 0, 0);
    const ADD: Instruction = (0x0c, 0, 0, 0);
    let mut v6 = vec![(LOAD_NET, 0, 0, NET.saturating_add(8))];
    for word in 1_u32..8 {
        let at = NET.saturating_add(8).saturating_add(word.saturating_mul(4));
        v6.extend([TAX, (LOAD_NET, 0, 0, at), ADD]);
    }
    let v4 = [(LOAD_NET, 0, 0, NET.saturating_add(12)), TAX, (LOAD_NET, 0, 0, NET.saturating_add(16)), ADD];
    let mix = [(0x24, 0, 0, 0x9e37_79b1), (0x74, 0, 0, 12), (0x16, 0, 0, 0)]; // mul, rsh, ret A
    let skip = |body: &[Instruction]| u8::try_from(body.len().saturating_add(mix.len())).unwrap_or(u8::MAX);
    let mut program = vec![LOAD_PROTOCOL, (0x15, 0, skip(&v4), 0x0800)];
    program.extend(v4);
    program.extend(mix);
    program.push((0x15, 0, skip(&v6), 0x86dd));
    program.extend(v6);
    program.extend(mix);
    program.push((0x06, 0, 0, 0)); // neither: worker 0
    program
}
