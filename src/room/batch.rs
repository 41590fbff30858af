//! A batch: what one pass takes from the inbox, laid end to end, and who gets which part of it.

use crate::metrics::counters::Tally;
use crate::peer::Peer;
use crate::peer::events::PeerEvents;
use crate::peer::line_batch::{BatchOffset, EncodedBatch};
use crate::peer::output_buffer::ByteSink;
use crate::room::fanout::{Delivery, Part, Parts};
use crate::room::history::History;
use crate::room::inbox::{Inbox, Newcomer, Operation, Whisper};
use crate::room::replay::Replay;
use crate::room::roster::{Members, Roster, Seat, find, has_seat};
use crate::text::names::{PeerId, UserName};
use crate::text::{messages, replies};
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
    end: BatchOffset,
    /// Peers that get a part of the lines.
    parts: Parts,
    /// How many of the parts were looked at by [`Batch::greet`].
    greeted: usize,
    /// Which part a newcomer has.
    came: HashMap<PeerId, usize>,
    /// Who was here before the batch and is not after it.
    gone: HashSet<PeerId>,
    /// Who was here before the batch, under another name.
    renamed: HashSet<PeerId>,
    /// The lines before the batch.
    past: Option<Box<Past>>,
    /// What newcomers are shown of them, and of the batch; made for the first one.
    replay: Option<Replay>,
    /// Bytes of the batch that belong to a room that is gone.
    forgotten: usize,
    /// Who is answered when everybody has the batch.
    answers: Answers,
    /// Whether the room was told to close.
    closed: bool,
    /// Operations in it.
    taken: usize,
    /// Bytes of members' lines in it, which still count in the inbox.
    said: usize,
    /// Who waits until they no longer do.
    waiting: Vec<Arc<Peer<dyn ByteSink>>>,
    tally: Tally,
}

/// What a room remembers, and how much of it a newcomer is shown.
#[derive(Debug)]
pub(crate) struct Past {
    /// `None` where nothing is kept.
    pub(crate) history: Option<Box<History>>,
    /// Lines that a newcomer is shown.
    pub(crate) replay: usize,
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
    /// What the room remembers now.
    pub(crate) past: Option<Box<Past>>,
    /// Who is to be answered behind the batch.
    pub(crate) answers: Answers,
}

/// What a member has asked for and gets behind the batch, when it has seen that, and the roster
/// goes by it.
pub(crate) enum Answer {
    /// It has another name.
    Renamed,
    /// It is shown so many of the last lines.
    Recalled(u16),
    /// What it has said to one member alone is said, or it is told that there is nobody.
    Whispered(Box<Whisper>),
}

/// Who gets which answer.
pub(crate) type Answers = Vec<(Arc<Peer<dyn ByteSink>>, Answer)>;

impl Batch {
    /// Nothing yet, for the members of `roster`, behind what was said in the `past`.
    pub(crate) fn open(roster: &Roster, closed: bool, past: Option<Box<Past>>) -> Self {
        Self {
            before: roster.snapshot(),
            after: None,
            bytes: Vec::new(),
            end: BatchOffset::default(),
            parts: Parts::default(),
            greeted: 0,
            came: HashMap::new(),
            gone: HashSet::new(),
            renamed: HashSet::new(),
            past,
            replay: None,
            forgotten: 0,
            answers: Vec::new(),
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

    /// Hands newcomers what there is of their part: to `most` of them, or a crowd would hold up who
    /// waits for the batch before. Nobody else writes to them: they are in no batch before this one.
    pub(crate) fn greet(&mut self, most: usize) {
        let until = self.parts.0.len().min(self.greeted + most);
        for part in self.parts.0[self.greeted..until].iter_mut().filter(|part| part.fate.contains(PeerEvents::JOINED)) {
            let to = part.to.unwrap_or(self.end);
            let replay = self.replay.as_ref().filter(|_| part.shown > 0);
            let (past, count) = replay.map(|replay| replay.before(part.shown)).unwrap_or_default();
            let lines = [past, &self.bytes[part.from.bytes..to.bytes]].concat();
            let lines = EncodedBatch::new(Bytes::from(lines), count + to.lines - part.from.lines);
            part.peer.deliver_batch(&lines, &mut self.tally);
            part.peer.raise(part.fate, &mut self.tally);
            (part.shown, part.from, part.fate) = (0, to, PeerEvents::NONE);
        }
        self.greeted = until;
    }

    /// Nothing more comes into it: puts the membership that comes of it into the roster, and gives
    /// the inbox its room back.
    pub(crate) fn seal(mut self, roster: &Roster, inbox: &Inbox) -> Sealed {
        inbox.release(self.said);
        for peer in &self.waiting {
            peer.raise(PeerEvents::INBOX_READY, &mut self.tally);
        }
        self.tally.lines += self.end.lines;
        if let Some(history) = self.past.as_mut().and_then(|past| past.history.as_mut()) {
            history.push(&self.bytes[self.forgotten..]);
        }
        if let Some(after) = self.after.take() {
            roster.replace(after);
        }
        let delivery = Delivery {
            all: EncodedBatch::new(Bytes::from(self.bytes), self.end.lines),
            end: self.end,
            parts: self.parts,
            members: self.before,
            gone: self.gone,
            replay: self.replay,
        };
        let Self { taken, closed, tally, past, answers, .. } = self;
        Sealed { delivery, taken, closed, tally, past, answers }
    }

    /// Gives who has asked, in the batch before this one, its answer. Of the past that is the lines
    /// up to there.
    pub(crate) fn answer(&mut self, peer: &Peer, answer: &Answer, tally: &mut Tally) {
        match answer {
            Answer::Renamed => peer.raise(PeerEvents::RENAMED, tally),
            Answer::Whispered(whisper) => {
                self.whisper(whisper, tally);
                peer.raise(PeerEvents::REQUEST_DONE, tally);
            }
            Answer::Recalled(count) => {
                let history = self.past.as_mut().and_then(|past| past.history.as_mut());
                let (lines, count) = match history.map(|history| history.recall((*count).into())).unwrap_or_default() {
                    (_, 0) => (Bytes::from_static(replies::NOTHING_KEPT.as_bytes()), 1),
                    (lines, count) => (lines.into(), count),
                };
                peer.deliver_batch(&EncodedBatch::new(lines, count), tally);
                peer.raise(PeerEvents::REQUEST_DONE, tally);
            }
        }
    }

    /// Says something to one member, and to who said it what came of it.
    fn whisper(&self, Whisper { peer, from, to, text }: &Whisper, tally: &mut Tally) {
        let member = find(&self.before, *to);
        let mut told = Vec::new();
        match member {
            Some(_) => replies::whispering(&mut told, to, text),
            None => replies::nobody(&mut told, to),
        }
        if let Some(member) = member {
            let mut heard = Vec::new();
            replies::whispered(&mut heard, from, text);
            member.deliver_batch(&EncodedBatch::new(Bytes::from(heard), 1), tally);
        }
        peer.deliver_batch(&EncodedBatch::new(Bytes::from(told), 1), tally);
    }

    /// Where it has what the room remembers.
    pub(crate) fn past(&mut self) -> &mut Option<Box<Past>> {
        &mut self.past
    }

    /// The place in the replay of who comes now; 0 where newcomers are shown nothing.
    fn replay(&mut self) -> usize {
        match self.past.as_deref_mut() {
            Some(Past { history: Some(history), replay }) if *replay > 0 => {
                let replay = self.replay.get_or_insert_with(|| Replay::open(history, *replay));
                replay.go_on(&self.bytes[self.forgotten..])
            }
            _ => 0,
        }
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
            Operation::Rename(member, name) => self.rename(*member, *name),
            Operation::Recall(peer, count) => self.answers.push((peer, Answer::Recalled(count))),
            Operation::Whisper(whisper) => {
                self.said += whisper.text.len();
                self.answers.push((Arc::clone(&whisper.peer), Answer::Whispered(whisper)));
            }
            Operation::Notify(peer) => self.waiting.push(peer),
            Operation::Close => self.close(),
        }
    }

    /// Only here is a name given, so no two can get it.
    fn admit(&mut self, Newcomer { seat, peer }: Newcomer) {
        if self.closed {
            return peer.raise(PeerEvents::ROOM_CLOSED, &mut self.tally);
        }
        if self.members().contains_key(&seat) {
            return peer.raise(PeerEvents::NAME_TAKEN, &mut self.tally);
        }
        self.members().insert(seat, Arc::clone(&peer));
        let from = self.end;
        let shown = self.replay();
        messages::joined(&mut self.bytes, &seat.name);
        self.mark(1);
        self.came.insert(peer.id(), self.parts.0.len());
        self.parts.0.push(Part { peer, shown, from, to: None, fate: PeerEvents::JOINED });
        self.tally.joins += 1;
    }

    /// Lets a peer go if it has that seat; it gets what was said before.
    fn release(&mut self, Newcomer { seat, peer }: &Newcomer) {
        if !has_seat(self.after.as_ref().unwrap_or(&self.before), seat, peer.id()) {
            return;
        }
        // In the letters that the room knows it by: another name may just have been given.
        let name = self.members().remove_entry(seat).map_or(seat.name, |(seat, _)| seat.name);
        let to = Some(self.end);
        if self.was_here(seat, peer.id()) {
            self.part_with(Arc::clone(peer), PeerEvents::LEFT_ROOM);
        } else if let Some(part) = self.came.get(&peer.id()).and_then(|at| self.parts.0.get_mut(*at)) {
            part.to = to;
            part.fate = part.fate | PeerEvents::LEFT_ROOM;
        }
        messages::left(&mut self.bytes, &name);
        self.mark(1);
        self.tally.leaves += 1;
        if self.members().is_empty() {
            self.forget();
        }
    }

    /// A room is gone with its last member: whoever comes before it is removed comes into a new one.
    fn forget(&mut self) {
        if let Some(history) = self.past.as_mut().and_then(|past| past.history.as_mut()) {
            history.clear();
        }
        self.forgotten = self.bytes.len();
        self.replay = None;
        // They have left, whether they were shown the past or not.
        self.parts.0.iter_mut().for_each(|part| part.shown = 0);
    }

    /// Gives a member another name, if nobody else has it: here as in [`Batch::admit`] no two can
    /// get it. Its own name in other letters is nobody else's.
    fn rename(&mut self, Newcomer { seat, peer }: Newcomer, name: UserName) {
        if self.closed {
            // The goodbye is its answer: the name is not taken.
            return;
        }
        let wanted = Seat { name, ..seat };
        let members = self.after.as_ref().unwrap_or(&self.before);
        if !has_seat(members, &seat, peer.id()) || wanted != seat && members.contains_key(&wanted) {
            return peer.raise(PeerEvents::NAME_TAKEN, &mut self.tally);
        }
        if self.was_here(&seat, peer.id()) {
            self.renamed.insert(peer.id());
        }
        self.members().remove(&seat);
        self.members().insert(wanted, Arc::clone(&peer));
        messages::renamed(&mut self.bytes, &seat.name, &name);
        self.mark(1);
        self.answers.push((peer, Answer::Renamed));
    }

    /// Whether the peer that has this seat now was here before the batch, whatever its name was.
    fn was_here(&self, seat: &Seat, id: PeerId) -> bool {
        has_seat(&self.before, seat, id) || self.renamed.contains(&id)
    }

    /// A member of before gets all up to here and nothing more, and is told this then.
    fn part_with(&mut self, peer: Arc<Peer<dyn ByteSink>>, fate: PeerEvents) {
        self.gone.insert(peer.id());
        let to = Some(self.end);
        self.parts.0.push(Part { peer, shown: 0, from: BatchOffset::default(), to, fate });
    }

    /// Everybody sees the goodbye, is let go and told to close; nobody is admitted afterwards.
    fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.bytes.extend_from_slice(messages::SHUTTING_DOWN.as_bytes());
        self.mark(1);
        let to = Some(self.end);
        for part in self.parts.0.iter_mut().filter(|part| part.to.is_none()) {
            part.to = to;
            part.fate = part.fate | PeerEvents::SHUTDOWN;
        }
        let members = std::mem::take(self.members());
        for (seat, peer) in members {
            if self.was_here(&seat, peer.id()) {
                self.part_with(peer, PeerEvents::SHUTDOWN);
            }
        }
    }

    /// Notes that `lines` lines were appended.
    fn mark(&mut self, lines: u64) {
        self.end = BatchOffset { bytes: self.bytes.len(), lines: self.end.lines + lines };
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
