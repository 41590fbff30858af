//! Peers: one connection's output as rooms and its own task share it, without a lock that is waited for.
//!
//! The write lock, the output buffer, routes, events and the shared encodings of lines live here. Nothing here
//! knows a room, a protocol or a socket: bytes leave through a [`ByteSink`].

mod atomic_slot;
pub mod byte_sink;
mod deferred_list;
mod drain;
mod event_mailbox;
pub mod events;
pub mod line_batch;
pub(crate) mod line_frames;
pub(crate) mod line_numbers;
mod moved;
mod output;
mod output_buffer;
pub mod route;
mod shared_lines;
pub(crate) mod sync;
mod waiting_output;
mod write_lock;

pub(crate) use moved::MovedOutput;
pub(crate) use output::{DrainStatus, OutputOp, Seal};
use serde::{Deserialize, Serialize};

use crate::config::SlowReader;
use crate::limits::memory::UNBLOCKED_ALLOWANCE;
use crate::metrics::counters::MetricsDelta;
use byte_sink::ByteSink;
use event_mailbox::EventMailbox;
use events::PeerEvents;
use line_batch::{BatchOffset, EncodedBatch, LineBatch};
use output::OutputSettings;
use output_buffer::OutputBuffer;
use route::{AtomicRoute, Route};
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Context;
use write_lock::{LockState, WriteLock};

/// One connection's number, never used twice in a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerId(pub u64);

impl PeerId {
    /// Returns a number of its own that is not zero, so that an `Option` of it is no larger.
    pub(crate) fn non_zero(self) -> Option<NonZeroU64> {
        // No server sees 2^64 connections.
        NonZeroU64::new(self.0.wrapping_add(1))
    }
}

/// One connection, as rooms and its own task share it.
///
/// The sink comes last and may be unsized: rooms hold an `Arc<Peer>` of any sink, the connection an
/// `Arc<Peer<Socket>>` of the same allocation.
pub struct Peer<S: ?Sized = dyn ByteSink> {
    id: PeerId,
    /// The bound of the backlog, and of what is deferred while another thread holds the lock, in bytes. Both are higher
    /// while the peer's own task had no turn: `output_buffer` has the rule.
    limit: u32,
    /// The treatment of lines beyond the backlog's limit.
    slow_reader: SlowReader,
    /// The numbering of a room whose lines the peer gets with numbers; 0 for none. Only the passes of that room store and
    /// compare it, one after the other: relaxed.
    ids_numbering: AtomicU32,
    /// How lines reach the peer. Changed under the write lock.
    route: AtomicRoute,
    /// Whether the peer's last lines were put: its output takes no line any more. Only the holder of the write lock
    /// reads and writes it, and the lock's swaps order that: relaxed.
    lines_ended: AtomicBool,
    /// Events for the connection's task.
    events: EventMailbox,
    /// Serialises all writes; guards the output buffer, which is there only while something waits.
    write_lock: WriteLock<OutputBuffer, LineBatch>,
    /// Lines that went out and that no buffer counts (any more). Only the holder of the write lock changes it, and
    /// the lock's swaps order the changes: relaxed.
    lines_out: AtomicU64,
    /// Where the bytes go.
    sink: S,
}

impl<S: ByteSink> Peer<S> {
    /// Returns a peer whose backlog holds at most `limit` bytes of lines; 4 GiB at the most.
    pub fn new(id: PeerId, limit: usize, slow_reader: SlowReader, sink: S) -> Self {
        Self {
            id,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            slow_reader,
            ids_numbering: AtomicU32::new(0),
            route: AtomicRoute::default(),
            lines_ended: AtomicBool::new(false),
            events: EventMailbox::default(),
            write_lock: WriteLock::new(),
            lines_out: AtomicU64::new(0),
            sink,
        }
    }

    /// Returns where the bytes go.
    pub fn sink(&self) -> &S {
        &self.sink
    }
}

impl<S: ByteSink + ?Sized> Peer<S> {
    /// Returns the treatment of lines beyond the backlog's limit.
    pub(crate) fn slow_reader(&self) -> SlowReader {
        self.slow_reader
    }

    /// Returns the connection's number.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Returns how lines reach the peer.
    pub(crate) fn route(&self) -> Route {
        self.route.get()
    }

    /// Writes a batch to the socket or appends it to the output buffer, encoded for the peer's route. Never waits.
    pub(crate) fn deliver_batch(&self, batch: &EncodedBatch, metrics: &mut MetricsDelta) {
        self.deliver(batch.numbered_for(|| self.ids_numbering()).whole(self.route()), metrics);
    }

    /// Writes a part of a batch as [`Peer::deliver_batch`] does.
    pub(crate) fn deliver_part(
        &self,
        batch: &EncodedBatch,
        from: BatchOffset,
        to: BatchOffset,
        metrics: &mut MetricsDelta,
    ) {
        match batch.numbered_part(|| self.ids_numbering(), from, to) {
            Some(part) => self.deliver(part.whole(self.route()), metrics),
            None => self.deliver(&batch.part(self.route(), from, to), metrics),
        }
    }

    /// Returns the numbering of the room whose lines the peer gets with numbers; 0 for none.
    pub(crate) fn ids_numbering(&self) -> u32 {
        self.ids_numbering.load(Ordering::Relaxed)
    }

    /// Sets the numbering of the room whose lines the peer gets with numbers from now on. Called by that room's pass alone.
    pub(crate) fn set_ids_numbering(&self, numbering: u32) {
        self.ids_numbering.store(numbering, Ordering::Relaxed);
    }

    /// Writes lines to the socket or appends them to the output buffer. Never waits: while another thread holds
    /// the write lock, that thread delivers the lines. Called by delivery passes, and by the connection for replies.
    /// Drops the lines after the peer's last lines, such as a shutdown notice.
    pub fn deliver(&self, batch: &LineBatch, metrics: &mut MetricsDelta) {
        metrics.deliveries += batch.lines();
        self.write_lock.apply_or_defer(batch, self.deferral_limit(), |buffer, batch| self.put(buffer, batch, metrics));
    }

    /// Ends the peer's lines in CR LF from now on, if they end in LF. Called by the connection.
    ///
    /// The change takes no lock: both routes are direct, so a batch that is delivered meanwhile may have either line end, and
    /// what answers the peer comes later.
    pub(crate) fn end_lines_in_cr_lf(&self) {
        if self.route() == Route::DirectLf {
            self.route.set(Route::DirectCrLf);
        }
    }

    /// Charges the peer's address for `deliveries` that its join, leave or rename has caused.
    pub(crate) fn charge_membership_change(&self, deliveries: u32) {
        self.sink.charge_membership_change(deliveries);
    }

    /// Raises events for the connection and wakes its task.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        metrics.wakes += u64::from(self.events.raise(events));
    }

    /// Takes the events that were raised; later ones wake the task of `context`.
    pub(crate) fn take_events(&self, context: &Context<'_>) -> PeerEvents {
        self.events.take(context)
    }

    /// Adds output of the connection's own, in order, and takes it out of `ops`. Called by the connection, which
    /// has to drain afterwards. Returns how many encoded bytes wait; `None` if the lock is taken: try again. Drops
    /// lines after [last lines](EncodedBatch::into_last); encoded and sealed bytes and routes are applied.
    pub(crate) fn apply(&self, ops: &mut VecDeque<OutputOp>, metrics: &mut MetricsDelta) -> Option<usize> {
        let applied = self.with_buffer(metrics, |state| {
            let buffer = state.get_or_insert_with(|| self.new_buffer());
            let lines_ended = self.lines_ended.load(Ordering::Relaxed);
            for op in ops.drain(..).filter(|op| !(lines_ended && op.has_lines())) {
                if let OutputOp::Route(route) = op {
                    self.route.set(route);
                }
                buffer.apply(op);
            }
            let (encoded, skipped) = (buffer.encoded_len(), buffer.take_skipped());
            self.release_if_empty(state);
            (encoded, skipped)
        });
        let (encoded, skipped) = applied?;
        metrics.skipped_lines += skipped;
        Some(encoded)
    }

    /// Returns how many bytes wait to be written; `None` if the lock is taken.
    pub(crate) fn waiting_bytes(&self, metrics: &mut MetricsDelta) -> Option<usize> {
        self.with_buffer(metrics, |state| state.as_ref().map_or(0, |buffer| buffer.waiting_bytes()))
    }

    /// Takes no line any more; returns how many lines were written so far, `None` if the lock is taken.
    pub(crate) fn close(&self, metrics: &mut MetricsDelta) -> Option<u64> {
        self.with_buffer(metrics, |state| {
            let buffer = state.get_or_insert_with(|| self.new_buffer());
            buffer.close();
            self.lines_out.load(Ordering::Relaxed) + buffer.lines_out()
        })
    }

    fn new_buffer(&self) -> Box<OutputBuffer> {
        Box::new(OutputBuffer::new(self.settings(), self.sink.memory()))
    }

    fn settings(&self) -> OutputSettings {
        OutputSettings { limit: self.limit(), allowance: UNBLOCKED_ALLOWANCE, route: self.route() }
    }

    fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Returns the bound of the lines that are deferred while another thread holds the write lock. It is higher than
    /// the backlog's limit on every route: lines that wait for the lock do not show that the peer reads slowly.
    fn deferral_limit(&self) -> usize {
        self.limit() + UNBLOCKED_ALLOWANCE
    }

    /// Frees a buffer in which nothing waits, unless it has to remember that it is closed.
    fn release_if_empty(&self, state: &mut LockState<OutputBuffer>) {
        if let Some(buffer) = state.take_if(|buffer| buffer.is_disposable()) {
            self.count_written(buffer.lines_out());
        }
    }

    /// Works on the buffer if the write lock is free.
    fn with_buffer<R>(
        &self,
        metrics: &mut MetricsDelta,
        work: impl FnOnce(&mut LockState<OutputBuffer>) -> R,
    ) -> Option<R> {
        self.write_lock.try_with(|buffer, batch| self.put(buffer, batch, metrics), work)
    }

    /// Puts a batch into the output; counts what that did, and raises what the connection has to do about it.
    fn put(&self, buffer: &mut LockState<OutputBuffer>, batch: &LineBatch, metrics: &mut MetricsDelta) {
        if self.lines_ended.load(Ordering::Relaxed) {
            return;
        }
        self.lines_ended.store(batch.is_last(), Ordering::Relaxed);
        let settings = self.settings();
        let outcome = if settings.route.is_direct() && batch.direct_bytes(settings.route).is_none() {
            // The batch was chosen before the route changed.
            output_buffer::put(buffer, &batch.encoded_for(settings.route), settings, &self.sink)
        } else {
            output_buffer::put(buffer, batch, settings, &self.sink)
        };
        self.count_written(outcome.lines);
        metrics.writes += outcome.writes;
        metrics.would_blocks += u64::from(outcome.blocked);
        if outcome.blocked {
            self.raise(PeerEvents::OUTPUT_BLOCKED, metrics);
        }
        if outcome.skipped {
            metrics.skipped_lines += buffer.as_mut().map_or(0, |buffer| buffer.take_skipped());
            if self.slow_reader == SlowReader::Kick {
                self.raise(PeerEvents::TOO_SLOW, metrics);
            }
        }
        if outcome.failed {
            self.raise(PeerEvents::WRITE_FAILED, metrics);
        }
    }

    /// Counts lines that went out. Only for the holder of the write lock.
    fn count_written(&self, lines: u64) {
        self.lines_out.store(self.lines_out.load(Ordering::Relaxed) + lines, Ordering::Relaxed);
    }
}

impl<S: ?Sized> fmt::Debug for Peer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
