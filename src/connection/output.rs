//! Output: what a connection itself writes to its peer: a backlog, and what is said to it alone.

use super::{Backlog, Connection};
use crate::connection::timers::Deadline;
use crate::metrics::counters::MetricsDelta;
use crate::peer::output_buffer::DrainStatus;
use std::time::Duration;
use tokio::time::Instant;

/// Stretches of a backlog that are written before others get their turn.
pub(super) const STRETCHES: usize = 8;

/// How long a peer that can't be written to any more is still read.
const HEAR_OUT: Duration = Duration::from_secs(5);

/// What is to be said to a peer alone.
#[derive(Debug, Default)]
pub(super) struct PendingReply {
    /// Lines that end in LF.
    pub(super) text: Vec<u8>,
    /// Telnet's answers, behind them.
    pub(super) raw: Vec<u8>,
}

impl Connection {
    /// Says lines to this peer alone, behind all that it is owed and whatever its backlog's bound. If
    /// somebody else is writing to it just now, they wait, and so does its input.
    pub(super) fn send_unbounded(&mut self, text: &[u8]) {
        self.pending_reply.get_or_insert_default().text.extend_from_slice(text);
        self.flush_pending_reply();
    }

    /// Sends telnet's answers as they are, behind all that the peer is owed and within its bound:
    /// beyond that, silence.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        if let Some(terminal) = &mut self.terminal {
            terminal.out.extend_from_slice(bytes);
            self.begin_draining();
        } else {
            self.pending_reply.get_or_insert_default().raw.extend_from_slice(bytes);
            self.flush_pending_reply();
        }
    }

    /// Says what is unsaid, if nobody else has the turn to write; else that is tried again.
    fn flush_pending_reply(&mut self) {
        let Some(pending_reply) = self.pending_reply.take() else {
            return;
        };
        let mut metrics = MetricsDelta::default();
        let told = self.peer.answer(&pending_reply.text, &pending_reply.raw, &mut metrics);
        self.host.registry.counters().add(&metrics);
        self.begin_draining();
        if told {
            self.drain();
        } else {
            self.pending_reply = Some(pending_reply);
            self.backlog = Backlog::Contended;
        }
    }

    /// Notes that something waits to be written. More of it gives the peer no more time to read.
    pub(super) fn begin_draining(&mut self) {
        self.backlog = Backlog::Some;
        if !self.deadlines.is_set(Deadline::Stall) {
            self.deadlines.set(Deadline::Stall, Instant::now() + self.host.config.stall_timeout);
        }
    }

    /// Writes of the backlog what the socket takes; true if it took something.
    pub(super) fn drain(&mut self) -> bool {
        self.flush_pending_reply();
        let mut metrics = MetricsDelta::default();
        let moved =
            if self.terminal.is_some() { self.drain_drawn(&mut metrics) } else { self.drain_some(&mut metrics) };
        self.host.registry.counters().add(&metrics);
        if self.pending_reply.is_some() {
            self.backlog = Backlog::Contended;
        }
        if moved && self.backlog != Backlog::Empty {
            self.deadlines.set(Deadline::Stall, Instant::now() + self.host.config.stall_timeout);
        }
        moved
    }

    fn drain_some(&mut self, metrics: &mut MetricsDelta) -> bool {
        let mut moved = false;
        for _ in 0..STRETCHES {
            match self.peer.drain(metrics) {
                Some(DrainStatus::Progress(_)) => moved = true,
                None => {
                    self.backlog = Backlog::Contended;
                    break;
                }
                Some(drained) => {
                    self.end_draining(drained);
                    break;
                }
            }
        }
        moved
    }

    /// Notes how draining came to its end for now.
    pub(super) fn end_draining(&mut self, drained: DrainStatus) {
        if matches!(drained, DrainStatus::Empty | DrainStatus::Failed) {
            self.backlog = Backlog::Empty;
            self.deadlines.clear(Deadline::Stall);
        }
        if drained == DrainStatus::Failed {
            self.start_read_grace();
        }
    }

    /// The peer can't be written to any more. What it has said before it went is still to be read,
    /// and the read finds its end; but it must not keep its seat for long.
    pub(super) fn start_read_grace(&mut self) {
        if !self.deadlines.is_set(Deadline::Close) {
            self.deadlines.set(Deadline::Close, Instant::now() + HEAR_OUT);
        }
    }
}
