//! The only unsafe code that reading a capture needs: what is asked of the processor and the kernel about memory.
#![allow(unsafe_code)]

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a large page, of those processors that have them.
#[cfg(target_os = "linux")]
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

/// Asks for large pages behind a vector's memory, used or not: a table of flows is looked into all over, and in a
/// virtual machine the way from an address to a small page is longer than the one to the memory itself.
pub fn large_pages<T>(memory: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_ptr().addr().next_multiple_of(LARGE);
        let end = memory.as_ptr().addr().saturating_add(memory.capacity().saturating_mul(size_of::<T>()));
        let size = (end / LARGE).saturating_mul(LARGE).saturating_sub(start);
        if size > 0 {
            let first = memory.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: advice about whole pages of one live allocation; their content stays what it is.
            unsafe { libc::madvise(first, size, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
