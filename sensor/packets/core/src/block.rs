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

/// Appends the block's frames; in Ethernet ones the VLAN tag that the kernel or the card took off is back in its place.
pub fn unpack(block: &mut [u8], ethernet: bool, records: &mut Vec<Record>) {
    let count = word(block, COUNT).unwrap_or_default();
    let mut at = word(block, FIRST).unwrap_or_default() as usize;
    for _ in 0..count {
        let Some((record, next)) = frame(block, at, ethernet) else { return };
        records.push(record);
        at = at.saturating_add(next);
    }
}

fn frame(block: &mut [u8], at: usize, ethernet: bool) -> Option<(Record, usize)> {
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
    if ethernet && status & VLAN_VALID != 0 && captured >= MACS {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A block of one frame, whose bytes begin `room` after its header.
    fn block(room: usize, captured: u32, status: u32) -> Vec<u8> {
        let mut block = vec![0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(COUNT, &1_u32.to_ne_bytes());
        put(FIRST, &48_u32.to_ne_bytes());
        for (at, value) in [(0, 0), (4, 7), (8, 9), (12, captured), (16, 1_500), (20, status), (32, 0x2042)] {
            put(48 + at, &u32::to_ne_bytes(value));
        }
        put(48 + 24, &u16::to_ne_bytes(u16::try_from(40 + room).unwrap()));
        put(48 + 36, &0x88a8_u16.to_ne_bytes());
        put(48 + 40 + room, b"ddddddssssss\x08\x00payload");
        block
    }

    fn only(mut block: Vec<u8>, ethernet: bool) -> Option<(Record, Vec<u8>)> {
        let mut records = Vec::new();
        unpack(&mut block, ethernet, &mut records);
        records.first().map(|record| (*record, block[record.start..record.end].to_vec()))
    }

    #[test]
    fn a_frame_as_it_is() {
        for (status, ethernet) in [(0, true), (VLAN_VALID, false)] {
            let (record, data) = only(block(42, 21, status), ethernet).unwrap();
            assert_eq!((record.time, record.length), (7_000_000_009, 1_500));
            assert_eq!(data, b"ddddddssssss\x08\x00payload");
        }
    }

    #[test]
    fn a_tag_is_put_back() {
        let (record, data) = only(block(42, 21, VLAN_VALID), true).unwrap();
        assert_eq!((record.length, data), (1_504, b"ddddddssssss\x81\x00\x20\x42\x08\x00payload".to_vec()));
        let (_, data) = only(block(42, 21, VLAN_VALID | TPID_VALID), true).unwrap();
        assert_eq!(data, b"ddddddssssss\x88\xa8\x20\x42\x08\x00payload");
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        assert!(only(block(42, 5_000, 0), true).is_none());
        assert!(only(block(3, 21, VLAN_VALID), true).is_none());
        assert!(only(vec![0xff; 512], true).is_none());
        assert!(only(vec![0xff; 4], true).is_none());
    }

    /// What the kernel does with a program, for the instructions that `spread` uses.
    fn runs(program: &[Instruction], protocol: u32, ip: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
        loop {
            let (code, jt, jf, k) = program[at];
            at += 1;
            match code {
                0x28 => a = protocol,
                0x20 => a = u32::from_be_bytes(array(ip, (k - 0xfff0_0000) as usize).unwrap()),
                0x07 => x = a,
                0x0c => a = a.wrapping_add(x),
                0x24 => a = a.wrapping_mul(k),
                0x74 => a >>= k,
                0x15 => at += usize::from(if a == k { jt } else { jf }),
                0x16 => return a,
                _ => return k,
            }
        }
    }

    #[test]
    fn both_directions_go_to_one_worker_and_hosts_to_many() {
        let program = spread();
        for (protocol, head, size) in [(0x0800, 12, 4), (0x86dd, 8, 16)] {
            let mut used = std::collections::HashSet::new();
            for host in 0..=255_u8 {
                let (client, server) = (vec![host; size], vec![9_u8; size]);
                let packet = |a: &[u8], b: &[u8]| [&vec![0_u8; head], a, b].concat();
                let there = runs(&program, protocol, &packet(&client, &server)) % 4;
                assert_eq!(there, runs(&program, protocol, &packet(&server, &client)) % 4);
                used.insert(there);
            }
            assert_eq!(used.len(), 4);
        }
        assert_eq!(runs(&program, 0x0806, &[]), 0);
    }
}
