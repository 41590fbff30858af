//! A peer: one member's socket as a room sees it, with the turn to write to it and its buffer.

mod atomic_slot;
mod deferred_list;
pub mod events;
pub mod line_batch;
pub mod output_buffer;
mod write_lock;

use crate::config::SlowReader;
use crate::metrics::counters::MetricsDelta;
use crate::peer::events::{EventMailbox, PeerEvents};
use crate::peer::line_batch::{AtomicRoute, EncodedBatch, LineBatch, Route};
use crate::peer::output_buffer::{ByteSink, DrainStatus, OutputBuffer, OutputSettings};
use crate::peer::write_lock::{LockState, WriteLock};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;

/// One connection's number, never used twice in a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(pub u64);

impl PeerId {
    /// A number of its own that is not zero, so that having none takes no room.
    pub(crate) fn non_zero(self) -> Option<NonZeroU64> {
        // No server sees 2^64 connections.
        NonZeroU64::new(self.0.wrapping_add(1))
    }
}

/// One connection, as rooms and its own task share it.
///
/// The sink comes last and may be unsized: rooms hold an `Arc<Peer>` of any sink, the
/// connection an `Arc<Peer<TcpStream>>` of the same allocation.
pub struct Peer<O: ?Sized = dyn ByteSink> {
    id: PeerId,
    /// What happens to lines beyond the backlog's limit.
    slow_reader: SlowReader,
    /// The route in which it gets its lines.
    route: AtomicRoute,
    /// The bound of what others may leave while one holds the turn, in bytes: the backlog's own.
    limit: usize,
    /// What the connection's task is to look at.
    events: EventMailbox,
    /// Who may write now, and the buffer, if anything waits in it.
    write_lock: WriteLock<OutputBuffer, LineBatch>,
    /// Lines that went out and that no buffer counts (any more). Who has the turn alone changes
    /// it, and the turn's swaps order the changes: relaxed.
    lines_out: AtomicU64,
    /// Where the bytes go.
    sink: O,
}

impl<O: ByteSink> Peer<O> {
    /// A peer whose backlog holds at most `limit` bytes of lines.
    pub fn new(id: PeerId, limit: usize, slow_reader: SlowReader, sink: O) -> Self {
        let (events, write_lock) = (EventMailbox::default(), WriteLock::new());
        let route = AtomicRoute::default();
        Self { id, slow_reader, route, limit, events, write_lock, lines_out: AtomicU64::new(0), sink }
    }

    /// Where the bytes go.
    pub fn sink(&self) -> &O {
        &self.sink
    }
}

impl<O: ByteSink + ?Sized> Peer<O> {
    /// The connection's number.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The route in which it gets its lines.
    pub fn route(&self) -> Route {
        self.route.get()
    }

    /// Gives lines another route from now on. Called by its connection.
    pub(crate) fn set_route(&self, route: Route) {
        self.route.set(route);
    }

    fn settings(&self) -> OutputSettings {
        OutputSettings { limit: self.limit, route: self.route() }
    }

    /// Hands `batch` to the socket, or to the backlog, in the peer's route; never waits.
    pub(crate) fn deliver_batch(&self, batch: &EncodedBatch, metrics: &mut MetricsDelta) {
        self.deliver(batch.whole(self.route()), metrics);
    }

    /// Hands `batch` to the socket, or to the backlog; never waits. Called by delivery passes.
    pub fn deliver(&self, batch: &LineBatch, metrics: &mut MetricsDelta) {
        metrics.deliveries += batch.lines;
        self.write_lock.apply_or_defer(batch, self.limit, |buffer, batch| self.put(buffer, batch, metrics));
    }

    /// Tells the connection something; wakes its task.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        metrics.wakes += u64::from(self.events.raise(events));
    }

    /// What the connection was told; wakes the task of `context` for what comes later.
    pub(crate) fn take_events(&self, context: &Context<'_>) -> PeerEvents {
        self.events.take(context)
    }

    /// Says `text`, and `raw` bytes behind it, to this peer alone, behind all that it is owed. Called
    /// by its connection, which has to drain afterwards; false if the turn is taken and it has to try
    /// again.
    pub(crate) fn answer(&self, text: &[u8], raw: &[u8], metrics: &mut MetricsDelta) -> bool {
        let answered = self.work(metrics, |buffer| {
            let buffer = buffer.get_or_insert_with(|| Box::new(OutputBuffer::new(self.settings())));
            buffer.answer(text, raw, self.settings());
        });
        answered.is_some()
    }

    /// Takes lines of the backlog instead of writing them: as many as `most` bytes hold, but one at
    /// least. For [`Route::Buffered`]; `None` if the turn is taken: try again.
    pub(crate) fn take(&self, most: usize, lines: &mut Vec<u8>, metrics: &mut MetricsDelta) -> Option<()> {
        self.work(metrics, |state| {
            if let Some(buffer) = state {
                buffer.take(most, lines);
                self.release_if_empty(state);
            }
        })
    }

    /// Gives lines another route if nothing waits that has the old one; false if something does, or
    /// the turn is taken.
    pub(crate) fn change_route(&self, route: Route, metrics: &mut MetricsDelta) -> bool {
        let change = |buffer: &mut LockState<OutputBuffer>| buffer.is_none().then(|| self.route.set(route));
        self.work(metrics, change).flatten().is_some()
    }

    /// Writes one stretch of the backlog; `None` if the turn is taken: try again.
    pub(crate) fn drain(&self, metrics: &mut MetricsDelta) -> Option<DrainStatus> {
        let drained = self.work(metrics, |state| {
            let Some(buffer) = state else {
                return DrainStatus::Empty;
            };
            let drained = buffer.drain(&self.sink);
            self.release_if_empty(state);
            drained
        });
        metrics.writes += u64::from(matches!(drained, Some(DrainStatus::Progress(_) | DrainStatus::Blocked)));
        drained
    }

    /// Takes no line any more; lines that were written so far, `None` if the turn is taken.
    pub(crate) fn close(&self, metrics: &mut MetricsDelta) -> Option<u64> {
        self.work(metrics, |buffer| {
            let buffer = buffer.get_or_insert_with(|| Box::new(OutputBuffer::new(self.settings())));
            buffer.close();
            self.lines_out.load(Ordering::Relaxed) + buffer.lines_out()
        })
    }

    /// Frees an buffer in which nothing waits, unless it has to remember that it is closed.
    fn release_if_empty(&self, state: &mut LockState<OutputBuffer>) {
        if let Some(buffer) = state.take_if(|buffer| buffer.is_disposable()) {
            self.count(buffer.lines_out());
        }
    }

    fn work<R>(&self, metrics: &mut MetricsDelta, work: impl FnOnce(&mut LockState<OutputBuffer>) -> R) -> Option<R> {
        self.write_lock.try_with(|buffer, batch| self.put(buffer, batch, metrics), work)
    }

    /// Takes a batch in; counts what that did, and tells the connection what it has to do about it.
    fn put(&self, buffer: &mut LockState<OutputBuffer>, batch: &LineBatch, metrics: &mut MetricsDelta) {
        let settings = self.settings();
        let put = if batch.cr_lf == (settings.route == Route::DirectCrLf) {
            output_buffer::put(buffer, batch, settings, &self.sink)
        } else {
            // It was laid out before the route changed.
            output_buffer::put(buffer, &batch.encoded_for(settings.route), settings, &self.sink)
        };
        self.count(put.lines);
        metrics.writes += put.writes;
        metrics.would_blocks += u64::from(put.blocked);
        if put.blocked {
            self.raise(PeerEvents::OUTPUT_BLOCKED, metrics);
        }
        if put.skipped && self.slow_reader == SlowReader::Kick {
            self.raise(PeerEvents::TOO_SLOW, metrics);
        }
        if put.failed {
            self.raise(PeerEvents::WRITE_FAILED, metrics);
        }
    }

    /// Counts lines that went out. Only for who has the turn.
    fn count(&self, lines: u64) {
        self.lines_out.store(self.lines_out.load(Ordering::Relaxed) + lines, Ordering::Relaxed);
    }
}

impl<O: ?Sized> fmt::Debug for Peer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}
