//! Frames of any bytes at any time, under small limits. Nothing may panic, overflow or grow without bound.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| _core::fuzzing::feed(data));
