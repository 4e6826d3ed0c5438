//! The only unsafe code that reading a capture needs: asking for memory ahead of its use.
#![allow(unsafe_code)]

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks the processor to fetch the cache lines of `slice[at]`; nothing happens beyond the end.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = slice.get(at) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = core::ptr::from_ref(item).cast::<i8>();
        for line in 0..size_of::<T>().div_ceil(LINE) {
            // SAFETY: a prefetch has no effect a program can see and faults on no address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line.wrapping_mul(LINE))) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, at);
}
