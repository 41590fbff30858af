//! The farewell: how a connection ends, so that nobody loses a line by it.

use super::{Backlog, Connection, Event, Place, Report};
use crate::close::CloseReason;
use crate::counters::Tally;
use crate::deadlines::Deadline;
use crate::signals::Signal;
use crate::socket::hang_up;
use crate::wire;
use std::time::Duration;
use tokio::time::Instant;

/// How long a peer that is closed may take to read what it is owed.
const FLUSH: Duration = Duration::from_secs(2);

impl Connection {
    /// Gives the seat up, tells the peer why, flushes what it is owed, and closes.
    pub(super) async fn end(&mut self, reason: CloseReason) -> Report {
        let (seat, joined) = (self.seat(), matches!(self.place, Place::Inside(_)));
        let input_ended = self.deaf || matches!(reason, CloseReason::Lost(_));
        self.deaf = true;
        self.ending = None;
        if matches!(reason, CloseReason::Lost(_)) {
            self.close_outbox().await;
        }
        self.leave(reason).await;
        if let Some(told) = reason.to_peer(joined) {
            self.answer(&wire::error(&told)).await;
        }
        if reason != CloseReason::Shutdown {
            // At shutdown the server's own deadline cuts this short.
            self.deadlines.set(Deadline::Close, Instant::now() + FLUSH);
        }
        self.flush().await;
        let lines_out = self.close_outbox().await;
        hang_up(self.peer.outlet(), !input_ended).await;
        Report { reason, seat, lines_in: self.lines_in, lines_out }
    }

    /// Leaves the room, behind the last line that was taken from the peer and before it is told
    /// why: it gets all that was said until then.
    async fn leave(&mut self, reason: CloseReason) {
        // At shutdown the room lets everybody go by itself.
        self.released |= reason == CloseReason::Shutdown;
        while self.unsent.is_some() && !self.released {
            let signals = self.next_signals().await;
            if let Some((bytes, lines)) = self.unsent.take_if(|_| signals.has(Signal::ROOMY)) {
                self.hand_in(bytes, lines);
            }
        }
        let was_inside = matches!(self.place, Place::Inside(_));
        self.place = Place::Outside;
        while was_inside && !self.released {
            self.next_signals().await;
        }
    }

    /// The room's next signals; writes the backlog meanwhile.
    async fn next_signals(&mut self) -> Signal {
        loop {
            match self.next().await {
                Event::Signals(signals) => {
                    if signals.has(Signal::BACKLOG) {
                        self.backlog = Backlog::Some;
                    }
                    return signals;
                }
                Event::Writable => {
                    // A broken socket ends the draining; the room's answer comes all the same.
                    let _ = self.drain();
                }
                Event::Deadline(_) | Event::Ending | Event::Readable => {}
            }
        }
    }

    /// Writes the backlog, until it is empty, nobody takes it, or time is up.
    async fn flush(&mut self) {
        while self.backlog != Backlog::Empty {
            match self.next().await {
                Event::Writable if self.drain().is_err() => return,
                Event::Deadline(_) => return,
                _ => {}
            }
        }
    }

    /// Ends the outbox; how many lines the peer got.
    async fn close_outbox(&mut self) -> u64 {
        let mut tally = Tally::default();
        loop {
            if let Some(lines) = self.peer.close(&mut tally) {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    }
}
