//! A batch: what one pass takes from the inbox, laid end to end, and who gets which part of it.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::line_batch::{BatchOffset, EncodedBatch};
use crate::room::fanout::{Fanout, PartialDeliveries, PartialDelivery};
use crate::room::history::History;
use crate::room::inbox::{Inbox, MemberRef, Operation, Requester, Whisper};
use crate::room::replay::Replay;
use crate::room::roster::{MemberKey, Members, Roster, find_by_name, holds_key};
use crate::text::names::UserName;
use crate::text::{messages, replies};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The lines of one pass and the membership that comes of it.
///
/// It is gathered while the batch before it is still handed out: a newcomer need not wait for a
/// pass through thousands of members to see that it has joined.
pub(crate) struct Batch {
    /// The room before the batch: those who get all of it, unless they are in `left`.
    members_before: Arc<Members>,
    /// A changed copy, if somebody came or went: **one for the whole batch**.
    members_after: Option<Members>,
    /// All lines, end to end.
    bytes: Vec<u8>,
    end: BatchOffset,
    /// Peers that get a part of the lines.
    partials: PartialDeliveries,
    /// How many of the parts were looked at by [`Batch::deliver_to_joiners`].
    joiners_visited: usize,
    /// Which part a newcomer has.
    joined_at: HashMap<PeerId, usize>,
    /// Who was here before the batch and is not after it.
    left: HashSet<PeerId>,
    /// Who was here before the batch, under another name.
    renamed: HashSet<PeerId>,
    /// The lines before the batch.
    history_state: Option<Box<HistoryState>>,
    /// What newcomers are shown of them, and of the batch; made for the first one.
    replay: Option<Replay>,
    /// Bytes of the batch that belong to a room that is gone.
    history_start: usize,
    /// Who is answered when everybody has the batch.
    replies: DeferredReplies,
    /// Whether the room was told to close.
    closed: bool,
    /// Operations in it.
    operations: usize,
    /// Bytes of members' lines in it, which still count in the inbox.
    inbox_bytes: usize,
    /// Who waits until they no longer do.
    blocked_senders: Vec<Requester>,
    metrics: MetricsDelta,
}

/// What a room remembers, and how much of it a newcomer is shown.
#[derive(Debug)]
pub(crate) struct HistoryState {
    /// `None` where nothing is kept.
    pub(crate) history: Option<Box<History>>,
    /// Lines that a newcomer is shown.
    pub(crate) replay: usize,
}

/// What came of a batch.
pub(crate) struct CommittedBatch {
    /// What is to be handed to whom.
    pub(crate) fanout: Fanout,
    /// Operations that were in it.
    pub(crate) operations: usize,
    /// Whether the room is closed now.
    pub(crate) closed: bool,
    /// What it took so far.
    pub(crate) metrics: MetricsDelta,
    /// What the room remembers now.
    pub(crate) history_state: Option<Box<HistoryState>>,
    /// Who is to be answered behind the batch.
    pub(crate) replies: DeferredReplies,
}

/// What a member has asked for and gets behind the batch, when it has seen that, and the roster
/// goes by it.
pub(crate) enum DeferredReply {
    /// It has another name.
    Renamed,
    /// It is shown so many of the last lines.
    History(u16),
    /// What it has said to one member alone is said, or it is told that there is nobody.
    Whisper(Box<Whisper>),
}

/// Who gets which answer.
pub(crate) type DeferredReplies = Vec<(Requester, DeferredReply)>;

impl Batch {
    /// Nothing yet, for the members of `roster`, behind what was said in the `history_state`.
    pub(crate) fn new(roster: &Roster, closed: bool, history_state: Option<Box<HistoryState>>) -> Self {
        Self {
            members_before: roster.snapshot(),
            members_after: None,
            bytes: Vec::new(),
            end: BatchOffset::default(),
            partials: PartialDeliveries::default(),
            joiners_visited: 0,
            joined_at: HashMap::new(),
            left: HashSet::new(),
            renamed: HashSet::new(),
            history_state,
            replay: None,
            history_start: 0,
            replies: Vec::new(),
            closed,
            operations: 0,
            inbox_bytes: 0,
            blocked_senders: Vec::new(),
            metrics: MetricsDelta { passes: 1, ..MetricsDelta::default() },
        }
    }

    /// Takes all that is in the inbox, where `incomplete` operations are still counted that the
    /// batch before this one took.
    pub(crate) fn gather(&mut self, inbox: &Inbox, incomplete: usize) {
        let fresh = inbox.pending() - incomplete - self.operations;
        for operation in inbox.take(fresh) {
            self.operations += 1;
            self.apply(operation);
        }
    }

    /// Whether nothing was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// Hands newcomers what there is of their part: to `most` of them, or a crowd would hold up who
    /// waits for the batch before. Nobody else writes to them: they are in no batch before this one.
    pub(crate) fn deliver_to_joiners(&mut self, most: usize) {
        let until = self.partials.0.len().min(self.joiners_visited + most);
        for part in self.partials.0[self.joiners_visited..until]
            .iter_mut()
            .filter(|part| part.then_raise.contains(PeerEvents::JOINED))
        {
            let to = part.to.unwrap_or(self.end);
            let replay = self.replay.as_ref().filter(|_| part.replay_end > 0);
            let (history_state, count) = replay.map(|replay| replay.lines_before(part.replay_end)).unwrap_or_default();
            let lines = [history_state, &self.bytes[part.from.bytes..to.bytes]].concat();
            let lines = EncodedBatch::new(Bytes::from(lines), count + to.lines - part.from.lines);
            part.peer.deliver_batch(&lines, &mut self.metrics);
            part.peer.raise(part.then_raise.in_slot(part.slot), &mut self.metrics);
            (part.replay_end, part.from, part.then_raise) = (0, to, PeerEvents::NONE);
        }
        self.joiners_visited = until;
    }

    /// Nothing more comes into it: puts the membership that comes of it into the roster, and gives
    /// the inbox its room back.
    pub(crate) fn commit(mut self, roster: &Roster, inbox: &Inbox) -> CommittedBatch {
        inbox.release_bytes(self.inbox_bytes);
        for sender in &self.blocked_senders {
            sender.raise(PeerEvents::INBOX_READY, &mut self.metrics);
        }
        self.metrics.lines += self.end.lines;
        if let Some(history) = self.history_state.as_mut().and_then(|history_state| history_state.history.as_mut()) {
            history.push(&self.bytes[self.history_start..]);
        }
        if let Some(after) = self.members_after.take() {
            roster.replace(after);
        }
        let fanout = Fanout {
            all: EncodedBatch::new(Bytes::from(self.bytes), self.end.lines),
            end: self.end,
            partials: self.partials,
            members: self.members_before,
            left: self.left,
            replay: self.replay,
        };
        let Self { operations, closed, metrics, history_state, replies, .. } = self;
        CommittedBatch { fanout, operations, closed, metrics, history_state, replies }
    }

    /// Gives who has asked, in the batch before this one, its answer. Of the past that is the lines
    /// up to there.
    pub(crate) fn send_reply(&mut self, requester: &Requester, reply: &DeferredReply, metrics: &mut MetricsDelta) {
        match reply {
            DeferredReply::Renamed => requester.raise(PeerEvents::RENAMED, metrics),
            DeferredReply::Whisper(whisper) => {
                self.deliver_whisper(whisper, metrics);
                requester.raise(PeerEvents::REQUEST_DONE, metrics);
            }
            DeferredReply::History(count) => {
                let history = self.history_state.as_mut().and_then(|history_state| history_state.history.as_mut());
                let (lines, count) =
                    match history.map(|history| history.render_last((*count).into())).unwrap_or_default() {
                        (_, 0) => (Bytes::from_static(replies::NO_HISTORY.as_bytes()), 1),
                        (lines, count) => (lines.into(), count),
                    };
                requester.peer.deliver_batch(&EncodedBatch::new(lines, count), metrics);
                requester.raise(PeerEvents::REQUEST_DONE, metrics);
            }
        }
    }

    /// Says something to one member, and to who said it what came of it.
    fn deliver_whisper(&self, Whisper { sender, from, to, text }: &Whisper, metrics: &mut MetricsDelta) {
        let member = find_by_name(&self.members_before, *to);
        let mut told = Vec::new();
        match member {
            Some(_) => replies::push_whisper_sent(&mut told, to, text),
            None => replies::push_no_such_member(&mut told, to),
        }
        if let Some(member) = member {
            let mut heard = Vec::new();
            replies::push_whisper_received(&mut heard, from, text);
            member.deliver_batch(&EncodedBatch::new(Bytes::from(heard), 1), metrics);
        }
        sender.peer.deliver_batch(&EncodedBatch::new(Bytes::from(told), 1), metrics);
    }

    /// Where it has what the room remembers.
    pub(crate) fn history_state(&mut self) -> &mut Option<Box<HistoryState>> {
        &mut self.history_state
    }

    /// The place in the replay of who comes now; 0 where newcomers are shown nothing.
    fn extend_replay(&mut self) -> usize {
        match self.history_state.as_deref_mut() {
            Some(HistoryState { history: Some(history), replay }) if *replay > 0 => {
                let replay = self.replay.get_or_insert_with(|| Replay::new(history, *replay));
                replay.extend(&self.bytes[self.history_start..])
            }
            _ => 0,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::SendLines { bytes, lines } => {
                self.inbox_bytes += bytes.len();
                if self.bytes.is_empty() {
                    // Often the only one: its bytes become the batch's, uncopied.
                    self.bytes = bytes.into_vec();
                } else {
                    self.bytes.extend_from_slice(&bytes);
                }
                self.advance_end(lines.into());
            }
            Operation::Join(joiner) => self.apply_join(*joiner),
            Operation::Leave(joiner) => self.apply_leave(&joiner),
            Operation::Rename(member, name) => self.apply_rename(*member, *name),
            Operation::ShowHistory { peer, slot, count } => {
                self.replies.push((Requester { peer, slot }, DeferredReply::History(count)));
            }
            Operation::Whisper(whisper) => {
                self.inbox_bytes += whisper.text.len();
                self.replies.push((whisper.sender.clone(), DeferredReply::Whisper(whisper)));
            }
            Operation::NotifyReady { peer, slot } => self.blocked_senders.push(Requester { peer, slot }),
            Operation::Shutdown => self.apply_shutdown(),
        }
    }

    /// Only here is a name given, so no two can get it.
    fn apply_join(&mut self, joiner: MemberRef) {
        if self.closed {
            return joiner.raise(PeerEvents::ROOM_CLOSED, &mut self.metrics);
        }
        if self.members_mut().contains_key(&joiner.key) {
            return joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
        let MemberRef { key, peer } = joiner;
        self.members_mut().insert(key, Arc::clone(&peer));
        let from = self.end;
        let replay_end = self.extend_replay();
        messages::push_joined(&mut self.bytes, &key.name);
        self.advance_end(1);
        self.joined_at.insert(peer.id(), self.partials.0.len());
        self.partials.0.push(PartialDelivery {
            peer,
            slot: key.slot,
            replay_end,
            from,
            to: None,
            then_raise: PeerEvents::JOINED,
        });
        self.metrics.joins += 1;
    }

    /// Lets a peer go if it has that seat; it gets what was said before.
    fn apply_leave(&mut self, MemberRef { key, peer }: &MemberRef) {
        if !holds_key(self.members_after.as_ref().unwrap_or(&self.members_before), key, peer.id()) {
            return;
        }
        // In the letters that the room knows it by: another name may just have been given.
        let name = self.members_mut().remove_entry(key).map_or(key.name, |(key, _)| key.name);
        let to = Some(self.end);
        if self.was_member(key, peer.id()) {
            self.add_leaver(Arc::clone(peer), key.slot, PeerEvents::LEFT_ROOM);
        } else if let Some(part) = self.joined_at.get(&peer.id()).and_then(|at| self.partials.0.get_mut(*at)) {
            part.to = to;
            part.then_raise = part.then_raise | PeerEvents::LEFT_ROOM;
        }
        messages::push_left(&mut self.bytes, &name);
        self.advance_end(1);
        self.metrics.leaves += 1;
        if self.members_mut().is_empty() {
            self.reset_history();
        }
    }

    /// A room is gone with its last member: whoever comes before it is removed comes into a new one.
    fn reset_history(&mut self) {
        if let Some(history) = self.history_state.as_mut().and_then(|history_state| history_state.history.as_mut()) {
            history.clear();
        }
        self.history_start = self.bytes.len();
        self.replay = None;
        // They have left, whether they were shown the past or not.
        self.partials.0.iter_mut().for_each(|part| part.replay_end = 0);
    }

    /// Gives a member another name, if nobody else has it: here as in [`Batch::apply_join`] no two can
    /// get it. Its own name in other letters is nobody else's.
    fn apply_rename(&mut self, member: MemberRef, name: UserName) {
        if self.closed {
            // The goodbye is its answer: the name is not taken.
            return;
        }
        let new_key = MemberKey { name, ..member.key };
        let members = self.members_after.as_ref().unwrap_or(&self.members_before);
        let is_taken = new_key != member.key && members.contains_key(&new_key);
        if is_taken || !holds_key(members, &member.key, member.peer.id()) {
            return member.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
        let MemberRef { key, peer } = member;
        if self.was_member(&key, peer.id()) {
            self.renamed.insert(peer.id());
        }
        self.members_mut().remove(&key);
        self.members_mut().insert(new_key, Arc::clone(&peer));
        messages::push_renamed(&mut self.bytes, &key.name, &name);
        self.advance_end(1);
        self.replies.push((Requester { peer, slot: key.slot }, DeferredReply::Renamed));
    }

    /// Whether the peer that has this seat now was here before the batch, whatever its name was.
    fn was_member(&self, key: &MemberKey, id: PeerId) -> bool {
        holds_key(&self.members_before, key, id) || self.renamed.contains(&id)
    }

    /// A member of before gets all up to here and nothing more, and is told this then.
    fn add_leaver(&mut self, peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot, then_raise: PeerEvents) {
        self.left.insert(peer.id());
        let to = Some(self.end);
        self.partials.0.push(PartialDelivery {
            peer,
            slot,
            replay_end: 0,
            from: BatchOffset::default(),
            to,
            then_raise,
        });
    }

    /// Everybody sees the goodbye, is let go and told to close; nobody is admitted afterwards.
    fn apply_shutdown(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.bytes.extend_from_slice(messages::SHUTTING_DOWN.as_bytes());
        self.advance_end(1);
        let to = Some(self.end);
        for part in self.partials.0.iter_mut().filter(|part| part.to.is_none()) {
            part.to = to;
            part.then_raise = part.then_raise | PeerEvents::SHUTDOWN;
        }
        let members = std::mem::take(self.members_mut());
        for (key, peer) in members {
            if self.was_member(&key, peer.id()) {
                self.add_leaver(peer, key.slot, PeerEvents::SHUTDOWN);
            }
        }
    }

    /// Notes that `lines` lines were appended.
    fn advance_end(&mut self, lines: u64) {
        self.end = BatchOffset { bytes: self.bytes.len(), lines: self.end.lines + lines };
    }

    /// The membership to change: copied at the first change of the batch.
    fn members_mut(&mut self) -> &mut Members {
        self.members_after.get_or_insert_with(|| {
            self.metrics.copies += 1;
            self.metrics.entries_copied += self.members_before.len() as u64;
            Members::clone(&self.members_before)
        })
    }
}
