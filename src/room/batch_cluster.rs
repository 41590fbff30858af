//! A batch's exchange with other servers: what it publishes, what it takes from them, and the joins that wait for them.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::PeerEvents;
use crate::room::batch::Batch;
use crate::room::line_runs::{LineKind, LineRuns};
use crate::room::operation::{Addressee, MemberRef, Requester, Whisper};
use crate::room::passes::REPLY_COST;
use crate::room::remote::{
    EarlierLine, IncomingWhisper, LocalChange, RemoteChange, RemoteMembers, RemoteUpdate, RemoteWhisper, RoomLink,
};
use crate::room::replies::{DeferredReply, deliver_line};
use crate::room::roster::{MemberKey, NameMatch, find_by_name};
use crate::room::whisperers::Whisperer;
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::{messages, replies};
use bytes::Bytes;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// The replies of incoming whispers that one batch has at most: beyond that they are refused.
const MAX_INCOMING_WHISPERS: usize = 1_000 / REPLY_COST;

/// The part of a batch that other servers are concerned with.
pub(crate) struct BatchCluster {
    room: RoomName,
    link: Arc<RoomLink>,
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
    Joined(UserName),
    Left(UserName),
    Renamed(UserName, UserName),
}

impl BatchCluster {
    pub(super) fn new(room: RoomName, link: &Arc<RoomLink>) -> Self {
        let (link, before) = (Arc::clone(link), link.members.load_full());
        let (records, after, update_bytes, incoming_whispers) = (Vec::new(), None, 0, 0);
        Self { room, link, records, before, after, update_bytes, incoming_whispers }
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

/// Whether a room is as other servers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opening {
    /// The room has no member, and waits for none.
    #[default]
    Closed,
    /// The room waits for other servers before it admits its first member.
    Waiting,
    Open,
}

/// The peers that wait to join, in their order, and whether the room is open.
#[derive(Default)]
pub(crate) struct WaitingJoins {
    opening: Opening,
    waiting: Vec<WaitingJoin>,
}

struct WaitingJoin {
    joiner: MemberRef,
    /// The server whose answer decides; `None` while the room opens.
    node: Option<NodeName>,
}

impl std::fmt::Debug for WaitingJoins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingJoins").field("opening", &self.opening).field("waiting", &self.waiting.len()).finish()
    }
}

impl Drop for WaitingJoins {
    /// Raises `ROOM_FAILED` for the peers that still wait after a panic.
    fn drop(&mut self) {
        for WaitingJoin { joiner, .. } in self.waiting.drain(..) {
            joiner.raise(PeerEvents::ROOM_FAILED, &mut MetricsDelta::default());
        }
    }
}

impl Batch {
    fn joins(&mut self) -> Option<&mut WaitingJoins> {
        let state = self.pass_state.as_mut()?;
        Some(state.joins.get_or_insert_default())
    }

    /// Returns a joiner that may be admitted now. Any other one waits: for the room to be opened, or for the server where a
    /// member has the name.
    pub(super) fn ask_cluster(&mut self, joiner: MemberRef) -> Option<MemberRef> {
        let Some(cluster) = self.cluster.as_ref() else { return Some(joiner) };
        let (room, link) = (cluster.room, Arc::clone(&cluster.link));
        let holder = cluster.members_now().find(&joiner.key.name).map(|(node, _)| node);
        let Some(joins) = self.joins() else { return Some(joiner) };
        if joins.opening == Opening::Closed {
            joins.opening = if link.tap.opens_rooms() { Opening::Waiting } else { Opening::Open };
            if joins.opening == Opening::Waiting {
                link.tap.open(room, link.instance());
            }
        }
        let node = match (joins.opening, holder) {
            (Opening::Open, None) => return Some(joiner),
            (Opening::Open, Some(node)) => Some(node),
            (Opening::Waiting | Opening::Closed, _) => None,
        };
        joins.waiting.push(WaitingJoin { joiner, node });
        if let Some(node) = node {
            link.tap.check_node(room, node);
        }
        None
    }

    /// Decides the joins that waited for `node`, or for the room to be opened.
    fn decide_joins(&mut self, node: Option<NodeName>) {
        let Some(joins) = self.joins() else { return };
        if node.is_none() {
            joins.opening = Opening::Open;
        }
        let (decided, waiting): (Vec<_>, Vec<_>) =
            mem::take(&mut joins.waiting).into_iter().partition(|join| join.node == node);
        joins.waiting = waiting;
        for WaitingJoin { joiner, .. } in decided {
            let name = joiner.key.name;
            if self.members_now().contains_key(&joiner.key) {
                joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            } else if !self.is_taken_elsewhere(&name) {
                self.admit(joiner);
            } else if node.is_some() {
                joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            } else if let Some(joiner) = self.ask_cluster(joiner) {
                self.admit(joiner);
            }
        }
    }

    /// Refuses a join that waits, since its peer wants it no more.
    pub(super) fn cancel_waiting_join(&mut self, key: &MemberKey, peer: &Arc<Peer<dyn ByteSink>>) {
        if self.cluster.is_none() {
            return;
        }
        let Some(joins) = self.joins() else { return };
        let is_it = |join: &WaitingJoin| join.joiner.key == *key && join.joiner.peer.id() == peer.id();
        if let Some(at) = joins.waiting.iter().position(is_it) {
            let WaitingJoin { joiner, .. } = joins.waiting.remove(at);
            joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
    }

    /// Refuses all joins that wait, since the room is shut down.
    pub(super) fn refuse_waiting_joins(&mut self) {
        if self.cluster.is_none() {
            return;
        }
        let waiting = self.joins().map(|joins| mem::take(&mut joins.waiting)).unwrap_or_default();
        for WaitingJoin { joiner, .. } in waiting {
            joiner.raise(PeerEvents::ROOM_CLOSED, &mut self.metrics);
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
            RemoteChange::HistoryWanted(node) => self.send_history(node),
            RemoteChange::Opened => self.decide_joins(None),
            RemoteChange::NodeChecked(node) => self.decide_joins(Some(node)),
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

    /// Sends the history, as the batch before has left it, to a server that opens the room.
    fn send_history(&mut self, node: NodeName) {
        let mut lines = Vec::new();
        if let Some(history) = self.pass_state.as_mut().and_then(|state| state.history.as_mut()) {
            history.visit_all(|minute, kind, text| {
                let is_notice = kind == LineKind::Notice;
                lines.push(EarlierLine { minute, is_notice, text: Bytes::copy_from_slice(text) });
            });
        }
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

    /// Returns the number of peers that wait to join.
    pub(super) fn waiting_joins(&self) -> usize {
        self.pass_state.as_ref().and_then(|state| state.joins.as_ref()).map_or(0, |joins| joins.waiting.len())
    }

    /// Returns the number of rooms of other servers.
    pub(super) fn remote_room_count(&self) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.link.tap.remote_room_count())
    }

    fn append_notice(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
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
                LocalRecord::Joined(name) => LocalChange::Joined(name),
                LocalRecord::Left(name) => LocalChange::Left(name),
                LocalRecord::Renamed(from, to) => LocalChange::Renamed(from, to),
            })
            .collect();
        if !changes.is_empty() {
            link.tap.on_batch(room, link.instance(), changes);
        }
        if let Some(members) = cluster.after.take() {
            link.members.store(Arc::new(members));
        }
        let joins = self.pass_state.as_mut().and_then(|state| state.joins.as_mut());
        if let Some(joins) = joins {
            if is_empty && joins.waiting.is_empty() && joins.opening != Opening::Closed {
                joins.opening = Opening::Closed;
                link.members.store(Arc::default());
                link.tap.close(room, link.instance());
                link.begin_instance();
            }
            link.set_waiting_joins(joins.waiting.len());
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
