//! DNS over TCP, message by message.

use crate::dns::TcpMessages;
use crate::stream::Stream;

/// One direction of a connection on port 53. Ends at the first byte that is lost or is no DNS.
pub struct DnsStream {
    stream: Option<Stream>,
    messages: TcpMessages,
    segments: usize,
}

impl DnsStream {
    pub fn new(segments: usize, origin: Option<u32>) -> Self {
        let mut stream = Stream::new(0, segments, origin);
        stream.keep = false;
        Self { stream: Some(stream), messages: TcpMessages::default(), segments }
    }

    /// The messages that this segment made whole.
    pub fn feed(&mut self, seq: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let fresh = stream.push(seq, payload);
        if stream.held.len() <= self.segments {
            if fresh.is_empty() {
                return Vec::new();
            }
            if let Ok(messages) = self.messages.feed(&fresh) {
                return messages;
            }
        }
        self.stream = None;
        Vec::new()
    }
}
