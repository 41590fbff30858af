//! The farewell: how a connection ends, so that nobody loses a line by it.

use super::{Backlog, Connection, Event, PendingRequest, Report, RoomState};
use crate::connection::close_reason::CloseReason;
use crate::connection::timers::Deadline;
use crate::metrics::counters::MetricsDelta;
use crate::net::socket::linger_close;
use crate::peer::events::PeerEvents;
use crate::text::messages;
use std::time::Duration;
use tokio::time::Instant;

/// How long a peer that is closed may take no byte of what it is owed, and how long it may take
/// for all of that.
const FLUSH: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

impl Connection {
    /// Gives the seat up, tells the peer why, flushes what it is owed, and closes.
    pub(super) async fn end(&mut self, reason: CloseReason) -> Report {
        let (identity, joined) = (self.identity(), matches!(self.room_state, RoomState::Inside(_)));
        let input_ended = self.input_closed || matches!(reason, CloseReason::Lost(_));
        self.input_closed = true;
        self.ending = None;
        self.deadlines.clear(Deadline::Login);
        self.deadlines.clear(Deadline::RateLimit);
        self.deadlines.clear(Deadline::Close);
        if matches!(reason, CloseReason::Lost(_)) {
            self.close_output().await;
        }
        self.leave(reason).await;
        if let Some(told) = reason.to_peer(joined) {
            self.send_unbounded(messages::error_lines(&told).as_bytes());
        }
        self.flush(reason == CloseReason::Shutdown).await;
        let lines_out = self.close_output().await;
        linger_close(self.peer.sink(), !input_ended).await;
        Report { reason, identity, lines_in: self.lines_in, lines_out }
    }

    /// Leaves the room, behind the last line that was taken from the peer and before it is told
    /// why: it gets all that was said until then.
    async fn leave(&mut self, reason: CloseReason) {
        // At shutdown the room lets everybody go by itself.
        self.released |= reason == CloseReason::Shutdown;
        // A seat that was asked for besides is given up, too.
        self.request = PendingRequest::None;
        let RoomState::Inside(membership) = std::mem::replace(&mut self.room_state, RoomState::Outside) else {
            return;
        };
        if let Some((bytes, lines)) = self.blocked_input.take().and_then(|blocked_input| blocked_input.encoder) {
            membership.send_final_lines(bytes, lines);
        }
        drop(membership);
        while !self.released {
            match self.next().await {
                Event::EventMailbox(events) if events.contains(PeerEvents::OUTPUT_BLOCKED) => {
                    self.backlog = Backlog::Some;
                }
                Event::Writable => {
                    self.drain();
                }
                _ => {}
            }
        }
    }

    /// Writes the backlog, until it is empty, nobody takes it, or time is up. At shutdown the
    /// server's own deadline is the only one: it cuts this short.
    async fn flush(&mut self, at_shutdown: bool) {
        let start = Instant::now();
        let mut moved = true;
        while self.backlog != Backlog::Empty {
            if moved && !at_shutdown {
                let stalled = (Instant::now() + FLUSH.0).min(start + FLUSH.1);
                self.deadlines.set(Deadline::Close, stalled);
            }
            moved = match self.next().await {
                Event::Writable => self.drain(),
                Event::Deadline(Deadline::Close) => return,
                _ => false,
            };
        }
    }

    /// Ends the outbox; how many lines the peer got.
    async fn close_output(&mut self) -> u64 {
        let mut metrics = MetricsDelta::default();
        loop {
            if let Some(lines) = self.peer.close(&mut metrics) {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    }
}
