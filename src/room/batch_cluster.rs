//! A batch's exchange with other servers: what it publishes, and what it takes from them.

use crate::metrics::counters::MetricsDelta;
use crate::peer::events::PeerEvents;
use crate::room::batch::Batch;
use crate::room::line_runs::{LineKind, LineRuns};
use crate::room::operation::{Addressee, Requester, Whisper};
use crate::room::passes::REPLY_COST;
use crate::room::remote::{
    EarlierLine, IncomingWhisper, LocalChange, RemoteChange, RemoteMembers, RemoteUpdate, RemoteWhisper, RoomLink,
};
use crate::room::replies::{DeferredReply, deliver_line};
use crate::room::roster::{NameMatch, find_by_name};
use crate::room::waiting_joins::Awaited;
use crate::room::whisperers::Whisperer;
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::{messages, replies};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The replies of incoming whispers that one batch has at most: beyond that they are refused.
const MAX_INCOMING_WHISPERS: usize = 1_000 / REPLY_COST;

/// The part of a batch that other servers are concerned with.
pub(crate) struct BatchCluster {
    pub(super) room: RoomName,
    pub(super) link: Arc<RoomLink>,
    /// True if lines, joins, leaves and renames of this server's members happen when they come back from the log.
    is_ordered: bool,
    /// The changes of this server's members in the batch.
    records: Vec<LocalRecord>,
    /// The members on other servers, as the batch before left them.
    before: Arc<RemoteMembers>,
    /// A changed copy, made at the first change.
    after: Option<RemoteMembers>,
    /// The bytes of the updates in the batch, which the inbox still counts.
    update_bytes: usize,
    incoming_whispers: usize,
}

/// A change of this server's members, as a batch records it.
pub(super) enum LocalRecord {
    /// Lines, which are in this range of the batch.
    Lines(Range<usize>, u32),
    /// Lines that are not in the batch, since they happen later.
    LaterLines(Vec<u8>, u32),
    Claimed(UserName),
    ClaimedRename(UserName, UserName),
    Joined(UserName),
    Left(UserName),
    Renamed(UserName, UserName),
}

impl BatchCluster {
    pub(super) fn new(room: RoomName, link: &Arc<RoomLink>) -> Self {
        let (link, before) = (Arc::clone(link), link.members.load_full());
        let is_ordered = link.tap.is_ordered();
        let (records, after, update_bytes, incoming_whispers) = (Vec::new(), None, 0, 0);
        Self { room, link, is_ordered, records, before, after, update_bytes, incoming_whispers }
    }

    /// Returns the members on other servers, as the operations of the batch so far have left them.
    pub(super) fn members_now(&self) -> &RemoteMembers {
        self.after.as_ref().unwrap_or(&self.before)
    }

    /// Returns the members on other servers before the batch.
    pub(super) fn members_before(&self) -> &RemoteMembers {
        &self.before
    }

    fn members_mut(&mut self) -> &mut RemoteMembers {
        self.after.get_or_insert_with(|| RemoteMembers::clone(&self.before))
    }
}

impl Batch {
    /// Returns true if what members do happens when it comes back from the log.
    pub(super) fn is_ordered(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_ordered)
    }

    /// Records lines that happen when they come back from the log.
    pub(super) fn record_later_lines(&mut self, bytes: &[u8], lines: u32) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        match cluster.records.last_mut() {
            Some(LocalRecord::LaterLines(later, count)) => {
                later.extend_from_slice(bytes);
                *count += lines;
            }
            _ => cluster.records.push(LocalRecord::LaterLines(bytes.to_vec(), lines)),
        }
    }

    /// Returns whether a member of another server has a name.
    pub(super) fn is_taken_elsewhere(&self, name: &UserName) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.members_now().find(name).is_some())
    }

    /// Records what a member of this server did.
    pub(super) fn record_change(&mut self, record: LocalRecord) {
        if let Some(cluster) = self.cluster.as_mut() {
            cluster.records.push(record);
        }
    }

    /// Records that the last lines of the batch, which were not recorded yet, are `lines` lines of members of this server.
    pub(super) fn record_lines(&mut self, lines: u32, bytes: usize) {
        let end = self.bytes.len();
        let Some(cluster) = self.cluster.as_mut() else { return };
        match cluster.records.last_mut() {
            Some(LocalRecord::Lines(range, count)) if range.end + bytes == end => {
                range.end = end;
                *count += lines;
            }
            _ => cluster.records.push(LocalRecord::Lines(end - bytes..end, lines)),
        }
    }

    /// Applies changes that come from other servers. A room that is shut down has sent its last line.
    /// An update of an instance that is over has no effect.
    pub(super) fn apply_update(&mut self, (instance, update): (u64, RemoteUpdate)) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        cluster.update_bytes += update.bytes();
        let is_current = cluster.link.instance() == instance;
        if is_current && !self.takes_no_lines() {
            update.0.into_iter().for_each(|change| self.apply_remote_change(change));
        }
    }

    fn apply_remote_change(&mut self, change: RemoteChange) {
        match change {
            RemoteChange::Lines { bytes, lines, .. } => {
                self.bytes.extend_from_slice(&bytes);
                self.advance_end(LineKind::Talk, lines.into());
            }
            RemoteChange::Notice(line) => self.append_notice(|out| out.extend_from_slice(line.as_bytes())),
            RemoteChange::Joined(node, name) => {
                self.change_remote(|members| members.add(node, name));
                self.append_notice(|out| messages::push_joined(out, &name));
            }
            RemoteChange::Left(node, name) => {
                self.follow_remote_whisperer((node, name), None);
                self.change_remote(|members| members.remove(node, &name));
                self.append_notice(|out| messages::push_left(out, &name));
            }
            RemoteChange::Renamed(node, name, new_name) => {
                self.follow_remote_whisperer((node, name), Some(new_name));
                self.change_remote(|members| {
                    members.remove(node, &name);
                    members.add(node, new_name);
                });
                self.append_notice(|out| messages::push_renamed(out, &name, &new_name));
            }
            RemoteChange::Added(node, name) => self.change_remote(|members| members.add(node, name)),
            RemoteChange::Removed(node, name) => self.change_remote(|members| members.remove(node, &name)),
            RemoteChange::Earlier(lines) => self.keep_earlier_lines(&lines),
            RemoteChange::Stored(lines) => self.prepend_lines(lines),
            RemoteChange::HistoryWanted(node) => self.send_history(node),
            RemoteChange::Opened => self.decide_joins(Awaited::Opening),
            RemoteChange::NodeChecked(node) => self.decide_joins(Awaited::Node(node)),
            RemoteChange::JoinDecided(name, is_granted) => self.decide_claimed(name, is_granted),
            RemoteChange::RenameDecided(from, name, is_granted) => self.decide_rename(from, name, is_granted),
            RemoteChange::Departed(name) => self.append_notice(|out| messages::push_left(out, &name)),
            RemoteChange::Yield(name) => self.raise_name_conflict(name),
        }
    }

    /// Puts lines from before the room was opened here into the history of a room that has none.
    fn keep_earlier_lines(&mut self, lines: &[EarlierLine]) {
        let history = self.pass_state.as_mut().and_then(|state| state.history.as_mut());
        let Some(history) = history.filter(|history| history.is_empty()) else { return };
        for lines in lines.chunk_by(|one, next| one.minute == next.minute) {
            let (mut bytes, mut runs) = (Vec::new(), LineRuns::default());
            for EarlierLine { is_notice, text, .. } in lines {
                bytes.extend_from_slice(text);
                bytes.push(b'\n');
                runs.extend(if *is_notice { LineKind::Notice } else { LineKind::Talk }, bytes.len(), 1);
            }
            history.push(lines[0].minute, &bytes, &runs);
        }
    }

    /// Puts lines before those that a room which is opened has got from other servers meanwhile. Members may have numbers of
    /// these already: the numbering stays, and all lines that are kept get new numbers, which go on.
    fn prepend_lines(&mut self, mut lines: Vec<EarlierLine>) {
        lines.extend(self.history_lines());
        if let Some(history) = self.pass_state.as_mut().and_then(|state| state.history.as_mut()) {
            history.drop_lines();
        }
        self.keep_earlier_lines(&lines);
    }

    /// Returns the history, as the batch before has left it.
    fn history_lines(&mut self) -> Vec<EarlierLine> {
        let mut lines = Vec::new();
        if let Some(history) = self.pass_state.as_mut().and_then(|state| state.history.as_mut()) {
            history.visit_all(|minute, kind, text| {
                let is_notice = kind == LineKind::Notice;
                lines.push(EarlierLine { minute, is_notice, text: Bytes::copy_from_slice(text) });
            });
        }
        lines
    }

    /// Sends the history, as the batch before has left it, to a server that opens the room.
    fn send_history(&mut self, node: NodeName) {
        let lines = self.history_lines();
        if let Some(cluster) = &self.cluster {
            cluster.link.tap.send_history(cluster.room, node, lines);
        }
    }

    fn change_remote(&mut self, change: impl FnOnce(&mut RemoteMembers)) {
        if let Some(cluster) = self.cluster.as_mut() {
            change(cluster.members_mut());
        }
    }

    /// Gives a whisperer on another server its new name, or forgets it.
    fn follow_remote_whisperer(&mut self, (node, name): (NodeName, UserName), new_name: Option<UserName>) {
        if let Some(state) = self.pass_state.as_mut() {
            state.whisperers.follow_remote(node, name, new_name);
        }
    }

    /// Returns the number of rooms of other servers.
    pub(super) fn remote_room_count(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.link.tap.remote_room_count())
    }

    pub(super) fn append_notice(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        push(&mut self.bytes);
        self.advance_end(LineKind::Notice, 1);
    }

    /// Has the member of a name ask for another one.
    fn raise_name_conflict(&mut self, name: UserName) {
        if let NameMatch::One(key, peer) = find_by_name(self.members_now(), name) {
            let mut metrics = MetricsDelta::default();
            peer.raise(PeerEvents::NAME_CONFLICT.in_slot(key.slot), &mut metrics);
            self.metrics.wakes += metrics.wakes;
        }
    }

    /// Publishes the batch to other servers and in the room's link. `bytes` are all lines of the batch.
    pub(super) fn commit_to_cluster(&mut self, bytes: &Bytes, is_empty: bool) {
        let Some(mut cluster) = self.cluster.take() else { return };
        let (link, room) = (Arc::clone(&cluster.link), cluster.room);
        link.release_updates(cluster.update_bytes);
        let changes: Vec<LocalChange> = cluster
            .records
            .drain(..)
            .map(|record| match record {
                LocalRecord::Lines(range, lines) => LocalChange::Lines { bytes: bytes.slice(range), lines },
                LocalRecord::LaterLines(bytes, lines) => LocalChange::Lines { bytes: bytes.into(), lines },
                LocalRecord::Claimed(name) => LocalChange::Claimed(name),
                LocalRecord::ClaimedRename(from, to) => LocalChange::ClaimedRename(from, to),
                LocalRecord::Joined(name) => LocalChange::Joined(name),
                LocalRecord::Left(name) => LocalChange::Left(name),
                LocalRecord::Renamed(from, to) => LocalChange::Renamed(from, to),
            })
            .collect();
        if !changes.is_empty() {
            link.tap.on_batch(room, link.instance(), changes, !cluster.is_ordered);
        }
        if let Some(members) = cluster.after.take() {
            link.members.store(Arc::new(members));
        }
        if let Some(joins) = self.pass_state.as_mut().and_then(|state| state.joins.as_mut()) {
            if is_empty && joins.close_if_open() {
                link.members.store(Arc::default());
                link.tap.close(room, link.instance());
                link.begin_instance();
            }
            link.set_waiting_joins(joins.len());
        }
    }

    /// Returns the whisper that goes to another server, if that is where its addressee is.
    pub(super) fn remote_whisper(&mut self, whisper: &Whisper) -> Option<RemoteWhisper> {
        let cluster = self.cluster.as_ref()?;
        let (room, from, text) = (cluster.room, whisper.from, whisper.text.clone());
        let (node, to) = match whisper.to {
            Addressee::Named(name) => {
                let is_here = !matches!(find_by_name(self.members_before(), name), NameMatch::None);
                cluster.before.find(&name).filter(|_| !is_here)?
            }
            Addressee::LastWhisperer => {
                let last = self.pass_state.as_ref()?.whisperers.last(whisper.sender.peer.id())?;
                (last.node?, last.name)
            }
        };
        Some(RemoteWhisper { node, room, from, to, text })
    }

    pub(super) fn send_remote_whisper(&self, whisper: RemoteWhisper, sender: Requester) {
        if let Some(cluster) = &self.cluster {
            cluster.link.tap.send_whisper(whisper, sender);
        }
    }

    /// Adds a whisper of another server's member to the replies that follow the batch.
    pub(super) fn add_incoming_whisper(&mut self, whisper: Box<IncomingWhisper>) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        cluster.incoming_whispers += 1;
        let has_capacity = cluster.incoming_whispers <= MAX_INCOMING_WHISPERS;
        let addressee = match find_by_name(self.members_now(), whisper.to) {
            NameMatch::One(key, peer) => Some(Requester { peer: Arc::clone(peer), slot: key.slot }),
            NameMatch::None | NameMatch::Several(_) => None,
        };
        match addressee.filter(|_| has_capacity && !self.closed) {
            Some(addressee) => self.replies.push((addressee, DeferredReply::IncomingWhisper(whisper))),
            None => self.return_whisper(&whisper, None),
        }
    }

    fn return_whisper(&self, whisper: &IncomingWhisper, addressee: Option<UserName>) {
        if let Some(cluster) = &self.cluster {
            cluster.link.tap.return_whisper(whisper.node, whisper.id, addressee);
        }
    }

    /// Delivers a whisper of another server's member.
    pub(super) fn deliver_incoming(
        &mut self,
        addressee: &Requester,
        whisper: &IncomingWhisper,
        metrics: &mut MetricsDelta,
    ) {
        let IncomingWhisper { node, from, text, .. } = whisper;
        let name = match find_by_name(self.members_before(), whisper.to) {
            NameMatch::One(key, peer) if peer.id() == addressee.peer.id() => Some(key.name),
            _ => None,
        };
        if name.is_some() {
            deliver_line(&addressee.peer, metrics, |out| replies::push_whisper_received(out, from, text));
            if let Some(state) = self.pass_state() {
                let whisperer = Whisperer { id: addressee.peer.id(), name: *from, node: Some(*node) };
                state.whisperers.record(addressee.peer.id(), whisperer);
            }
        }
        self.return_whisper(whisper, name);
    }

    /// Adds the rooms of other servers to those of this one.
    pub(super) fn merge_rooms(&self, rooms: Vec<(RoomName, usize)>) -> Vec<(RoomName, usize)> {
        match &self.cluster {
            Some(cluster) => cluster.link.tap.merge_rooms(rooms),
            None => rooms,
        }
    }
}
