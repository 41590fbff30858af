//! The farewell: how a connection ends, so that nobody loses a line by it.

use crate::close::CloseReason;
use crate::connection::{Connection, Event, Place, Report};
use crate::counters::Tally;
use crate::deadlines::Deadline;
use crate::signals::Signal;
use crate::wire;
use socket2::SockRef;
use std::future::poll_fn;
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long a peer that is closed may take to read what it is owed.
const FLUSH: Duration = Duration::from_secs(2);

/// How long a closed peer's input is still read, and thrown away.
///
/// A socket that is closed with input unread sends a reset, and the reset can overtake the
/// `ERROR` line (RFC 2525, section 2.17).
const LINGER: Duration = Duration::from_secs(1);

/// The most input that is thrown away, in bytes.
const LINGER_BYTES: usize = 16 << 20;

impl Connection {
    /// Gives the seat up, tells the peer why, flushes what it is owed, and closes.
    pub(crate) async fn end(mut self, reason: CloseReason) -> Report {
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
                        self.draining = true;
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
        while self.draining {
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

/// Ends our side of `socket`, then throws away what still comes if the peer may be sending.
pub(crate) async fn hang_up(socket: &TcpStream, sending: bool) {
    // It fails when the peer is gone already.
    if SockRef::from(socket).shutdown(Shutdown::Write).is_ok() && sending {
        // Time is up, or the peer has gone: either ends it.
        let _ = timeout(LINGER, throw_away(socket)).await;
    }
}

async fn throw_away(socket: &TcpStream) {
    // On the heap: in the future it would be there for the connection's whole life.
    let mut buffer = vec![0; 16 << 10];
    let mut left = LINGER_BYTES;
    while left > 0 {
        if poll_fn(|context| socket.poll_read_ready(context)).await.is_err() {
            return;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
