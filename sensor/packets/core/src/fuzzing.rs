//! The door for `fuzz/`: bytes become settings and frames.

use crate::capture::{Format, Step};
use crate::engine::{Core, Limits};
use crate::facts::Address;
use crate::watch::Watch;

const SECOND: i64 = 1_000_000_000;
const LINKS: [u32; 8] = [1, 1, 127, 101, 113, 239, 276, 258];

fn limits(small: bool) -> Limits {
    Limits {
        flows: if small { 4 } else { 1_000 },
        held: if small { 2 } else { 100 },
        first_flight: if small { 700 } else { 16_384 },
        server_bytes: if small { 100 } else { 4_096 },
        segments: if small { 2 } else { 64 },
        waiting: if small { 200 } else { 64 << 20 },
        datagrams: if small { 2 } else { 16 },
        fragments: if small { 1 } else { 100 },
        fragment_ns: 30 * SECOND,
        tunnels: if small { 1 } else { 8 },
        names: if small { 2 } else { 1_000 },
        name_min_ns: SECOND,
        name_max_ns: 86_400 * SECOND,
        clear_bytes: if small { 90 } else { 8 << 20 },
        http_peeks: if small { 1 } else { 16 },
        slice_ns: 3 * SECOND,
        totals_ns: 5 * SECOND,
        sweep_ns: SECOND,
        tcp_idle_ns: 300 * SECOND,
        udp_idle_ns: 120 * SECOND,
        closed_ns: 5 * SECOND,
        burst_gap_ns: SECOND,
        bursts: if small { 2 } else { 512 },
        duplicate_ns: 2_000_000,
    }
}

fn watch(all: bool) -> Watch {
    let names = ["openai.com", "local"].map(str::to_owned);
    let mut watch = Watch { all, http: true, ports: [11_434].into_iter().collect(), ..Watch::default() };
    names.into_iter().for_each(|name| watch.add_name(name));
    watch.paths.push(b"/api/".to_vec());
    watch.fronts.insert("cloudflare-ech.com".to_owned());
    watch.add_pattern("*.exam*.net");
    watch.networks.add(Address::v4([192, 0, 2, 0]), 24);
    watch
}

/// The first byte chooses the settings; then a capture file, or frames behind their time, link and length.
pub fn feed(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let mut core = Core::new(watch(choice & 1 != 0), limits(choice & 2 != 0));
    if let Some((mut format, mut at)) = Format::detect(rest) {
        loop {
            match format.step(rest, at) {
                Step::Frame(record) => {
                    let bytes = rest.get(record.start..record.end).unwrap_or_default();
                    core.feed([(record.time, record.link, bytes, record.length)].into_iter());
                    at = record.next;
                }
                Step::Skip(next) => at = next,
                Step::More(_) | Step::Damaged(_) => break,
            }
        }
    } else {
        frames(&mut core, rest);
    }
    core.finish();
}

fn frames(core: &mut Core, mut rest: &[u8]) {
    let mut time = 0_i64;
    while let Some((&[later, link, high, low], tail)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high & 7, low])).min(tail.len());
        let Some((frame, tail)) = tail.split_at_checked(length) else { return };
        let wire = u32::try_from(length).unwrap_or_default();
        let link = LINKS.get(usize::from(link) % LINKS.len()).copied().unwrap_or_default();
        // Mostly milliseconds, sometimes a minute.
        let step = if later > 250 { 60 * SECOND } else { i64::from(later).wrapping_mul(1_000_000) };
        time = time.wrapping_add(step);
        core.feed([(time, link, frame, wire)].into_iter());
        rest = tail;
    }
}
