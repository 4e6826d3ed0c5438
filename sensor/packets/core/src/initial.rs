//! Protection of QUIC Initial packets: keys that anyone can derive (RFC 9001 5, RFC 9369 3.3).

use crate::bytes::{array, upto};
use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::{AesGcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;

pub const VERSION_1: u32 = 1;
pub const VERSION_2: u32 = 0x6b33_43cf;
pub const TAG: usize = 16;

/// Where a packet is in its datagram.
#[derive(Clone, Copy)]
pub struct Place {
    pub start: usize,
    /// Where the protected packet number begins.
    pub number: usize,
    pub end: usize,
}

/// Counter mode only encrypts.
type Aes128Gcm = AesGcm<Aes128Enc, U12>;
type Salt = [u8; 20];
/// RFC 9001 5.2, drafts 33 and 34.
const SALT_1: Salt = hex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a");
/// RFC 9369 3.3.1.
const SALT_2: Salt = hex("0dede3def700a6db819381be6e269dcbf9bd2ed9");
/// First draft that has it.
const SALTS_DRAFT: [(u32, Salt); 4] = [
    (33, SALT_1),
    (29, hex("afbfec289993d24c9e9786f19c6111e04390a899")),
    (23, hex("c3eef712c72ebb5a11a7d2432bb46365bef9f502")),
    (22, hex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")),
];

const fn nibble(digit: u8) -> u8 {
    if digit > b'9' { digit.wrapping_sub(b'a').wrapping_add(10) } else { digit.wrapping_sub(b'0') }
}

#[allow(clippy::indexing_slicing)] // runs in the compiler, where a wrong index is an error
const fn hex(text: &str) -> Salt {
    let digits = text.as_bytes();
    let mut out = [0; 20];
    let mut at = 0_usize;
    while at < 20 {
        let pair = at.wrapping_mul(2);
        out[at] = nibble(digits[pair]) << 4 | nibble(digits[pair.wrapping_add(1)]);
        at = at.wrapping_add(1);
    }
    out
}

/// Initial salt of a version whose Initial packets can be read.
pub fn salt(version: u32) -> Option<&'static Salt> {
    let draft = match version {
        VERSION_1 => return Some(&SALT_1),
        VERSION_2 => return Some(&SALT_2),
        0xface_b001 => 22,
        0xface_b002 | 0xface_b00e => 27,
        _ if version >> 8 == 0xff_0000 => version & 0xff,
        _ => 0,
    };
    if draft > 34 {
        return None;
    }
    SALTS_DRAFT.iter().find(|(first, _)| *first <= draft).map(|(_, salt)| salt)
}

/// Packet protection of a client's Initial packets (RFC 9001 5.2, RFC 9369 3.3).
pub struct Keys {
    version: u32,
    dcid: Vec<u8>,
    /// Expanded when asked: most have one packet to open, and may wait for another.
    key: [u8; 16],
    iv: [u8; 12],
    hp: [u8; 16],
}

impl Keys {
    pub fn new(version: u32, dcid: &[u8]) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(salt(version)?), dcid);
        let secret: [u8; 32] = expand(&initial, b"client in")?;
        let client = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let labels: [&[u8]; 3] = if version == VERSION_2 {
            [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"]
        } else {
            [b"quic key", b"quic iv", b"quic hp"]
        };
        let [key, iv, hp] = labels;
        let (key, iv, hp) = (expand(&client, key)?, expand(&client, iv)?, expand(&client, hp)?);
        Some(Self { version, dcid: dcid.to_vec(), key, iv, hp })
    }

    pub fn is(&self, version: u32, dcid: &[u8]) -> bool {
        self.version == version && self.dcid == dcid
    }

    /// Packet number of an Initial (RFC 9001 5.3, 5.4), and where in `out` its payload is: to the end, behind its
    /// header. `largest`: highest number before it.
    pub fn open(
        &self,
        datagram: &[u8],
        place: &Place,
        largest: i64,
        out: &mut Vec<u8>,
    ) -> Option<(i64, usize)> {
        let number = place.number;
        let sample: [u8; 16] = array(upto(datagram, place.end), number.checked_add(4)?)?;
        let mut mask = Array(sample);
        Aes128Enc::new(&Array(self.hp)).encrypt_block(&mut mask);
        let [m0, masks @ ..] = mask.0;
        let first = *datagram.get(place.start)? ^ (m0 & 0x0f);
        let size = usize::from(first & 3).saturating_add(1);
        let clear = number.checked_sub(place.start)?;
        let start = clear.checked_add(size)?;
        out.clear();
        out.extend_from_slice(datagram.get(place.start..place.end.checked_sub(TAG)?)?);
        let (header, payload) = out.split_at_mut_checked(start)?;
        *header.first_mut()? = first;
        let mut truncated = 0_i64;
        for (byte, mask) in header.iter_mut().skip(clear).zip(masks) {
            *byte ^= mask;
            truncated = truncated << 8 | i64::from(*byte);
        }
        let full = full_number(truncated, size, largest.wrapping_add(1));
        let tag: Tag = Array(array::<TAG>(datagram, place.end.checked_sub(TAG)?)?);
        let nonce: Nonce<_> = Array(self.nonce(full));
        let key = Aes128Gcm::new(&Array(self.key));
        key.decrypt_inout_detached(&nonce, header, payload.into(), &tag).ok()?;
        Some((full, start))
    }

    fn nonce(&self, number: i64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, part) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }
}

/// HKDF-Expand-Label with an empty context, RFC 8446 7.1.
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    let size = u16::try_from(N).ok()?.to_be_bytes();
    let name = u8::try_from(label.len().checked_add(6)?).ok()?;
    secret.expand_multi_info(&[&size, &[name], b"tls13 ", label, &[0]], &mut out).ok()?;
    Some(out)
}

/// RFC 9000 A.3.
fn full_number(truncated: i64, bytes: usize, expected: i64) -> i64 {
    let window = 1_i64 << (bytes << 3);
    let half = window >> 1;
    let candidate = (expected & !window.wrapping_sub(1)) | truncated;
    if candidate <= expected.wrapping_sub(half) {
        candidate.wrapping_add(window)
    } else if candidate > expected.wrapping_add(half) && candidate >= window {
        candidate.wrapping_sub(window)
    } else {
        candidate
    }
}
