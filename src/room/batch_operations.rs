//! Operations: how a batch applies what members send, join, leave and rename.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::line_batch::BatchOffset;
use crate::room::batch::Batch;
use crate::room::batch_cluster::LocalRecord;
use crate::room::fanout::PartialDelivery;
use crate::room::heavy_senders::SenderNumber;
use crate::room::line_runs::LineKind;
use crate::room::operation::{BlockedLines, MemberRef, Operation, Requester};
use crate::room::replies::DeferredReply;
use crate::room::roster::{MemberKey, holds_key};
use crate::text::messages;
use crate::text::names::UserName;
use std::sync::Arc;
use std::time::Instant;

impl Batch {
    /// Applies one operation, after all that were sent before it.
    pub(super) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::SendLines { bytes, lines, .. } if self.takes_no_lines() => self.drop_lines(&bytes, lines),
            Operation::SendLines { bytes, lines, sender } => self.append_lines((bytes, lines), sender),
            Operation::SendBlockedLines(lines) => self.drop_blocked_lines(*lines),
            Operation::Join(joiner) => self.apply_join(*joiner),
            Operation::Leave(leaver) => self.apply_leave(&leaver),
            Operation::Rename(member, name) => self.apply_rename(*member, *name),
            Operation::ShowMembers(member, listing) => {
                let MemberRef { key, peer } = *member;
                self.add_request(Requester { peer, slot: key.slot }, DeferredReply::Members(key, listing));
            }
            Operation::ShowRooms { peer, slot } => {
                self.add_request(Requester { peer, slot }, DeferredReply::Rooms);
            }
            Operation::ShowHistory { peer, slot, count } => {
                self.add_request(Requester { peer, slot }, DeferredReply::History(count));
            }
            Operation::SetIds(request) => {
                let (requester, request) = *request;
                self.add_request(requester, DeferredReply::Ids(request));
            }
            Operation::Whisper(whisper) => {
                self.add_request(whisper.sender.clone(), DeferredReply::Whisper(whisper));
            }
            Operation::Announce(line) => self.apply_announcement(&line),
            Operation::FlushInput => self.apply_flush_input(),
            Operation::Update(update) => self.apply_update(*update),
            Operation::DeliverWhisper(whisper) => self.add_incoming_whisper(whisper),
            Operation::WhisperOutcome(outcome) => {
                let (requester, lines) = *outcome;
                self.add_request(requester, DeferredReply::WhisperOutcome(lines));
            }
            // The next batch applies it, after the replies to this one. A closed room needs no second shutdown.
            Operation::Shutdown => self.request_shutdown(),
        }
    }

    /// Appends a member's lines.
    pub(super) fn append_lines(&mut self, (bytes, lines): (Box<[u8]>, u32), sender: SenderNumber) {
        let len = bytes.len();
        self.inbox_bytes += len;
        if self.is_ordered() {
            return self.record_later_lines(&bytes, lines);
        }
        self.mark_if_heavy(sender, len);
        if self.bytes.is_empty() {
            // The operation is often the only one: its bytes become the batch's without a copy.
            self.bytes = bytes.into_vec();
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
        self.charges.record_lines();
        self.advance_end(LineKind::Talk, lines.into());
        self.record_lines(lines, len);
    }

    /// Marks the next `len` bytes of lines if their sender is heavy.
    fn mark_if_heavy(&mut self, sender: SenderNumber, len: usize) {
        let now = *self.now.get_or_insert_with(Instant::now);
        let senders = self.pass_state().as_mut().map(|state| &mut state.heavy_senders);
        if senders.is_some_and(|senders| senders.record(sender, len, now)) {
            let start = self.bytes.len();
            match self.heavy.last_mut() {
                Some(last) if last.end == start => last.end += len,
                _ => self.heavy.push(start..start + len),
            }
        }
    }

    /// Drops a member's lines. A closed room has sent its last line; a room that waits for its shutdown drops the lines
    /// that were sent after it.
    fn drop_lines(&mut self, bytes: &[u8], lines: u32) {
        self.inbox_bytes += bytes.len();
        self.dropped_lines = self.dropped_lines.saturating_add(lines);
    }

    /// Drops blocked lines, and tells their sender that they block it no more.
    fn drop_blocked_lines(&mut self, lines: BlockedLines) {
        self.dropped_lines = self.dropped_lines.saturating_add(lines.lines);
        self.dropped_blocked += 1;
        self.ready_senders.push(lines.sender);
    }

    /// Records that the room is to be shut down. A room needs no second shutdown: that operation has no effect.
    fn request_shutdown(&mut self) {
        let is_first = !self.closed && !self.shutdown_requested;
        self.shutdown_requested |= is_first;
    }

    /// Adds a request, which is answered after the batch. In a closed room the shutdown notice is the answer.
    fn add_request(&mut self, requester: Requester, reply: DeferredReply) {
        if !self.closed {
            self.replies.push((requester, reply));
        }
    }

    /// Admits a peer, unless another member has its name. Names are given here and in
    /// [`Batch::apply_rename`] alone, so no two members get the same one.
    fn apply_join(&mut self, joiner: MemberRef) {
        if self.closed {
            return joiner.raise(PeerEvents::ROOM_CLOSED, &mut self.metrics);
        }
        if self.members_now().contains_key(&joiner.key) {
            return joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
        if let Some(joiner) = self.ask_cluster(joiner) {
            self.admit_or_claim(joiner);
        }
    }

    /// Admits a peer whose name is free. Other servers know of it if the name was claimed.
    pub(super) fn admit(&mut self, joiner: MemberRef, is_claimed: bool) {
        let MemberRef { key, peer } = joiner;
        self.members_mut().insert(key, Arc::clone(&peer));
        let from = self.end;
        let replay_end = self.extend_replay();
        messages::push_joined(&mut self.bytes, &key.name);
        self.advance_end(LineKind::Notice, 1);
        self.joined_at.insert(peer.id(), self.partials.0.len());
        self.charges.record_notice(Arc::clone(&peer));
        let then_raise = PeerEvents::JOINED;
        self.partials.0.push(PartialDelivery { peer, slot: key.slot, replay_end, from, to: None, then_raise });
        self.metrics.joins += 1;
        if !is_claimed {
            self.record_change(LocalRecord::Joined(key.name));
        }
    }

    /// Removes a member if the peer is the one that holds the key. The peer gets the lines up to here.
    fn apply_leave(&mut self, MemberRef { key, peer }: &MemberRef) {
        if !holds_key(self.members_now(), key, peer.id()) {
            return self.cancel_waiting_join(key, peer);
        }
        // The roster's spelling of the name is used: a rename may just have changed the letters' case.
        let name = self.members_mut().remove_entry(key).map_or(key.name, |(key, _)| key.name);
        // A join in this batch is later than any membership before the batch.
        if let Some(at) = self.joined_at.remove(&peer.id()) {
            let part = &mut self.partials.0[at];
            part.to = Some(self.end);
            part.then_raise = part.then_raise | PeerEvents::LEFT_ROOM;
        } else {
            self.add_leaver(Arc::clone(peer), key.slot, PeerEvents::LEFT_ROOM);
        }
        self.charges.record_notice(Arc::clone(peer));
        if !self.is_ordered() {
            messages::push_left(&mut self.bytes, &name);
            self.advance_end(LineKind::Notice, 1);
        }
        self.metrics.leaves += 1;
        self.record_change(LocalRecord::Left(name));
        if self.members_now().is_empty() {
            self.reset_history();
        }
    }

    /// Gives a member another name, unless another member has it. The member's own name in other letters
    /// is free for it; in the same letters it is no rename, and the other members are not told.
    fn apply_rename(&mut self, member: MemberRef, name: UserName) {
        if self.closed {
            // The shutdown notice is the answer: the name is not taken.
            return;
        }
        let new_key = MemberKey { name, ..member.key };
        let is_taken =
            new_key != member.key && (self.members_now().contains_key(&new_key) || self.is_taken_elsewhere(&name));
        if is_taken || !holds_key(self.members_now(), &member.key, member.peer.id()) {
            return member.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
        if member.key.name.as_str() == name.as_str() {
            let MemberRef { key, peer } = member;
            return self.replies.push((Requester { peer, slot: key.slot }, DeferredReply::NameKept(name)));
        }
        if self.is_ordered() {
            return self.claim_rename(member, name);
        }
        self.rename(member, name, false);
    }

    /// Gives a member a name that is free. Other servers know of it if the name was claimed.
    pub(super) fn rename(&mut self, MemberRef { key, peer }: MemberRef, name: UserName, is_claimed: bool) {
        let new_key = MemberKey { name, ..key };
        self.renamed.insert(peer.id(), name);
        self.members_mut().remove(&key);
        self.members_mut().insert(new_key, Arc::clone(&peer));
        messages::push_renamed(&mut self.bytes, &key.name, &name);
        self.charges.record_notice(Arc::clone(&peer));
        self.advance_end(LineKind::Notice, 1);
        if !is_claimed {
            self.record_change(LocalRecord::Renamed(key.name, name));
        }
        self.replies.push((Requester { peer, slot: key.slot }, DeferredReply::Renamed));
    }

    /// Appends a line of the operators, unless the room has sent its last line or waits for that.
    fn apply_announcement(&mut self, line: &[u8]) {
        if !self.takes_no_lines() {
            self.bytes.extend_from_slice(line);
            self.advance_end(LineKind::Notice, 1);
        }
    }

    /// Asks every member's connection for the input that it has received. A member that joined in this batch
    /// gets the event before `JOINED`; its connection keeps it until then.
    fn apply_flush_input(&mut self) {
        let mut metrics = MetricsDelta::default();
        for peer in self.members_now().values() {
            peer.raise(PeerEvents::FLUSH_INPUT, &mut metrics);
        }
        self.metrics.wakes += metrics.wakes;
    }

    /// Sends every member the shutdown notice, removes all of them, and closes the room to joins. The batch has no other
    /// line, so the notice is the last line of each. It has no other operation yet: those that follow find the room closed.
    pub(crate) fn apply_shutdown(&mut self) {
        self.start_minute();
        self.closed = true;
        self.shutdown_requested = false;
        self.bytes.extend_from_slice(messages::SHUTTING_DOWN.as_bytes());
        self.advance_end(LineKind::Notice, 1);
        self.refuse_waiting_joins();
        for (key, peer) in self.remove_all_members().iter() {
            self.add_leaver(Arc::clone(peer), key.slot, PeerEvents::SHUTDOWN);
        }
    }

    /// Gives a member of before the batch all lines up to here and no more, followed by the events.
    fn add_leaver(&mut self, peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot, then_raise: PeerEvents) {
        self.left.insert(peer.id());
        let (from, to) = (BatchOffset::default(), Some(self.end));
        self.partials.0.push(PartialDelivery { peer, slot, replay_end: None, from, to, then_raise });
    }

    /// Moves the end past `lines` lines of one kind that were appended.
    pub(super) fn advance_end(&mut self, kind: LineKind, lines: u64) {
        self.end = BatchOffset { bytes: self.bytes.len(), lines: self.end.lines + lines };
        self.line_runs.extend(kind, self.end.bytes, lines);
    }
}
