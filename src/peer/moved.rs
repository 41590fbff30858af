//! Moved output: the output of a peer as another process continues it.

use crate::config::SlowReader;
use crate::metrics::counters::MetricsDelta;
use crate::peer::byte_sink::ByteSink;
use crate::peer::output_buffer::{MovedBuffer, OutputBuffer};
use crate::peer::route::Route;
use crate::peer::{Peer, PeerId};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// The output of a peer, without its socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MovedOutput {
    limit: u32,
    slow_reader: SlowReader,
    route: Route,
    ids_numbering: u32,
    lines_out: u64,
    /// The output that waits to be written.
    buffer: Option<MovedBuffer>,
}

impl<S: ByteSink> Peer<S> {
    /// Returns the output as it is now, with a copy of what waits; `None` if the write lock is taken. Afterwards nothing may
    /// be written unless the peer stays in this process.
    pub(crate) fn export_output(&self, metrics: &mut MetricsDelta) -> Option<MovedOutput> {
        let buffer = self.with_buffer(metrics, |state| state.as_ref().map(|buffer| buffer.export()))?;
        let lines_out = self.lines_out.load(Ordering::Relaxed);
        Some(MovedOutput {
            limit: self.limit,
            slow_reader: self.slow_reader,
            route: self.route(),
            ids_numbering: self.ids_numbering(),
            lines_out,
            buffer,
        })
    }

    /// Returns a peer that goes on with the output of another process, on `sink`.
    pub(crate) fn import(id: PeerId, output: MovedOutput, sink: S) -> Self {
        let MovedOutput { limit, slow_reader, route, ids_numbering, lines_out, buffer } = output;
        let mut peer = Self::new(id, limit as usize, slow_reader, sink);
        peer.route.set(route);
        peer.set_ids_numbering(ids_numbering);
        *peer.lines_out.get_mut() = lines_out;
        if let Some(buffer) = buffer {
            let buffer = OutputBuffer::import(buffer, peer.settings(), peer.sink.memory());
            // No other thread knows the peer, so the lock is free.
            let _ = peer.write_lock.try_with(|_, _| (), |state| *state = Some(Box::new(buffer)));
        }
        peer
    }
}
