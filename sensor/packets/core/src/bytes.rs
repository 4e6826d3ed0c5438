//! Bounded reads: every byte of a frame is reached through these or `slice::get`.

#[inline(always)]
pub fn u8_at(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}

#[inline(always)]
pub fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk::<N>().copied()
}

#[inline(always)]
pub fn be16(data: &[u8], at: usize) -> Option<u16> {
    array(data, at).map(u16::from_be_bytes)
}

#[inline(always)]
pub fn be24(data: &[u8], at: usize) -> Option<u32> {
    array::<3>(data, at).map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
}

#[inline(always)]
pub fn be32(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_be_bytes)
}

#[inline(always)]
pub fn from(data: &[u8], at: usize) -> &[u8] {
    data.get(at..).unwrap_or_default()
}

#[inline(always)]
pub fn upto(data: &[u8], length: usize) -> &[u8] {
    data.get(..length).unwrap_or(data)
}
