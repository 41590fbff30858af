//! A peer: one member's socket as a room sees it, with the turn to write to it and its outbox.

mod atomic_slot;
mod deferred_list;
pub mod events;
pub mod line_batch;
pub mod output_buffer;
mod write_lock;

use crate::metrics::counters::Tally;
use crate::peer::events::{EventMailbox, PeerEvents};
use crate::peer::line_batch::{AtomicForm, Form, Piece, Sheet};
use crate::peer::output_buffer::{Drained, Outbox, Outlet, SlowReader, Terms};
use crate::peer::write_lock::{Desk, Turn};
use crate::text::names::PeerId;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;

/// One connection, as rooms and its own task share it.
///
/// The outlet comes last and may be unsized: rooms hold an `Arc<Peer>` of any outlet, the
/// connection an `Arc<Peer<TcpStream>>` of the same allocation.
pub struct Peer<O: ?Sized = dyn Outlet> {
    id: PeerId,
    /// What happens to lines beyond the backlog's limit.
    slow_reader: SlowReader,
    /// The form in which it gets its lines.
    form: AtomicForm,
    /// The bound of what others may leave while one holds the turn, in bytes: the backlog's own.
    limit: usize,
    /// What the connection's task is to look at.
    events: EventMailbox,
    /// Who may write now, and the outbox, if anything waits in it.
    turn: Turn<Outbox, Piece>,
    /// Lines that went out and that no outbox counts (any more). Who has the turn alone changes
    /// it, and the turn's swaps order the changes: relaxed.
    lines_out: AtomicU64,
    /// Where the bytes go.
    outlet: O,
}

impl<O: Outlet> Peer<O> {
    /// A peer whose backlog holds at most `limit` bytes of lines.
    pub fn new(id: PeerId, limit: usize, slow_reader: SlowReader, outlet: O) -> Self {
        let (events, turn) = (EventMailbox::default(), Turn::new());
        let form = AtomicForm::default();
        Self { id, slow_reader, form, limit, events, turn, lines_out: AtomicU64::new(0), outlet }
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

    /// The form in which it gets its lines.
    pub fn form(&self) -> Form {
        self.form.get()
    }

    /// Gives lines another form from now on. Called by its connection.
    pub(crate) fn set_form(&self, form: Form) {
        self.form.set(form);
    }

    fn terms(&self) -> Terms {
        Terms { limit: self.limit, form: self.form() }
    }

    /// Hands `sheet` to the socket, or to the backlog, in the peer's form; never waits.
    pub(crate) fn deliver_sheet(&self, sheet: &Sheet, tally: &mut Tally) {
        self.deliver(sheet.whole(self.form()), tally);
    }

    /// Hands `piece` to the socket, or to the backlog; never waits. Called by delivery passes.
    pub fn deliver(&self, piece: &Piece, tally: &mut Tally) {
        tally.deliveries += piece.lines;
        self.turn.offer(piece, self.limit, |outbox, piece| self.put(outbox, piece, tally));
    }

    /// Tells the connection something; wakes its task.
    pub(crate) fn raise(&self, events: PeerEvents, tally: &mut Tally) {
        tally.wakes += u64::from(self.events.raise(events));
    }

    /// What the connection was told; wakes the task of `context` for what comes later.
    pub(crate) fn take_events(&self, context: &Context<'_>) -> PeerEvents {
        self.events.take(context)
    }

    /// Says `text`, and `raw` bytes behind it, to this peer alone, behind all that it is owed. Called
    /// by its connection, which has to drain afterwards; false if the turn is taken and it has to try
    /// again.
    pub(crate) fn answer(&self, text: &[u8], raw: &[u8], tally: &mut Tally) -> bool {
        let answered = self.work(tally, |outbox| {
            let outbox = outbox.get_or_insert_with(|| Box::new(Outbox::new(self.terms())));
            outbox.answer(text, raw, self.terms());
        });
        answered.is_some()
    }

    /// Takes lines of the backlog instead of writing them: as many as `most` bytes hold, but one at
    /// least. For [`Form::Own`]; `None` if the turn is taken: try again.
    pub(crate) fn take(&self, most: usize, lines: &mut Vec<u8>, tally: &mut Tally) -> Option<()> {
        self.work(tally, |desk| {
            if let Some(outbox) = desk {
                outbox.take(most, lines);
                self.put_away(desk);
            }
        })
    }

    /// Gives lines another form if nothing waits that has the old one; false if something does, or
    /// the turn is taken.
    pub(crate) fn change_form(&self, form: Form, tally: &mut Tally) -> bool {
        let change = |outbox: &mut Desk<Outbox>| outbox.is_none().then(|| self.form.set(form));
        self.work(tally, change).flatten().is_some()
    }

    /// Writes one stretch of the backlog; `None` if the turn is taken: try again.
    pub(crate) fn drain(&self, tally: &mut Tally) -> Option<Drained> {
        let drained = self.work(tally, |desk| {
            let Some(outbox) = desk else {
                return Drained::Empty;
            };
            let drained = outbox.drain(&self.outlet);
            self.put_away(desk);
            drained
        });
        tally.writes += u64::from(matches!(drained, Some(Drained::Some(_) | Drained::Blocked)));
        drained
    }

    /// Takes no line any more; lines that were written so far, `None` if the turn is taken.
    pub(crate) fn close(&self, tally: &mut Tally) -> Option<u64> {
        self.work(tally, |outbox| {
            let outbox = outbox.get_or_insert_with(|| Box::new(Outbox::new(self.terms())));
            outbox.close();
            self.lines_out.load(Ordering::Relaxed) + outbox.lines_out()
        })
    }

    /// Frees an outbox in which nothing waits, unless it has to remember that it is closed.
    fn put_away(&self, desk: &mut Desk<Outbox>) {
        if let Some(outbox) = desk.take_if(|outbox| outbox.is_done()) {
            self.count(outbox.lines_out());
        }
    }

    fn work<R>(&self, tally: &mut Tally, work: impl FnOnce(&mut Desk<Outbox>) -> R) -> Option<R> {
        self.turn.try_work(|outbox, piece| self.put(outbox, piece, tally), work)
    }

    /// Takes a piece in; counts what that did, and tells the connection what it has to do about it.
    fn put(&self, outbox: &mut Desk<Outbox>, piece: &Piece, tally: &mut Tally) {
        let terms = self.terms();
        let put = if piece.cr_lf == (terms.form == Form::CrLf) {
            output_buffer::put(outbox, piece, terms, &self.outlet)
        } else {
            // It was laid out before the form changed.
            output_buffer::put(outbox, &piece.to_form(terms.form), terms, &self.outlet)
        };
        self.count(put.lines);
        tally.writes += put.writes;
        tally.would_blocks += u64::from(put.blocked);
        if put.blocked {
            self.raise(PeerEvents::OUTPUT_BLOCKED, tally);
        }
        if put.skipped && self.slow_reader == SlowReader::Kick {
            self.raise(PeerEvents::TOO_SLOW, tally);
        }
        if put.broke {
            self.raise(PeerEvents::WRITE_FAILED, tally);
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
