//! A peer: one member's socket as a room sees it, with the turn to write to it and its outbox.

use crate::counters::Tally;
use crate::name::PeerId;
use crate::outbox::{Drained, Outbox, Outlet, Piece, Put, SlowReader};
use crate::signals::{Signal, Signals};
use crate::turn::Turn;
use std::fmt;
use std::task::Context;

/// One connection, as rooms and its own task share it.
///
/// The outlet comes last and may be unsized: rooms hold an `Arc<Peer>` of any outlet, the
/// connection an `Arc<Peer<TcpStream>>` of the same allocation.
pub struct Peer<O: ?Sized = dyn Outlet> {
    id: PeerId,
    /// What happens to lines beyond the backlog's limit.
    slow_reader: SlowReader,
    /// The bound of what others may leave while one holds the turn, in bytes: the backlog's own.
    limit: usize,
    /// What the connection's task is to look at.
    signals: Signals,
    /// The outbox, and who may write now.
    outbox: Turn<Outbox, Piece>,
    /// Where the bytes go.
    outlet: O,
}

impl<O: Outlet> Peer<O> {
    /// A peer whose backlog holds at most `limit` bytes of lines.
    pub fn new(id: PeerId, limit: usize, slow_reader: SlowReader, outlet: O) -> Self {
        let outbox = Turn::new(Outbox::new(limit));
        Self { id, slow_reader, limit, signals: Signals::default(), outbox, outlet }
    }

    /// Where the bytes go.
    pub fn outlet(&self) -> &O {
        &self.outlet
    }
}

impl<O: Outlet + ?Sized> Peer<O> {
    /// The connection's number.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Hands `piece` to the socket, or to the backlog; never waits. Called by delivery passes.
    pub fn deliver(&self, piece: &Piece, tally: &mut Tally) {
        tally.deliveries += piece.lines;
        self.outbox.offer(piece, self.limit, |outbox, piece| {
            self.heed(outbox.put(piece, &self.outlet), tally);
        });
    }

    /// Tells the connection something; wakes its task.
    pub(crate) fn signal(&self, signal: Signal, tally: &mut Tally) {
        tally.wakes += u64::from(self.signals.raise(signal));
    }

    /// What the connection was told; wakes the task of `context` for what comes later.
    pub(crate) fn signals(&self, context: &Context<'_>) -> Signal {
        self.signals.take(context)
    }

    /// Says `text` to this peer alone, behind all that it is owed. Called by its connection, which
    /// has to drain afterwards; false if the turn is taken and it has to try again.
    pub(crate) fn answer(&self, text: &str, tally: &mut Tally) -> bool {
        self.work(tally, |outbox| outbox.answer(text)).is_some()
    }

    /// Writes one stretch of the backlog; `None` if the turn is taken: try again.
    pub(crate) fn drain(&self, tally: &mut Tally) -> Option<Drained> {
        let drained = self.work(tally, |outbox| outbox.drain(&self.outlet));
        tally.writes += u64::from(matches!(drained, Some(Drained::Some(_) | Drained::Blocked)));
        drained
    }

    /// Takes no line any more; lines that were written or kept so far, `None` if the turn is taken.
    pub(crate) fn close(&self, tally: &mut Tally) -> Option<u64> {
        self.work(tally, |outbox| {
            outbox.close();
            outbox.lines_out()
        })
    }

    fn work<R>(&self, tally: &mut Tally, work: impl FnOnce(&mut Outbox) -> R) -> Option<R> {
        self.outbox.try_work(|outbox, piece| self.heed(outbox.put(piece, &self.outlet), tally), work)
    }

    /// Counts what a put did, and tells the connection what it has to do about it.
    fn heed(&self, put: Put, tally: &mut Tally) {
        tally.writes += put.writes;
        tally.would_blocks += u64::from(put.blocked);
        if put.blocked {
            self.signal(Signal::BACKLOG, tally);
        }
        if put.skipped && self.slow_reader == SlowReader::Kick {
            self.signal(Signal::TOO_SLOW, tally);
        }
        if put.broke {
            self.signal(Signal::BROKEN, tally);
        }
    }
}

impl<O: ?Sized> fmt::Debug for Peer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}
