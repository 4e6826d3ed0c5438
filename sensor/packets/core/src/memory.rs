//! The only unsafe code of the crate: mapping a file and asking for memory ahead of its use.
#![allow(unsafe_code)]

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;

/// Maps `length` bytes of `file` at `offset`, which must be a multiple of the page size.
pub fn map(file: &File, offset: u64, length: usize) -> io::Result<Mmap> {
    // SAFETY: the mapping is private to us and read-only. Another process can still change the file beneath it.
    // Nothing here relies on a byte reading the same twice: every length is read once into a local before it
    // is checked and used, and slices are bounds-checked against the mapping, never against the file's content. `Mapped`
    // asks for the file's length before each window, so that a file cut short ends there. One that is cut short
    // within the window being read ends the process with SIGBUS, as with any mapped file; docs/engine.md says so.
    unsafe { MmapOptions::new().offset(offset).len(length).map(file) }
}

/// Asks the processor to fetch the cache line of `bytes[at]`; nothing happens beyond the end.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = slice.get(at) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect a program can see and faults on no address; this one is valid anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, at);
}
