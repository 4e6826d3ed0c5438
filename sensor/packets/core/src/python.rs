//! The Python module `sensor._core`: frames and settings in, facts out as instances of `sensor.packets.facts`.

use crate::engine::{Core, Limits};
use crate::facts::{Address, Clear, Fact, Flow, Message, Opened, Progress, Totals, mac_text, tunnel_text};
use crate::read::{Reader, Shared, lock};
use crate::walk::Failure;
use crate::watch::Watch;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

struct Classes {
    flow: Py<PyAny>,
    opened: Py<PyAny>,
    burst: Py<PyAny>,
    progress: Py<PyAny>,
    message: Py<PyAny>,
    clear: Py<PyAny>,
    totals: Py<PyAny>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    CLASSES.get_or_try_init(py, || {
        let module = py.import("sensor.packets.facts")?;
        let class = |name: &str| module.getattr(name).map(Bound::unbind);
        Ok(Classes {
            flow: class("Flow")?,
            opened: class("Opened")?,
            burst: class("Burst")?,
            progress: class("Progress")?,
            message: class("Message")?,
            clear: class("Clear")?,
            totals: class("Totals")?,
        })
    })
}

fn parse_ip(text: &str) -> PyResult<Address> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Ok(Address::v4(ip.octets())),
        Ok(IpAddr::V6(ip)) => Ok(Address::v6(ip.octets())),
        Err(_) => Err(PyValueError::new_err(format!("not an address: {text:?}"))),
    }
}

fn strings(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<String>> {
    object.getattr(name)?.try_iter()?.map(|item| item?.extract()).collect()
}

pub fn watch(object: &Bound<'_, PyAny>) -> PyResult<Watch> {
    let mut watch = Watch {
        paths: strings(object, "paths")?.into_iter().map(String::into_bytes).collect(),
        ports: object.getattr("ports")?.try_iter()?.map(|port| port?.extract()).collect::<PyResult<_>>()?,
        fronts: strings(object, "fronts")?.into_iter().collect(),
        all: object.getattr("all")?.is_truthy()?,
        ..Watch::default()
    };
    let (names, patterns) = (strings(object, "names")?, strings(object, "patterns")?);
    watch.http =
        !(watch.paths.is_empty() && watch.ports.is_empty() && names.is_empty() && patterns.is_empty());
    names.into_iter().for_each(|name| watch.add_name(name));
    patterns.iter().for_each(|pattern| watch.add_pattern(pattern));
    strings(object, "resolvers")?.into_iter().for_each(|name| watch.add_resolver(name));
    for text in strings(object, "resolver_ips")? {
        watch.resolver_ips.insert(parse_ip(&text)?);
    }
    for text in strings(object, "networks")? {
        let wrong = || PyValueError::new_err(format!("not a network: {text:?}"));
        let (host, prefix) =
            text.split_once('/').map_or((text.as_str(), None), |(host, bits)| (host, Some(bits)));
        let address = parse_ip(host)?;
        let most = if address.v6 { 128 } else { 32 };
        let prefix = prefix.map_or(Ok(most), str::parse::<u32>).map_err(|_| wrong())?;
        if prefix > most {
            return Err(wrong());
        }
        watch.networks.add(address, prefix);
    }
    Ok(watch)
}

pub fn limits(object: &Bound<'_, PyAny>) -> PyResult<Limits> {
    let size = |name: &str| -> PyResult<usize> { object.getattr(name)?.extract() };
    let time = |name: &str| -> PyResult<i64> { object.getattr(name)?.extract() };
    Ok(Limits {
        flows: size("flows")?.clamp(1, 1 << 31),
        held: size("held")?,
        first_flight: size("first_flight")?,
        server_bytes: size("server_bytes")?,
        segments: size("segments")?,
        waiting: size("waiting")?,
        datagrams: size("datagrams")?,
        fragments: size("fragments")?,
        fragment_ns: time("fragment_ns")?,
        tunnels: size("tunnels")?,
        names: size("names")?,
        name_min_ns: time("name_min_ns")?,
        name_max_ns: time("name_max_ns")?,
        clear_bytes: size("clear_bytes")?,
        http_peeks: size("http_peeks")?,
        slice_ns: time("slice_ns")?,
        totals_ns: time("totals_ns")?,
        sweep_ns: time("sweep_ns")?.max(1),
        tcp_idle_ns: time("tcp_idle_ns")?,
        udp_idle_ns: time("udp_idle_ns")?,
        closed_ns: time("closed_ns")?,
        burst_gap_ns: time("burst_gap_ns")?,
        bursts: size("bursts")?,
        duplicate_ns: time("duplicate_ns")?,
    })
}

/// The native twin of `sensor.packets.portable`.
#[pyclass(module = "sensor._core")]
pub struct Engine {
    core: Shared,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(watch: &Bound<'_, PyAny>, limits: &Bound<'_, PyAny>) -> PyResult<Self> {
        let core = Core::new(self::watch(watch)?, self::limits(limits)?);
        Ok(Self { core: Arc::new(Mutex::new(core)) })
    }

    fn feed<'py>(&self, py: Python<'py>, frames: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let mut batch: Vec<(i64, u32, PyBackedBytes, u32)> = Vec::with_capacity(frames.len()?);
        for frame in frames.try_iter()? {
            let frame = frame?;
            let length: usize = frame.getattr("length")?.extract()?;
            batch.push((
                frame.getattr("time")?.extract()?,
                frame.getattr("link")?.extract()?,
                frame.getattr("data")?.extract()?,
                u32::try_from(length).unwrap_or(u32::MAX),
            ));
        }
        // Only lent: giving objects back without the interpreter's lock costs another one each.
        let batch = &batch;
        let facts = py.detach(move || {
            let mut core = lock(&self.core);
            let frames = batch.iter().map(|(time, link, data, length)| (*time, *link, &**data, *length));
            core.feed(frames);
            core.take_facts()
        });
        convert(py, facts)
    }

    /// Time goes on without a frame.
    fn tick<'py>(&self, py: Python<'py>, time: i64) -> PyResult<Bound<'py, PyList>> {
        let facts = py.detach(|| {
            let mut core = lock(&self.core);
            core.tick(time);
            core.take_facts()
        });
        convert(py, facts)
    }

    /// Watches something else from the next frame on.
    fn look(&self, py: Python<'_>, watch: &Bound<'_, PyAny>) -> PyResult<()> {
        let watch = self::watch(watch)?;
        py.detach(|| lock(&self.core).flights.watch = watch);
        Ok(())
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let facts = py.detach(|| {
            let mut core = lock(&self.core);
            core.finish();
            core.take_facts()
        });
        convert(py, facts)
    }

    /// The facts of a capture file, in lists; `finish` is for the caller. With two `workers`, or more, a thread
    /// counts ahead: the same facts, sooner.
    #[pyo3(signature = (path, workers=1))]
    fn read(&self, py: Python<'_>, path: PathBuf, workers: usize) -> PyResult<Facts> {
        let name = path.display().to_string();
        match py.detach(|| Reader::open(&path, workers, Arc::clone(&self.core))) {
            Ok(reader) => Ok(Facts { reader: Some(Mutex::new(reader)), failure: None, name, position: 0 }),
            Err(failure) => Err(raise(py, &name, failure)),
        }
    }
}

/// Iterator over the facts of a file.
#[pyclass(module = "sensor._core")]
pub struct Facts {
    reader: Option<Mutex<Reader>>,
    /// To be told when the facts before it were.
    failure: Option<Failure>,
    name: String,
    /// Bytes of the file on disk read so far.
    #[pyo3(get)]
    position: u64,
}

#[pymethods]
impl Facts {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        if let Some(failure) = self.failure.take() {
            return Err(raise(py, &self.name, failure));
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let reader = reader.get_mut().unwrap_or_else(PoisonError::into_inner);
        let batch = py.detach(|| reader.next());
        self.position = batch.position;
        if let Some(end) = batch.end {
            self.reader = None;
            self.failure = end.err();
        }
        convert(py, batch.facts).map(Some)
    }
}

fn raise(py: Python<'_>, name: &str, failure: Failure) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let module = py.import("sensor.packets.capture")?;
        let error = match failure {
            Failure::NotACapture(reason) => {
                module.getattr("NotACapture")?.call1((format!("{name}: {reason}"),))?
            }
            Failure::Damaged(offset, reason) => module.getattr("Damaged")?.call1((name, offset, reason))?,
            Failure::Io(error) => {
                return Ok(match error.raw_os_error() {
                    Some(_) => error.into(),
                    None => PyOSError::new_err(format!("{name}: {error}")),
                });
            }
        };
        Ok(PyErr::from_value(error))
    };
    build().unwrap_or_else(|error| error)
}

/// One list of facts on its way to Python. Facts of a flow come close together: its `Flow` is built once.
struct Converter<'py> {
    py: Python<'py>,
    classes: &'py Classes,
    flow: Option<(Arc<Flow>, Bound<'py, PyAny>)>,
}

pub fn convert(py: Python<'_>, facts: Vec<Fact>) -> PyResult<Bound<'_, PyList>> {
    let mut converter = Converter { py, classes: classes(py)?, flow: None };
    let list = PyList::empty(py);
    for fact in facts {
        list.append(converter.fact(fact)?)?;
    }
    Ok(list)
}

impl<'py> Converter<'py> {
    fn fact(&mut self, fact: Fact) -> PyResult<Bound<'py, PyAny>> {
        match fact {
            Fact::Opened(opened) => self.opened(&opened),
            Fact::Progress(progress) => self.progress(&progress),
            Fact::Message(message) => self.message(&message),
            Fact::Clear(clear) => self.clear(&clear),
            Fact::Totals(totals) => self.totals(&totals),
        }
    }

    fn flow(&mut self, flow: &Arc<Flow>) -> PyResult<Bound<'py, PyAny>> {
        if let Some((known, object)) = &self.flow {
            if Arc::ptr_eq(known, flow) {
                return Ok(object.clone());
            }
        }
        let object = self.classes.flow.bind(self.py).call1((
            flow.id,
            flow.transport.text(),
            flow.client.address.text(),
            flow.client.port,
            flow.server.address.text(),
            flow.server.port,
            mac_text(flow.mac),
            flow.vlan,
            tunnel_text(&flow.tunnels),
        ))?;
        self.flow = Some((Arc::clone(flow), object.clone()));
        Ok(object)
    }

    fn opened(&mut self, opened: &Opened) -> PyResult<Bound<'py, PyAny>> {
        let flow = self.flow(&opened.flow)?;
        self.classes.opened.bind(self.py).call1((
            flow,
            opened.time,
            opened.protocol.text(),
            &opened.name,
            opened.source.text(),
            opened.ech.text(),
            PyBytes::new(self.py, &opened.client_bytes),
            PyBytes::new(self.py, &opened.server_bytes),
            opened.quic_version,
            opened.listed,
        ))
    }

    fn progress(&mut self, progress: &Progress) -> PyResult<Bound<'py, PyAny>> {
        let class = self.classes.burst.bind(self.py);
        let bursts: Vec<_> = progress
            .bursts
            .iter()
            .map(|burst| class.call1((burst.up, burst.start, burst.end, burst.bytes, burst.records)))
            .collect::<PyResult<_>>()?;
        let ([up, down], [packets_up, packets_down], [app_up, app_down]) =
            (progress.counters.bytes, progress.counters.packets, progress.counters.app);
        let flow = self.flow(&progress.flow)?;
        self.classes.progress.bind(self.py).call1((
            flow,
            progress.start,
            progress.end,
            up,
            down,
            packets_up,
            packets_down,
            app_up,
            app_down,
            PyTuple::new(self.py, bursts)?,
            PyString::new(self.py, progress.closed.text()),
        ))
    }

    fn message(&self, message: &Message) -> PyResult<Bound<'py, PyAny>> {
        self.classes.message.bind(self.py).call1((
            message.kind.text(),
            message.time,
            message.transport.text(),
            message.src.address.text(),
            message.src.port,
            message.dst.address.text(),
            message.dst.port,
            mac_text(message.mac),
            message.vlan,
            PyBytes::new(self.py, &message.payload),
        ))
    }

    fn clear(&mut self, clear: &Clear) -> PyResult<Bound<'py, PyAny>> {
        let flow = self.flow(&clear.flow)?;
        let data = PyBytes::new(self.py, &clear.data);
        self.classes.clear.bind(self.py).call1((flow, clear.up, clear.time, clear.gap, data))
    }

    fn totals(&self, totals: &Totals) -> PyResult<Bound<'py, PyAny>> {
        let dict = |pairs: &[(&'static str, i64)]| -> PyResult<Bound<'py, PyDict>> {
            let dict = PyDict::new(self.py);
            for (name, value) in pairs {
                dict.set_item(name, value)?;
            }
            Ok(dict)
        };
        self.classes.totals.bind(self.py).call1((
            totals.start,
            totals.end,
            dict(&totals.bytes)?,
            dict(&totals.counters)?,
        ))
    }
}
