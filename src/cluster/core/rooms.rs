//! The rooms that are open here: what they publish, how they are opened, and how they are compared after an interruption.

use crate::cluster::core::nodes::is_alive;
use crate::cluster::core::ordered::{Claim, OwnChanges};
use crate::cluster::core::origin_room::{OriginRoom, Output};
use crate::cluster::core::stored::LivePlaces;
use crate::cluster::core::{Channel, Core, Effect, parts};
use crate::cluster::frame::{Head, Item, MAX_RAW, MEMBERS_PER_PART, Member, Origin, Position, StreamId};
use crate::config::ClusterOrder;
use crate::room::remote::{LocalChange, RemoteChange, RemoteUpdate};
use crate::text::names::{NodeName, RoomName, UserName};
use bytes::Bytes;
use memchr::memrchr;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How long a room waits at most for other servers before it admits its first member, in milliseconds.
const OPENING: u64 = 500;

/// How long a room waits for its last lines, in milliseconds.
const HISTORY_TIMEOUT: u64 = 300;

/// How long a comparison of a room waits for other servers at most, in milliseconds.
const COMPARISON: u64 = 5_000;

/// How long a room is quiet before it says where it stands, in milliseconds.
const QUIET: u64 = 1_000;

/// How often a quiet room says again where it stands at least, in milliseconds. It begins with [`QUIET`], and each pause is
/// twice the one before.
const TAIL_PAUSE: u64 = 30_000;

/// The time between two looks at a room that waits for others, in milliseconds.
const WAITING_PAUSE: u64 = 100;

/// The time after which members of a server are asked for again if the server has said nothing of the room.
const SILENT: u64 = 75_000;

/// The rooms that are compared in each millisecond after an interruption.
const ROOMS_PER_MILLISECOND: u64 = 10;

/// The most bytes of updates that are held back while a room is compared.
const MAX_HELD_BACK: usize = 256 << 10;

/// The members of other servers are awaited.
#[derive(Debug)]
pub(super) struct Opening {
    /// The servers that have not answered.
    missing: BTreeSet<NodeName>,
    until: u64,
    /// When the servers were asked last.
    asked_at: u64,
    /// How often they were asked again.
    tries: u32,
    /// The changes of a room that is compared; `None` where the room opens.
    held_back: Option<Vec<RemoteChange>>,
    held_bytes: usize,
    /// Whether the last lines of the room were asked for, once all servers have answered.
    is_history_asked: bool,
    /// The first place of each stream whose changes have come since: they are no earlier lines.
    pub(super) live: LivePlaces,
}

impl Opening {
    /// Returns an opening, or a comparison if changes are `held_back`, which asks for no last lines.
    fn new(missing: BTreeSet<NodeName>, until: u64, asked_at: u64, held_back: Option<Vec<RemoteChange>>) -> Self {
        let is_history_asked = held_back.is_some();
        let (tries, held_bytes, live) = (0, 0, LivePlaces::default());
        Self { missing, until, asked_at, tries, held_back, held_bytes, is_history_asked, live }
    }

    fn is_awaiting_history(&self) -> bool {
        self.held_back.is_none() && self.is_history_asked
    }
}

/// A room that is open here.
#[derive(Debug)]
pub(super) struct OpenRoom {
    instance: u64,
    /// The number of its stream of changes.
    stream: u64,
    members: HashMap<UserName, u64>,
    pub(super) at: Position,
    pub(super) own: OwnChanges,
    pub(super) origins: BTreeMap<NodeName, OriginRoom>,
    opening: Option<Opening>,
    /// When a change or the place was published.
    published_at: u64,
    /// How often the place was said since the last change.
    tails: u32,
    /// Members that have to take another name, and have not yet.
    conflicts: HashSet<UserName>,
    /// When the room is looked at next.
    due: u64,
    /// True once the room was told that it is this server's alone.
    is_alone: bool,
    /// True until the members are sent to all servers: after an interruption, or since one has asked.
    is_snapshot_due: bool,
    /// When the members were sent last.
    snapshot_at: u64,
}

impl OpenRoom {
    /// Returns the number of members on this server.
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Returns true if a member of this server has a name.
    pub(super) fn has_member(&self, name: &UserName) -> bool {
        self.members.contains_key(name)
    }

    /// Returns true if changes of this server from a place on come after all that have happened here.
    pub(super) fn is_at(&self, stream: u64, from: Position) -> bool {
        self.stream == stream && from.total() >= self.own.at.total()
    }

    /// Holds changes of other servers back from now on, until these have answered or that takes too long.
    fn hold_back(&mut self, missing: BTreeSet<NodeName>, until: u64, now: u64) {
        // The servers are asked at the next look at the room.
        let asked_at = now.saturating_sub(2 * WAITING_PAUSE);
        match &mut self.opening {
            Some(opening @ Opening { held_back: Some(_), .. }) => {
                (opening.missing, opening.until, opening.asked_at, opening.tries) = (missing, until, asked_at, 0);
            }
            // The room opens, and waits for the servers anyway.
            Some(_) => {}
            None => {
                self.opening = Some(Opening::new(missing, until, asked_at, Some(Vec::new())));
            }
        }
    }

    /// Returns the time from the last change or place until the place is said.
    fn tail_pause(&self) -> u64 {
        (QUIET << self.tails.min(5)).min(TAIL_PAUSE)
    }
}

impl Core {
    /// Opens a room that wants its first member. The room gets [`RemoteChange::Opened`] when all servers have answered.
    pub(crate) fn open_room(&mut self, room: RoomName, instance: u64) {
        let missing = if self.has_other_nodes() { self.alive_nodes() } else { BTreeSet::new() };
        let (until, asked_at) = (self.now + OPENING, self.now);
        self.insert_room(room, instance);
        if let Some(open) = self.rooms.get_mut(&room) {
            open.opening = Some(Opening::new(missing, until, asked_at, None));
        }
        self.send_data(Channel::All, Head::Hello { room });
        self.end_opening_if_done(room);
        self.schedule(room, WAITING_PAUSE);
    }

    fn insert_room(&mut self, room: RoomName, instance: u64) {
        if let Some(before) = self.rooms.remove(&room) {
            self.timers.remove(&(before.due, room));
        } else {
            self.effects.push(Effect::Subscribe(room));
        }
        let due = self.now + QUIET;
        self.last_stream += 1;
        let open = OpenRoom {
            instance,
            stream: self.last_stream,
            members: HashMap::new(),
            at: Position::default(),
            own: OwnChanges::default(),
            origins: BTreeMap::new(),
            opening: None,
            published_at: self.now,
            tails: 0,
            conflicts: HashSet::new(),
            due,
            is_alone: false,
            is_snapshot_due: false,
            snapshot_at: 0,
        };
        self.rooms.insert(room, open);
        self.timers.insert((due, room));
        self.complete_unless_awaited(room);
    }

    /// Closes a room that has no member any more. Other servers know that from its last change, or ask.
    pub(crate) fn close_room(&mut self, room: RoomName, instance: u64) {
        if self.rooms.get(&room).is_some_and(|open| open.instance == instance) {
            // A room that is shut down has members until here.
            self.publish_leaves(room);
        }
        if self.rooms.get(&room).is_some_and(|open| open.instance == instance)
            && let Some(open) = self.rooms.remove(&room)
        {
            self.remember_place(room, open.stream, open.at);
            self.timers.remove(&(open.due, room));
            self.effects.push(Effect::Unsubscribe(room));
            self.count_changed(room);
            self.complete_unless_awaited(room);
            // A server that has missed the last change asks, and hears that the room is not open here.
            self.send_tail(StreamId { room, stream: open.stream }, open.at);
            self.send_snapshot(room);
        }
    }

    /// Sends what a room is like, after all of its changes so far.
    fn send_state(&mut self, room: RoomName, head: Head) {
        match self.order {
            ClusterOrder::Sender => self.send_data(Channel::Room(room), head),
            ClusterOrder::Total if self.log.is_shared => self.log.push_head(room, head, self.now),
            ClusterOrder::Total => {}
        }
    }

    /// Says where a room stands. Of a log nothing is missing.
    fn send_tail(&mut self, of: StreamId, at: Position) {
        if self.order == ClusterOrder::Sender {
            self.send_data(Channel::Room(of.room), Head::Tail { of, at });
        }
    }

    /// Answers a server that asks for the members of a room. Servers that ask at one moment share an answer.
    pub(super) fn answer_hello(&mut self, room: RoomName) {
        let now = self.now;
        match self.rooms.get_mut(&room) {
            Some(open) if now.saturating_sub(open.snapshot_at) < WAITING_PAUSE => {
                open.is_snapshot_due = true;
                self.schedule(room, WAITING_PAUSE);
            }
            _ => self.send_snapshot(room),
        }
    }

    /// Publishes that all members leave, since the server stops.
    pub(crate) fn publish_end(&mut self) {
        let rooms: Vec<RoomName> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.publish_leaves(room);
        }
    }

    /// Publishes that all members of a room leave.
    fn publish_leaves(&mut self, room: RoomName) {
        let members = self.rooms.get_mut(&room).map(|open| std::mem::take(&mut open.members)).unwrap_or_default();
        for name in members.into_keys() {
            self.push_item(room, Item::Left(name), Bytes::new(), true);
        }
    }

    /// Publishes the changes of a batch. `is_shown`: they have happened in the room, and do not wait for the log.
    pub(crate) fn on_batch(&mut self, room: RoomName, instance: u64, changes: Vec<LocalChange>, is_shown: bool) {
        let is_open = self.rooms.get(&room).is_some_and(|open| open.instance == instance);
        if !is_open {
            self.insert_room(room, instance);
            self.send_data(Channel::All, Head::Hello { room });
        }
        for change in changes {
            self.publish(room, change, is_shown);
        }
        if let Some(open) = self.rooms.get_mut(&room) {
            (open.published_at, open.tails) = (self.now, 0);
        }
        self.schedule(room, QUIET);
    }

    fn publish(&mut self, room: RoomName, change: LocalChange, is_shown: bool) {
        let now = self.now;
        let (item, named) = match change {
            LocalChange::Lines { bytes, lines } => return self.publish_lines(room, (bytes, lines), is_shown),
            LocalChange::Claimed(name) => return self.claim(room, name, Claim::Join),
            LocalChange::ClaimedRename(from, to) => return self.claim(room, to, Claim::Rename(from)),
            // The member has another name since then, and leaves with that one.
            LocalChange::Left(name) if self.rooms.get(&room).is_none_or(|open| !open.has_member(&name)) => return,
            LocalChange::Joined(name) => {
                let member = Member { name, since: now };
                self.change_own_members(room, None, Some(member));
                (Item::Joined(member), Some(name))
            }
            LocalChange::Left(name) => {
                self.change_own_members(room, Some(name), None);
                (Item::Left(name), None)
            }
            LocalChange::Renamed(from, to) => {
                let member = Member { name: to, since: now };
                self.change_own_members(room, Some(from), Some(member));
                (Item::Renamed(from, member), Some(to))
            }
        };
        self.push_item(room, item, Bytes::new(), is_shown);
        if let Some(name) = named {
            self.check_name(room, name);
        }
    }

    /// Removes a member of this server from a room, and adds one.
    pub(super) fn change_own_members(&mut self, room: RoomName, gone: Option<UserName>, new: Option<Member>) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if let Some(name) = gone {
            open.members.remove(&name);
        }
        if let Some(Member { name, since }) = new {
            open.members.insert(name, since);
        }
        self.count_changed(room);
    }

    /// Publishes lines in frames of a bounded length.
    fn publish_lines(&mut self, room: RoomName, (mut bytes, mut lines): (Bytes, u32), is_shown: bool) {
        // Members of this server have lines that did not wait for the log: elsewhere they would come in another order.
        let is_out_of_order = is_shown && self.order == ClusterOrder::Total && !self.log.is_ending;
        if bytes.is_empty() || is_out_of_order || self.log.is_full(bytes.len()) {
            // Lines that were dropped on their way are a hole, of which receivers learn from the positions.
            if let Some(open) = self.rooms.get_mut(&room) {
                open.at.lines += u64::from(lines);
            }
            if self.order == ClusterOrder::Total {
                // No word of where the room stands follows in a log.
                self.want_own_snapshot(room);
            }
            if is_shown {
                self.counts.dropped_lines += u64::from(lines);
            } else {
                self.tell_own_missing(room, lines);
            }
            return;
        }
        while bytes.len() > MAX_RAW
            && let Some(end) = memrchr(b'\n', &bytes[..MAX_RAW])
        {
            let part = bytes.split_to(end + 1);
            let count = u32::try_from(memchr::memchr_iter(b'\n', &part).count()).unwrap_or(u32::MAX).min(lines);
            lines -= count;
            let item = Item::Lines { bytes: u32::try_from(part.len()).unwrap_or(u32::MAX), lines: count };
            self.push_item(room, item, part, is_shown);
        }
        let item = Item::Lines { bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX), lines };
        self.push_item(room, item, bytes, is_shown);
    }

    /// Publishes a change of this server. What is not shown happens when it comes back from the log, or at once where the
    /// log is out of reach.
    pub(super) fn push_item(&mut self, room: RoomName, item: Item, raw: Bytes, is_shown: bool) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let (of, from) = (StreamId { room, stream: open.stream }, open.at);
        open.at = from.after(&item);
        if self.order == ClusterOrder::Sender {
            self.data.push_change(of, from, (item, raw), self.now);
        } else if self.log.is_shared && (is_shown || !self.log.is_ending) {
            self.log.push_change(of, from, (item, raw), is_shown, self.now);
        } else if self.log.is_shared {
            // The server stops: its own members have no time to wait.
            open.own.at = open.at;
            self.show_own(room, &item, raw.clone());
            self.log.push_change(of, from, (item, raw), true, self.now);
        } else {
            open.own.at = open.at;
            if let Item::Lines { lines, .. } = item {
                self.counts.dropped_lines += u64::from(lines);
            }
            if !is_shown {
                self.show_own(room, &item, raw);
            }
        }
    }

    /// Sends the members of a room of this server to the others, soon.
    pub(super) fn want_own_snapshot(&mut self, room: RoomName) {
        if let Some(open) = self.rooms.get_mut(&room) {
            open.is_snapshot_due = true;
        }
        self.schedule(room, QUIET);
    }

    /// Returns the number of the stream of a room that is open here.
    pub(super) fn stream_of(&self, room: RoomName) -> Option<u64> {
        self.rooms.get(&room).map(|open| open.stream)
    }

    /// Returns the instance of a room that is open here.
    pub(super) fn instance_of(&self, room: RoomName) -> Option<u64> {
        self.rooms.get(&room).map(|open| open.instance)
    }

    /// Has the member of a name take another one if an older member of another server has it, too.
    pub(super) fn check_name(&mut self, room: RoomName, name: UserName) {
        let own_node = self.origin.node;
        let Some(open) = self.rooms.get_mut(&room) else { return };
        open.conflicts.remove(&name);
        let Some(own) = open.members.get(&name) else { return };
        let is_older = |(node, origin): (&NodeName, &OriginRoom)| {
            origin.members().get(&name).is_some_and(|since| (*since, *node) < (*own, own_node))
        };
        if open.origins.iter().any(is_older) {
            open.conflicts.insert(name);
            self.update_room(room, vec![RemoteChange::Yield(name)]);
            self.schedule(room, QUIET);
        }
    }

    /// Sends the members of a room, or that it is not open here.
    pub(super) fn send_snapshot(&mut self, room: RoomName) {
        let Some(open) = self.rooms.get_mut(&room) else {
            // A room that is opened later has a stream with a greater number.
            let of = StreamId { room, stream: self.last_stream };
            return self.send_state(room, Head::Closed { of });
        };
        open.snapshot_at = self.now;
        let (of, at) = (StreamId { room, stream: open.stream }, open.at);
        let member = |(name, since): (&UserName, &u64)| Member { name: *name, since: *since };
        let all: Vec<Member> = open.members.iter().map(member).collect();
        // More claims than a frame holds are known from the log alone.
        let mut claims: Vec<UserName> = open.own.claims.keys().copied().take(MEMBERS_PER_PART).collect();
        for (part, is_first, is_last) in parts(&all, MEMBERS_PER_PART) {
            let claims = if is_first { std::mem::take(&mut claims) } else { Vec::new() };
            let head = Head::Snapshot { of, at, members: part.to_vec(), claims, is_first, is_last };
            self.send_state(room, head);
        }
    }

    /// Follows what a server says of a room: `follow` applies it to the stream of the server. Returns what `follow` returns.
    pub(super) fn follow<T>(
        &mut self,
        room: RoomName,
        (node, boot): (NodeName, u64),
        follow: impl FnOnce(&mut OriginRoom, &mut Output, u64) -> T,
    ) -> Option<T> {
        let (now, mut output) = (self.now, Output::new(self.max_line, self.order));
        let open = self.rooms.get_mut(&room)?;
        let origin = open.origins.entry(node).or_insert_with(|| OriginRoom::new(node, boot, now));
        let result = follow(origin, &mut output, now);
        let is_unknown = !origin.is_known();
        let Output { changes, missing, rejected, .. } = output;
        self.counts.missing_lines = self.counts.missing_lines.saturating_add(missing);
        self.counts.rejected_lines = self.counts.rejected_lines.saturating_add(rejected);
        let named: Vec<UserName> = changes
            .iter()
            .filter_map(|change| match change {
                RemoteChange::Joined(_, name) | RemoteChange::Added(_, name) | RemoteChange::Renamed(_, _, name) => {
                    Some(*name)
                }
                _ => None,
            })
            .collect();
        self.update_room(room, changes);
        for name in named {
            self.check_name(room, name);
        }
        if is_unknown {
            self.ask_for_snapshots(room);
            self.schedule(room, WAITING_PAUSE);
        }
        Some(result)
    }

    /// Sends changes to a room, or holds them back while the room is compared.
    pub(super) fn update_room(&mut self, room: RoomName, changes: Vec<RemoteChange>) {
        let is_shared = self.is_shared();
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if changes.is_empty() {
            return;
        }
        // Joins wait for decisions, so that these are not held back.
        let is_decision = |change: &RemoteChange| matches!(change, RemoteChange::Opened | RemoteChange::NodeChecked(_));
        let is_held_back = !changes.iter().any(is_decision);
        let update = RemoteUpdate(changes);
        if is_held_back && let Some(Opening { held_back: Some(held), held_bytes, until, .. }) = &mut open.opening {
            *held_bytes += update.bytes();
            held.extend(update.0);
            if *held_bytes <= MAX_HELD_BACK {
                return;
            }
            if is_shared {
                *until = self.now;
                return;
            }
            // The comparison goes on until the end of the split.
            *held_bytes = 0;
            let changes = std::mem::take(held);
            self.effects.push(Effect::Update(room, open.instance, RemoteUpdate(changes)));
            return;
        }
        let instance = open.instance;
        self.effects.push(Effect::Update(room, instance, update));
    }

    /// Ends a comparison: changes that were held back are told now.
    pub(super) fn flush_held_back(&mut self, room: RoomName) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if let Some(held) =
            open.opening.take_if(|opening| opening.held_back.is_some()).and_then(|opening| opening.held_back)
        {
            self.update_room(room, held);
        }
    }

    /// Records that a server has answered about a room.
    pub(super) fn on_answer(&mut self, room: RoomName, node: NodeName) {
        if let Some(opening) = self.rooms.get_mut(&room).and_then(|open| open.opening.as_mut()) {
            opening.missing.remove(&node);
        }
        self.end_opening_if_done(room);
    }

    /// Asks a server that has members in a room which is opened for its last lines, or NATS if there is none. Returns true if
    /// an answer is awaited.
    fn ask_history(&mut self, room: RoomName) -> bool {
        let (until, is_in_reach) = (self.now + HISTORY_TIMEOUT, self.is_in_reach());
        let nodes = &self.nodes;
        let Some(open) = self.rooms.get_mut(&room) else { return false };
        let Some(opening) = open.opening.as_mut() else { return false };
        if std::mem::replace(&mut opening.is_history_asked, true) {
            return opening.until > self.now;
        }
        let has_members = |(node, origin): &(&NodeName, &OriginRoom)| {
            is_in_reach && !origin.members().is_empty() && is_alive(nodes, node)
        };
        opening.until = until;
        let instance = open.instance;
        let Some(node) = open.origins.iter().find(has_members).map(|(node, _)| *node) else {
            return self.read_stored(room, instance);
        };
        self.send_control(Channel::Node(node), Head::HistoryWanted { room });
        true
    }

    /// Returns the opening of a room, while it opens.
    pub(super) fn opening_mut(&mut self, room: RoomName) -> Option<&mut Opening> {
        let opening = self.rooms.get_mut(&room)?.opening.as_mut();
        opening.filter(|opening| opening.held_back.is_none())
    }

    /// Returns true if an instance of a room is opened as soon as its last lines have come.
    pub(super) fn awaits_history(&self, room: RoomName, instance: u64) -> bool {
        self.rooms.get(&room).is_some_and(|open| {
            open.instance == instance && open.opening.as_ref().is_some_and(Opening::is_awaiting_history)
        })
    }

    /// Gives a room that is opened its last lines, and opens it.
    pub(super) fn on_history(&mut self, room: RoomName, lines: RemoteChange) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if let Some(opening) = open.opening.take_if(|opening| opening.is_awaiting_history()) {
            self.update_room(room, vec![lines, RemoteChange::Opened]);
            self.ask_on(room, opening.missing);
        }
    }

    /// Asks servers on that have not answered in time: they may have members whose next word is far away.
    fn ask_on(&mut self, room: RoomName, missing: BTreeSet<NodeName>) {
        for node in missing {
            if let Some(boot) = self.nodes.get(&node).map(|node| node.origin.boot) {
                self.follow_if_unknown(room, (node, boot));
            }
        }
    }

    /// Ends the opening or the comparison of a room when no server is missing, or when it takes too long.
    fn end_opening_if_done(&mut self, room: RoomName) {
        let now = self.now;
        let (nodes, can_wait, is_shared) = (&self.nodes, self.is_in_reach(), self.is_shared());
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let is_silent = |opening: &Opening| {
            // A server that was heard since it was asked answers no more. Of one that was not it is soon known.
            let since = opening.until.saturating_sub(OPENING);
            opening.missing.iter().any(|node| nodes.get(node).is_some_and(|node| !node.was_heard_since(since)))
        };
        let is_over = |opening: &mut Opening| {
            // A join waits for nobody while no server can be reached.
            let is_opening = opening.held_back.is_none();
            let is_late = opening.until <= now && !(is_opening && is_silent(opening));
            // A room is whole again only once the log is in reach.
            let can_end = is_opening || is_shared;
            can_end && (opening.missing.is_empty() || is_late || (is_opening && !can_wait))
        };
        let is_opening = open.opening.as_ref().is_some_and(|opening| opening.held_back.is_none());
        if !open.opening.as_mut().is_some_and(is_over) || (is_opening && self.ask_history(room)) {
            return;
        }
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let Some(opening) = open.opening.take() else { return };
        let was_alone = std::mem::take(&mut open.is_alone);
        let changes = match opening.held_back {
            None => vec![RemoteChange::Opened],
            Some(held) if was_alone => {
                let mut changes = vec![RemoteChange::Notice("*** the room is whole again\n".to_owned())];
                changes.extend(held);
                changes
            }
            Some(held) => held,
        };
        self.update_room(room, changes);
        self.ask_on(room, opening.missing);
    }

    /// Asks the servers whose members of a room are unknown, those whose turn it is.
    fn ask_for_snapshots(&mut self, room: RoomName) {
        if !self.is_in_reach() {
            return;
        }
        let now = self.now;
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let nodes = &self.nodes;
        let asked: Vec<NodeName> = open
            .origins
            .iter_mut()
            .filter(|(node, _)| is_alive(nodes, node))
            .filter_map(|(node, origin)| origin.wants_to_ask(now).then_some(*node))
            .collect();
        for node in asked {
            self.send_data(Channel::Node(node), Head::Hello { room });
        }
    }

    /// Looks at the rooms whose time has come.
    pub(super) fn run_timers(&mut self) {
        while let Some((due, room)) = self.timers.first().copied().filter(|(due, _)| *due <= self.now) {
            self.timers.remove(&(due, room));
            if let Some(open) = self.rooms.get_mut(&room) {
                // The room has no timer until the look is over; one that is set meanwhile is kept if it is earlier.
                open.due = u64::MAX;
                let pause = self.look_at_room(room);
                self.schedule(room, pause.max(1));
            }
        }
    }

    /// Does what is due in a room. Returns the time until the next look.
    fn look_at_room(&mut self, room: RoomName) -> u64 {
        let now = self.now;
        if self.rooms.get_mut(&room).is_some_and(|open| std::mem::take(&mut open.is_snapshot_due)) {
            // Other servers compare with it.
            self.send_snapshot(room);
        }
        self.repeat_hello(room);
        let conflicts = self.rooms.get(&room).map(|open| open.conflicts.iter().copied().collect::<Vec<UserName>>());
        for name in conflicts.unwrap_or_default() {
            self.check_name(room, name);
        }
        self.end_opening_if_done(room);
        let nodes = &self.nodes;
        let Some(open) = self.rooms.get_mut(&room) else { return TAIL_PAUSE };
        for (node, origin) in &mut open.origins {
            if is_alive(nodes, node) && !origin.members().is_empty() && now.saturating_sub(origin.heard) > SILENT {
                origin.heard = now;
                origin.want_snapshot(now);
            }
        }
        if now.saturating_sub(open.published_at) >= open.tail_pause() {
            (open.published_at, open.tails) = (now, open.tails.saturating_add(1));
            let (of, at) = (StreamId { room, stream: open.stream }, open.at);
            self.send_tail(of, at);
        }
        self.ask_for_snapshots(room);
        let Some(open) = self.rooms.get(&room) else { return TAIL_PAUSE };
        let waits = |node: &NodeName| is_alive(&self.nodes, node);
        let is_waiting = self.is_in_reach()
            && (open.opening.is_some() || open.origins.iter().any(|(node, origin)| !origin.is_known() && waits(node)));
        let until_tail = open.tail_pause().saturating_sub(now.saturating_sub(open.published_at)).max(1);
        // Last lines are awaited in any case.
        let is_waiting = is_waiting || open.opening.as_ref().is_some_and(Opening::is_awaiting_history);
        if is_waiting { WAITING_PAUSE.min(until_tail) } else { until_tail }
    }

    /// Asks all servers again for the members of a room that waits for some, and forgets those that are dead.
    fn repeat_hello(&mut self, room: RoomName) {
        if !self.is_in_reach() || self.rooms.get(&room).is_none_or(|open| open.opening.is_none()) {
            return;
        }
        let (now, alive) = (self.now, self.alive_nodes());
        let Some(opening) = self.rooms.get_mut(&room).and_then(|open| open.opening.as_mut()) else { return };
        opening.missing.retain(|node| alive.contains(node));
        let pause = (2 * WAITING_PAUSE) << opening.tries.min(4);
        if opening.missing.is_empty() || now.saturating_sub(opening.asked_at) < pause {
            return;
        }
        (opening.asked_at, opening.tries) = (now, opening.tries.saturating_add(1));
        let missing: Vec<NodeName> = opening.missing.iter().copied().collect();
        for node in missing {
            // Of one that is gone it is soon known.
            self.ping(node);
            self.send_data(Channel::Node(node), Head::Hello { room });
        }
    }

    fn schedule(&mut self, room: RoomName, pause: u64) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let due = self.now + pause;
        if due < open.due {
            self.timers.remove(&(open.due, room));
            open.due = due;
            self.timers.insert((due, room));
        }
    }

    /// Compares all rooms with those of other servers, after an interruption: some in each millisecond.
    pub(super) fn compare_rooms(&mut self) {
        let rooms: Vec<RoomName> = self.rooms.keys().copied().collect();
        let missing = self.alive_nodes();
        let now = self.now;
        for (index, room) in rooms.into_iter().enumerate() {
            let Some(open) = self.rooms.get_mut(&room) else { continue };
            for origin in open.origins.values_mut() {
                origin.want_snapshot(now);
            }
            open.hold_back(missing.clone(), now + COMPARISON, now);
            open.is_snapshot_due = true;
            self.schedule(room, index as u64 / ROOMS_PER_MILLISECOND);
        }
    }

    /// Tells each room with members of other servers that these are out of reach.
    pub(super) fn withdraw_remote_members(&mut self) {
        let (now, node) = (self.now, self.origin.node);
        let alive = self.alive_nodes();
        let rooms: Vec<RoomName> = self.rooms.keys().copied().collect();
        for room in rooms {
            let Some(open) = self.rooms.get_mut(&room) else { continue };
            let mut output = Output::new(self.max_line, self.order);
            let has_remote = open.origins.values().any(|origin| !origin.members().is_empty());
            open.origins.values_mut().for_each(|origin| origin.withdraw(&mut output, now));
            if has_remote && !std::mem::replace(&mut open.is_alone, true) {
                output.changes.push(RemoteChange::Notice(format!("*** this room is on {node} only for now\n")));
            }
            self.update_room(room, output.changes);
            if let Some(open) = self.rooms.get_mut(&room).filter(|_| has_remote) {
                // The changes that follow are told after the end of the split.
                open.hold_back(alive.clone(), u64::MAX, now);
            }
        }
    }

    /// Wants the members of a server in a room that is open here, unless something is known of them: both servers may have
    /// opened it before they knew of each other.
    pub(super) fn follow_if_unknown(&mut self, room: RoomName, (node, boot): (NodeName, u64)) {
        if self.rooms.get(&room).is_some_and(|open| !open.origins.contains_key(&node)) {
            self.follow(room, (node, boot), |_, _, _| ());
        }
    }

    /// Wants the members of a server anew in a room where it has some.
    pub(super) fn compare_if_members(&mut self, room: RoomName, node: NodeName) {
        let now = self.now;
        let origin = self.rooms.get_mut(&room).and_then(|open| open.origins.get_mut(&node));
        if let Some(origin) = origin.filter(|origin| !origin.members().is_empty()) {
            origin.want_snapshot(now);
            self.schedule(room, 0);
        }
    }

    /// Returns whether a room is open here.
    pub(super) fn is_open(&self, room: RoomName) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Returns whether a name is that of a member of another server in a room.
    pub(super) fn is_member_of(&self, room: RoomName, origin: &Origin, name: &UserName) -> bool {
        let origin = self.rooms.get(&room).and_then(|open| open.origins.get(&origin.node));
        origin.is_some_and(|origin| origin.members().contains_key(name))
    }

    /// Removes the members of a server that is gone.
    pub(super) fn remove_members_of(&mut self, node: NodeName) {
        self.for_each_origin(node, OriginRoom::remove_members);
    }

    /// Removes the members of a server that is gone from one room.
    pub(super) fn remove_members_in(&mut self, room: RoomName, node: NodeName) {
        let (now, mut output) = (self.now, Output::new(self.max_line, self.order));
        if let Some(origin) = self.rooms.get_mut(&room).and_then(|open| open.origins.get_mut(&node)) {
            origin.remove_members(&mut output, now);
        }
        self.update_room(room, output.changes);
    }

    /// Forgets the streams of a process that is gone, as another process has its name.
    pub(super) fn forget_streams(&mut self, node: NodeName) {
        self.remove_members_of(node);
        for open in self.rooms.values_mut() {
            open.origins.remove(&node);
        }
    }

    /// Wants the members of a server anew, since it may have missed or lost frames.
    pub(super) fn want_snapshots(&mut self, node: NodeName) {
        self.for_each_origin(node, |origin, _, now| origin.want_snapshot(now));
    }

    fn for_each_origin(&mut self, node: NodeName, mut act: impl FnMut(&mut OriginRoom, &mut Output, u64)) {
        let now = self.now;
        let rooms: Vec<RoomName> =
            self.rooms.iter().filter(|(_, open)| open.origins.contains_key(&node)).map(|(room, _)| *room).collect();
        for room in rooms {
            let mut output = Output::new(self.max_line, self.order);
            if let Some(origin) = self.rooms.get_mut(&room).and_then(|open| open.origins.get_mut(&node)) {
                act(origin, &mut output, now);
            }
            self.update_room(room, output.changes);
            self.schedule(room, WAITING_PAUSE);
        }
    }
}
