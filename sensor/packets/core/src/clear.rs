//! HTTP in clear of watched flows, passed on in order: docs/engine.md 4.

use crate::bytes::upto;
use crate::facts::{Clear, Fact};
use crate::flight::Flights;
use crate::flow::{Flow, other};
use crate::stream::Stream;
use crate::table::{Key, Side};
use crate::totals::Count;

impl Flights {
    /// Passes on what the first flights hold; from here on streams keep nothing.
    pub fn begin_clear(&mut self, key: &Key, flow: &mut Flow) {
        for side in [flow.client, other(flow.client)] {
            let Some(live) = &mut flow.live else { return };
            if let Some(stream) = &mut live.halves.of_mut(side).stream {
                stream.keep = false;
                let kept = std::mem::take(&mut stream.kept);
                self.waiting = self.waiting.saturating_add(stream.weight());
                self.emit(key, flow, side, 0, &kept);
                self.skip_gaps(key, flow, side, self.limits.segments);
            }
        }
    }

    pub fn clear(&mut self, key: &Key, flow: &mut Flow, side: Side, seq: u32, payload: &[u8]) {
        let segments = self.limits.segments;
        let Some(live) = &mut flow.live else { return };
        let half = live.halves.of_mut(side);
        let origin = half.origin;
        let stream = half.stream.get_or_insert_with(|| {
            let mut stream = Stream::new(0, segments, origin);
            stream.keep = false;
            Box::new(stream)
        });
        let before = stream.weight();
        let data = stream.push(seq, payload);
        self.waiting = self.waiting.saturating_add(stream.weight()).saturating_sub(before);
        self.emit(key, flow, side, 0, &data);
        self.skip_gaps(key, flow, side, segments);
    }

    /// Whatever is ahead of gaps that nothing will close any more.
    pub fn finish_clear(&mut self, key: &Key, flow: &mut Flow) {
        for side in [flow.client, other(flow.client)] {
            self.skip_gaps(key, flow, side, 0);
        }
    }

    /// Gives up gaps that more than `most` pieces wait behind, or any while too much waits.
    fn skip_gaps(&mut self, key: &Key, flow: &mut Flow, side: Side, most: usize) {
        loop {
            let Some(live) = &mut flow.live else { return };
            let Some(stream) = &mut live.halves.of_mut(side).stream else { return };
            let full = self.waiting > self.limits.waiting;
            if stream.held.is_empty() || (stream.held.len() <= most && !full) {
                return;
            }
            let before = stream.weight();
            let (gap, data) = stream.skip();
            self.waiting = self.waiting.saturating_add(stream.weight()).saturating_sub(before);
            self.emit(key, flow, side, gap, &data);
        }
    }

    fn emit(&mut self, key: &Key, flow: &mut Flow, side: Side, gap: u32, data: &[u8]) {
        let Some(live) = &mut flow.live else { return };
        if data.is_empty() {
            return;
        }
        let room = self.limits.clear_bytes.saturating_sub(live.halves.of(side).clear);
        if data.len() > room && !live.capped {
            live.capped = true;
            self.tally.count(Count::ClearCapped, 1);
        }
        let half = live.halves.of_mut(side);
        half.clear = half.clear.saturating_add(data.len());
        if room > 0 {
            let fact = live.describe(flow.id, key, flow.client);
            let up = side == flow.client;
            let data = upto(data, room).to_vec();
            self.out.push(Fact::Clear(Box::new(Clear {
                flow: fact,
                up,
                time: flow.last,
                gap: gap.into(),
                data,
            })));
        }
    }
}
