//! `sensor._core.Live`: live capture for Python.

use crate::engine::Core;
use crate::live::{Capture, Options};
use crate::python::{convert, limits, watch};
use crate::ring::Instruction;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Interfaces being watched by native engines.
#[pyclass(module = "sensor._core")]
pub struct Live {
    capture: Capture,
}

#[pymethods]
impl Live {
    #[new]
    #[pyo3(signature = (interfaces, watch, limits, *, workers, ring, promiscuous, filters, evidence))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        interfaces: Vec<String>,
        watch: &Bound<'_, PyAny>,
        limits: &Bound<'_, PyAny>,
        workers: usize,
        ring: usize,
        promiscuous: bool,
        filters: Vec<Vec<Instruction>>,
        evidence: usize,
    ) -> PyResult<Self> {
        let core = || Ok(Core::new(self::watch(watch)?, self::limits(limits)?));
        let cores = (0..workers.max(1)).map(|_| core()).collect::<PyResult<_>>()?;
        let capture = Capture::open(Options { interfaces, ring, promiscuous, filters, evidence }, cores);
        let capture = capture.map_err(|(interface, error)| match error.raw_os_error() {
            Some(code) => PyOSError::new_err((code, words(&error.to_string()), interface)),
            None => PyOSError::new_err(format!("{interface}: {error}")),
        })?;
        Ok(Self { capture })
    }

    fn start(&mut self) -> PyResult<()> {
        Ok(self.capture.start()?)
    }

    /// Facts, once there are some or `timeout` seconds are over. None: it was stopped, and all was said.
    fn facts<'py>(&mut self, py: Python<'py>, timeout: f64) -> PyResult<Option<Bound<'py, PyList>>> {
        let shared = &self.capture.shared;
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        let Some(facts) = py.detach(|| shared.facts(timeout)) else {
            let broken = py.detach(|| self.capture.join());
            return if broken {
                Err(PyRuntimeError::new_err("a capture thread broke down"))
            } else {
                Ok(None)
            };
        };
        convert(py, facts).map(Some)
    }

    /// Watches something else from now on.
    fn look(&self, watch: &Bound<'_, PyAny>) -> PyResult<()> {
        let shared = &self.capture.shared;
        shared.look((0..shared.workers()).map(|_| self::watch(watch)).collect::<PyResult<_>>()?);
        Ok(())
    }

    fn stop(&self) {
        self.capture.shared.stop();
    }

    /// Packets per interface since the start: received, and of those dropped by the kernel.
    fn counts(&self) -> Vec<(u64, u64)> {
        let count = |seen: &crate::live::Seen| {
            (seen.received.load(Ordering::Relaxed), seen.dropped.load(Ordering::Relaxed))
        };
        self.capture.shared.seen.iter().map(count).collect()
    }

    /// First packets of watched flows since the last call, and how many more there were.
    fn kept<'py>(&self, py: Python<'py>) -> PyResult<(Vec<Bound<'py, PyAny>>, u64)> {
        let (kept, missed) = self.capture.shared.kept();
        if kept.is_empty() {
            return Ok((Vec::new(), missed));
        }
        let class = py.import("sensor.packets.evidence")?.getattr("Kept")?;
        let frames = py.import("sensor.packets.facts")?.getattr("Frame")?;
        let packets = kept.iter().map(|one| {
            let [from, to] = one.ends;
            let frame = frames.call1((one.time, one.link, PyBytes::new(py, &one.data), one.length))?;
            let (from, to) = ((from.address.text(), from.port), (to.address.text(), to.port));
            class.call1((one.transport.text(), from.0, from.1, to.0, to.1, frame))
        });
        Ok((packets.collect::<PyResult<_>>()?, missed))
    }

    /// What went wrong with the sockets since the last call.
    fn troubles(&self) -> Vec<String> {
        self.capture.shared.troubles().iter().map(|text| words(text)).collect()
    }
}

/// What the standard library says of an error, without the number.
fn words(text: &str) -> String {
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
