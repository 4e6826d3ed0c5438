//! The only unsafe code that reading a capture needs: what is asked of the processor and the kernel about memory.
#![allow(unsafe_code)]

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a page, and of a large one, of those processors that have them.
const PAGE: usize = 4 << 10;
const LARGE: usize = 2 << 20;

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

/// A vector with room for `count` items, and large pages behind them as far as these reach: a table of flows is looked
/// into all over, and in a virtual machine the way from an address to a small page is longer than the one to the memory
/// itself. Few pages are also soon there.
pub fn large<T>(count: usize) -> Vec<T> {
    let bytes = count.saturating_mul(size_of::<T>());
    if bytes < LARGE {
        return Vec::with_capacity(count);
    }
    // Together with what malloc adds so many large pages: only a mapping of those begins where one does.
    let room = bytes.saturating_add(PAGE).next_multiple_of(LARGE).saturating_sub(PAGE);
    let memory: Vec<T> = Vec::with_capacity(room.checked_div(size_of::<T>()).unwrap_or(count));
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_ptr().addr() & PAGE.wrapping_neg();
        // SAFETY: advice about pages; what is in them stays what it is, whosever it is.
        unsafe {
            libc::madvise(
                memory.as_ptr().with_addr(start).cast_mut().cast(),
                bytes & LARGE.wrapping_neg(),
                libc::MADV_HUGEPAGE,
            )
        };
    }
    memory
}
