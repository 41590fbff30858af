//! Drains: the connection's own task writes what waits for its peer, and registers a backlog that its socket does not take.

use crate::limits::memory::BacklogOwner;
use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::PeerEvents;
use crate::peer::output::{DrainStatus, Encode, Seal};
use crate::peer::output_buffer::OutputBuffer;
use std::sync::{Arc, Weak};

impl<S: ByteSink + 'static> Peer<S> {
    /// Registers the backlog with its memory budget, if something waits: the budget may ask a registered peer to drop its
    /// lines. Called by the connection after [`PeerEvents::OUTPUT_BLOCKED`]. While another thread holds the write lock,
    /// raises that event again.
    pub(crate) fn register_waiting_output(self: &Arc<Self>, metrics: &mut MetricsDelta) {
        let registered = self.with_buffer(metrics, |state| {
            // A peer's own task registers a buffer of its encoded lines when it finds the socket blocked.
            let passes_write = self.route().is_direct();
            if let Some(buffer) = state.as_mut().filter(|buffer| passes_write && !buffer.is_registered()) {
                self.register_backlog(buffer);
            }
        });
        if registered.is_none() {
            self.raise(PeerEvents::OUTPUT_BLOCKED, metrics);
        }
    }

    /// Writes one stretch of what waits; `encode` is asked where passes do not write, and `seal` for all bytes of a peer whose
    /// transport is not plain. Returns how far that came and how many encoded bytes wait; `None` if the lock is taken: try again. Registers the backlog of a peer whose sink
    /// takes nothing with its memory budget.
    pub(crate) fn drain(
        self: &Arc<Self>,
        encode: Option<Encode<'_>>,
        seal: Option<Seal<'_>>,
        metrics: &mut MetricsDelta,
    ) -> Option<(DrainStatus, usize)> {
        let drained = self.with_buffer(metrics, |state| {
            let Some(buffer) = state else {
                return (DrainStatus::Empty, 0);
            };
            let status = buffer.drain(self.route(), encode, seal, &self.sink);
            let encoded = buffer.encoded_len();
            if status == DrainStatus::Blocked && !buffer.is_registered() {
                self.register_backlog(buffer);
            }
            self.release_if_empty(state);
            (status, encoded)
        });
        let wrote = matches!(drained, Some((DrainStatus::Progress(_) | DrainStatus::Blocked, _)));
        metrics.writes += u64::from(wrote);
        drained
    }

    fn register_backlog(self: &Arc<Self>, buffer: &mut OutputBuffer) {
        let owner: Weak<Self> = Arc::downgrade(self);
        if let Some(registration) = buffer.budget().map(|budget| budget.register_backlog(self.id.0, owner)) {
            buffer.set_registration(registration);
        }
    }
}

impl<S: ByteSink> BacklogOwner for Peer<S> {
    fn request_reclaim(&self) {
        self.raise(PeerEvents::RECLAIM, &mut MetricsDelta::default());
    }
}
