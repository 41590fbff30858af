//! A batch: what one pass takes from the inbox, laid end to end, and who gets which part of it.

use crate::counters::Tally;
use crate::delivery::{Delivery, Part, Parts};
use crate::inbox::{Inbox, Newcomer, Operation};
use crate::name::PeerId;
use crate::outbox::Outlet;
use crate::peer::Peer;
use crate::piece::{Mark, Sheet};
use crate::roster::{Members, Roster, has_seat};
use crate::signals::Signal;
use crate::wire;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The lines of one pass and the membership that comes of it.
///
/// It is gathered while the batch before it is still handed out: a newcomer need not wait for a
/// pass through thousands of members to see that it has joined.
pub(crate) struct Batch {
    /// The room before the batch: those who get all of it, unless they are in `gone`.
    before: Arc<Members>,
    /// A changed copy, if somebody came or went: **one for the whole batch**.
    after: Option<Members>,
    /// All lines, end to end.
    bytes: Vec<u8>,
    end: Mark,
    /// Peers that get a part of the lines.
    parts: Parts,
    /// How many of the parts were looked at by [`Batch::greet`].
    greeted: usize,
    /// Which part a newcomer has.
    came: HashMap<PeerId, usize>,
    /// Who was here before the batch and is not after it.
    gone: HashSet<PeerId>,
    /// Whether the room was told to close.
    closed: bool,
    /// Operations in it.
    taken: usize,
    /// Bytes of members' lines in it, which still count in the inbox.
    said: usize,
    /// Who waits until they no longer do.
    waiting: Vec<Arc<Peer<dyn Outlet>>>,
    tally: Tally,
}

/// What came of a batch.
pub(crate) struct Sealed {
    /// What is to be handed to whom.
    pub(crate) delivery: Delivery,
    /// Operations that were in it.
    pub(crate) taken: usize,
    /// Whether the room is closed now.
    pub(crate) closed: bool,
    /// What it took so far.
    pub(crate) tally: Tally,
}

impl Batch {
    /// Nothing yet, for the members of `roster`.
    pub(crate) fn open(roster: &Roster, closed: bool) -> Self {
        Self {
            before: roster.snapshot(),
            after: None,
            bytes: Vec::new(),
            end: Mark::default(),
            parts: Parts::default(),
            greeted: 0,
            came: HashMap::new(),
            gone: HashSet::new(),
            closed,
            taken: 0,
            said: 0,
            waiting: Vec::new(),
            tally: Tally { passes: 1, ..Tally::default() },
        }
    }

    /// Takes all that is in the inbox, where `unsettled` operations are still counted that the
    /// batch before this one took.
    pub(crate) fn gather(&mut self, inbox: &Inbox, unsettled: usize) {
        let fresh = inbox.pending() - unsettled - self.taken;
        for operation in inbox.take(fresh) {
            self.taken += 1;
            self.apply(operation);
        }
    }

    /// Whether nothing was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Hands newcomers what there is of their part. Nobody else writes to them: they are in no
    /// batch before this one.
    pub(crate) fn greet(&mut self) {
        for part in self.parts.0.iter_mut().skip(self.greeted).filter(|part| part.fate.has(Signal::ADMITTED)) {
            let to = part.to.unwrap_or(self.end);
            let lines = Bytes::copy_from_slice(&self.bytes[part.from.bytes..to.bytes]);
            part.peer.deliver_sheet(&Sheet::new(lines, to.lines - part.from.lines), &mut self.tally);
            part.peer.signal(part.fate, &mut self.tally);
            (part.from, part.fate) = (to, Signal::NONE);
        }
        self.greeted = self.parts.0.len();
    }

    /// Nothing more comes into it: puts the membership that comes of it into the roster, and gives
    /// the inbox its room back.
    pub(crate) fn seal(mut self, roster: &Roster, inbox: &Inbox) -> Sealed {
        if let Some(after) = self.after.take() {
            roster.replace(after);
        }
        inbox.release(self.said);
        for peer in &self.waiting {
            peer.signal(Signal::ROOMY, &mut self.tally);
        }
        self.tally.lines += self.end.lines;
        let delivery = Delivery {
            all: Sheet::new(Bytes::from(self.bytes), self.end.lines),
            end: self.end,
            parts: self.parts,
            members: self.before,
            gone: self.gone,
        };
        Sealed { delivery, taken: self.taken, closed: self.closed, tally: self.tally }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Say { bytes, lines } => {
                self.said += bytes.len();
                if self.bytes.is_empty() {
                    // Often the only one: its bytes become the batch's, uncopied.
                    self.bytes = bytes.into_vec();
                } else {
                    self.bytes.extend_from_slice(&bytes);
                }
                self.mark(lines.into());
            }
            Operation::Join(newcomer) => self.admit(*newcomer),
            Operation::Leave(newcomer) => self.release(&newcomer),
            Operation::Notify(peer) => self.waiting.push(peer),
            Operation::Close => self.close(),
        }
    }

    /// Only here is a name given, so no two can get it.
    fn admit(&mut self, Newcomer { seat, peer }: Newcomer) {
        if self.closed {
            return peer.signal(Signal::CLOSE, &mut self.tally);
        }
        if self.members().contains_key(&seat) {
            return peer.signal(Signal::REFUSED, &mut self.tally);
        }
        self.members().insert(seat, Arc::clone(&peer));
        let from = self.end;
        wire::joined(&mut self.bytes, &seat.name);
        self.mark(1);
        self.came.insert(peer.id(), self.parts.0.len());
        self.parts.0.push(Part { peer, from, to: None, fate: Signal::ADMITTED });
        self.tally.joins += 1;
    }

    /// Lets a peer go if it has that seat; it gets what was said before.
    fn release(&mut self, Newcomer { seat, peer }: &Newcomer) {
        if !has_seat(self.after.as_ref().unwrap_or(&self.before), seat, peer.id()) {
            return;
        }
        self.members().remove(seat);
        let to = Some(self.end);
        if has_seat(&self.before, seat, peer.id()) {
            self.gone.insert(peer.id());
            let peer = Arc::clone(peer);
            self.parts.0.push(Part { peer, from: Mark::default(), to, fate: Signal::RELEASED });
        } else if let Some(part) = self.came.get(&peer.id()).and_then(|at| self.parts.0.get_mut(*at)) {
            part.to = to;
            part.fate = part.fate | Signal::RELEASED;
        }
        wire::left(&mut self.bytes, &seat.name);
        self.mark(1);
        self.tally.leaves += 1;
    }

    /// Everybody sees the goodbye, is let go and told to close; nobody is admitted afterwards.
    fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.bytes.extend_from_slice(wire::SHUTTING_DOWN.as_bytes());
        self.mark(1);
        let to = Some(self.end);
        for part in self.parts.0.iter_mut().filter(|part| part.to.is_none()) {
            part.to = to;
            part.fate = part.fate | Signal::CLOSE;
        }
        let members = std::mem::take(self.members());
        for (seat, peer) in members {
            if has_seat(&self.before, &seat, peer.id()) {
                self.gone.insert(peer.id());
                self.parts.0.push(Part { peer, from: Mark::default(), to, fate: Signal::CLOSE });
            }
        }
    }

    /// Notes that `lines` lines were appended.
    fn mark(&mut self, lines: u64) {
        self.end = Mark { bytes: self.bytes.len(), lines: self.end.lines + lines };
    }

    /// The membership to change: copied at the first change of the batch.
    fn members(&mut self) -> &mut Members {
        self.after.get_or_insert_with(|| {
            self.tally.copies += 1;
            self.tally.entries_copied += self.before.len() as u64;
            Members::clone(&self.before)
        })
    }
}
