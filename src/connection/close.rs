//! The farewell: how a connection ends, so that nobody loses a line by it.

use super::{Backlog, Connection, Errand, Event, Place, Report};
use crate::connection::close_reason::CloseReason;
use crate::connection::timers::Deadline;
use crate::metrics::counters::Tally;
use crate::net::socket::hang_up;
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
        let (seat, joined) = (self.seat(), matches!(self.place, Place::Inside(_)));
        let input_ended = self.deaf || matches!(reason, CloseReason::Lost(_));
        self.deaf = true;
        self.ending = None;
        self.deadlines.clear(Deadline::Login);
        self.deadlines.clear(Deadline::Pace);
        self.deadlines.clear(Deadline::Close);
        if matches!(reason, CloseReason::Lost(_)) {
            self.close_output().await;
        }
        self.leave(reason).await;
        if let Some(told) = reason.to_peer(joined) {
            self.tell(messages::error(&told).as_bytes());
        }
        self.flush(reason == CloseReason::Shutdown).await;
        let lines_out = self.close_output().await;
        hang_up(self.peer.sink(), !input_ended).await;
        Report { reason, seat, lines_in: self.lines_in, lines_out }
    }

    /// Leaves the room, behind the last line that was taken from the peer and before it is told
    /// why: it gets all that was said until then.
    async fn leave(&mut self, reason: CloseReason) {
        // At shutdown the room lets everybody go by itself.
        self.released |= reason == CloseReason::Shutdown;
        // A seat that was asked for besides is given up, too.
        self.errand = Errand::None;
        let Place::Inside(membership) = std::mem::replace(&mut self.place, Place::Outside) else {
            return;
        };
        if let Some((bytes, lines)) = self.unsent.take().and_then(|unsent| unsent.parcel) {
            membership.send_final_lines(bytes, lines);
        }
        drop(membership);
        while !self.released {
            match self.next().await {
                Event::EventMailbox(events) if events.contains(PeerEvents::OUTPUT_BLOCKED) => {
                    self.backlog = Backlog::Some
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
        let mut tally = Tally::default();
        loop {
            if let Some(lines) = self.peer.close(&mut tally) {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    }
}
