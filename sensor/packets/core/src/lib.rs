//! The native engine. `docs/engine.md` says what it does; `sensor/packets/portable/` is its readable form.

#![cfg_attr(not(feature = "python"), allow(dead_code))]

#[cfg(target_os = "linux")]
mod ahead;
mod block;
mod bytes;
mod capture;
mod clear;
mod count;
mod dns;
mod duplicates;
mod engine;
#[cfg(target_os = "linux")]
mod evidence;
mod facts;
mod flight;
mod flow;
mod fragments;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gzip;
mod hash;
mod http;
mod initial;
mod ip;
mod link;
#[cfg(target_os = "linux")]
mod live;
mod lives;
mod memory;
#[cfg(target_os = "linux")]
mod merge;
mod messages;
mod names;
mod peek;
#[cfg(feature = "python")]
mod python;
#[cfg(all(feature = "python", target_os = "linux"))]
mod python_live;
mod quic;
mod read;
mod records;
#[cfg(target_os = "linux")]
mod ring;
mod socks;
mod source;
mod stream;
mod table;
mod tags;
mod tls;
mod totals;
mod tunnel;
mod upgrade;
mod walk;
mod watch;
mod wheel;
mod wire;
mod wlan;
mod zstd;

/// `sensor._core`.
#[cfg(feature = "python")]
#[pyo3::pymodule]
mod _core {
    /// Of which aiscope: `sensor.packets.engine` takes no other's.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    use crate::python::{Engine, Facts};
    #[cfg(target_os = "linux")]
    #[pymodule_export]
    use crate::python_live::Live;
}
