//! The native engine. `docs/engine.md` says what it does; `sensor/packets/portable/` is its readable form.

#![cfg_attr(not(feature = "python"), allow(dead_code))]

mod bytes;
mod capture;
mod clear;
mod count;
mod dns;
mod duplicates;
mod engine;
mod facts;
mod flight;
mod flow;
mod fragments;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hash;
mod http;
mod ip;
mod link;
mod lives;
mod memory;
mod messages;
mod names;
mod peek;
#[cfg(feature = "python")]
mod python;
mod quic;
mod read;
mod records;
mod socks;
mod source;
mod stream;
mod table;
mod tls;
mod totals;
mod tunnel;
mod upgrade;
mod watch;
mod wheel;
mod wire;

/// `sensor._core`.
#[cfg(feature = "python")]
#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::python::{Engine, Facts};
}
