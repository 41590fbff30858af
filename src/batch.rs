//! A batch: what one pass takes from the inbox, laid end to end, and who gets which part of it.

use crate::counters::Tally;
use crate::inbox::{Newcomer, Operation};
use crate::name::PeerId;
use crate::outbox::{Outlet, Piece};
use crate::peer::Peer;
use crate::roster::{Members, Roster, Seat};
use crate::signals::Signal;
use crate::wire;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// A place in a batch: between two lines.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    bytes: usize,
    lines: u64,
}

/// A peer that came or went in this batch: its part, and what it is told when it has it.
struct Part {
    peer: Arc<Peer<dyn Outlet>>,
    from: Mark,
    /// `None`: to the end.
    to: Option<Mark>,
    fate: Signal,
}

/// The lines of one pass and the membership that comes of it.
pub(crate) struct Batch {
    /// The room before the batch: those who get all of it, unless they are in `gone`.
    before: Arc<Members>,
    /// A changed copy, if somebody came or went: **one for the whole batch**.
    after: Option<Members>,
    /// All lines, end to end.
    bytes: Vec<u8>,
    end: Mark,
    /// Peers that get a part of the lines.
    parts: Vec<Part>,
    /// Who was here before the batch and is not after it.
    gone: HashSet<PeerId>,
    /// Whether the room was told to close.
    closed: bool,
}

impl Batch {
    /// Lays out `operations` for the members of `roster`, and puts the membership that comes of
    /// them into it.
    pub(crate) fn lay_out(
        operations: impl Iterator<Item = Operation>,
        roster: &Roster,
        closed: bool,
        tally: &mut Tally,
    ) -> Self {
        let mut batch = Self {
            before: roster.snapshot(),
            after: None,
            bytes: Vec::new(),
            end: Mark::default(),
            parts: Vec::new(),
            gone: HashSet::new(),
            closed,
        };
        for operation in operations {
            batch.apply(operation, tally);
        }
        tally.lines += batch.end.lines;
        if let Some(after) = batch.after.take() {
            roster.replace(after);
        }
        batch
    }

    /// Whether the room is closed now.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// What is to be handed to whom.
    pub(crate) fn into_delivery(mut self) -> Delivery {
        self.parts.reverse();
        Delivery {
            all: Piece::new(Bytes::from(self.bytes), self.end.lines),
            end: self.end,
            parts: self.parts,
            members: self.before,
            gone: self.gone,
        }
    }

    fn apply(&mut self, operation: Operation, tally: &mut Tally) {
        match operation {
            Operation::Say { bytes, lines } => {
                if self.bytes.is_empty() {
                    // Often the only one: its bytes become the batch's, uncopied.
                    self.bytes = bytes.into_vec();
                } else {
                    self.bytes.extend_from_slice(&bytes);
                }
                self.mark(lines.into());
            }
            Operation::Join(newcomer) => self.admit(*newcomer, tally),
            Operation::Leave(newcomer) => self.release(&newcomer, tally),
            Operation::Notify(peer) => peer.signal(Signal::ROOMY, tally),
            Operation::Close => self.close(tally),
        }
    }

    /// Only here is a name given, so no two can get it.
    fn admit(&mut self, Newcomer { seat, peer }: Newcomer, tally: &mut Tally) {
        if self.closed {
            return peer.signal(Signal::CLOSE, tally);
        }
        if self.members(tally).contains_key(&seat) {
            return peer.signal(Signal::REFUSED, tally);
        }
        self.members(tally).insert(seat, Arc::clone(&peer));
        let from = self.end;
        wire::joined(&mut self.bytes, &seat.name);
        self.mark(1);
        self.parts.push(Part { peer, from, to: None, fate: Signal::ADMITTED });
        tally.joins += 1;
    }

    /// Lets a peer go if it has that seat; it gets what was said before.
    fn release(&mut self, Newcomer { seat, peer }: &Newcomer, tally: &mut Tally) {
        if !has_seat(self.after.as_ref().unwrap_or(&self.before), seat, peer.id()) {
            return;
        }
        self.members(tally).remove(seat);
        let to = Some(self.end);
        if has_seat(&self.before, seat, peer.id()) {
            self.gone.insert(peer.id());
            let peer = Arc::clone(peer);
            self.parts.push(Part { peer, from: Mark::default(), to, fate: Signal::RELEASED });
        } else if let Some(part) = self.parts.iter_mut().find(|part| part.peer.id() == peer.id()) {
            // It came and went in one batch: rare enough to look for it.
            part.to = to;
            part.fate = part.fate | Signal::RELEASED;
        }
        wire::left(&mut self.bytes, &seat.name);
        self.mark(1);
        tally.leaves += 1;
    }

    /// Everybody sees the goodbye, is let go and told to close; nobody is admitted afterwards.
    fn close(&mut self, tally: &mut Tally) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.bytes.extend_from_slice(wire::SHUTTING_DOWN.as_bytes());
        self.mark(1);
        let to = Some(self.end);
        for part in self.parts.iter_mut().filter(|part| part.to.is_none()) {
            part.to = to;
            part.fate = part.fate | Signal::CLOSE;
        }
        let members = std::mem::take(self.members(tally));
        for (seat, peer) in members {
            if has_seat(&self.before, &seat, peer.id()) {
                self.gone.insert(peer.id());
                self.parts.push(Part { peer, from: Mark::default(), to, fate: Signal::CLOSE });
            }
        }
    }

    /// Notes that `lines` lines were appended.
    fn mark(&mut self, lines: u64) {
        self.end = Mark { bytes: self.bytes.len(), lines: self.end.lines + lines };
    }

    /// The membership to change: copied at the first change of the batch.
    fn members(&mut self, tally: &mut Tally) -> &mut Members {
        self.after.get_or_insert_with(|| {
            tally.copies += 1;
            tally.entries_copied += self.before.len() as u64;
            Members::clone(&self.before)
        })
    }
}

/// Whether this very peer has the seat, and not another one of its name.
fn has_seat(members: &Members, seat: &Seat, id: PeerId) -> bool {
    members.get(seat).is_some_and(|member| member.id() == id)
}

/// A batch laid out, to be handed to peer after peer.
pub(crate) struct Delivery {
    /// The whole batch.
    all: Piece,
    end: Mark,
    /// Not handed out yet; the last is the next.
    parts: Vec<Part>,
    members: Arc<Members>,
    gone: HashSet<PeerId>,
}

impl Delivery {
    /// Hands their part to those who came or went, one for each step of the iterator, and tells
    /// them. A newcomer is told only then: what its connection writes comes behind its
    /// `has joined`.
    pub(crate) fn hand_parts<'a>(&'a mut self, tally: &'a mut Tally) -> impl Iterator<Item = ()> + 'a {
        std::iter::from_fn(move || {
            let part = self.parts.last()?;
            let to = part.to.unwrap_or(self.end);
            if to.bytes > part.from.bytes {
                let lines = self.all.bytes.slice(part.from.bytes..to.bytes);
                part.peer.deliver(&Piece::new(lines, to.lines - part.from.lines), tally);
            }
            part.peer.signal(part.fate, tally);
            self.parts.pop();
            Some(())
        })
    }

    /// Hands the whole batch to those who were here before it and still are, one for each step
    /// of the iterator.
    pub(crate) fn hand_all<'a>(&'a self, tally: &'a mut Tally) -> impl Iterator<Item = ()> + 'a {
        let anything = self.all.lines > 0;
        let stayed = |peer: &Peer| self.gone.is_empty() || !self.gone.contains(&peer.id());
        let rest = self.members.values().filter(move |peer| anything && stayed(peer));
        rest.map(|peer| peer.deliver(&self.all, tally))
    }
}

impl Drop for Delivery {
    /// A panic in the midst of it: who left in this batch is in no roster any more, and nobody
    /// else would tell it.
    fn drop(&mut self) {
        for part in self.parts.drain(..) {
            part.peer.signal(part.fate | Signal::FAILED, &mut Tally::default());
        }
    }
}
