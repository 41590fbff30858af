//! Publishing a room of this server: changes, the place where it stands, and its members.

use crate::cluster::core::ordered::Claim;
use crate::cluster::core::origin_room::OriginRoom;
use crate::cluster::core::rooms::QUIET;
use crate::cluster::core::{Channel, Core, parts};
use crate::cluster::frame::{Head, Item, MAX_RAW, MEMBERS_PER_PART, Member, Position, StreamId};
use crate::config::ClusterOrder;
use crate::room::remote::{LocalChange, RemoteChange};
use crate::text::names::{NodeName, RoomName, UserName};
use bytes::Bytes;
use memchr::memrchr;

impl Core {
    /// Sends what a room is like, after all of its changes so far.
    pub(super) fn send_state(&mut self, room: RoomName, head: Head) {
        match self.order {
            ClusterOrder::Sender => self.send_data(Channel::Room(room), head),
            ClusterOrder::Total if self.log.is_shared => self.log.push_head(room, head, self.now),
            ClusterOrder::Total => {}
        }
    }

    /// Says where a room stands. Of a log nothing is missing.
    pub(super) fn send_tail(&mut self, of: StreamId, at: Position) {
        if self.order == ClusterOrder::Sender {
            self.send_data(Channel::Room(of.room), Head::Tail { of, at });
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
    pub(super) fn publish_leaves(&mut self, room: RoomName) {
        let members = self.rooms.get_mut(&room).map(|open| std::mem::take(&mut open.members)).unwrap_or_default();
        for name in members.into_keys() {
            self.push_item(room, Item::Left(name), Bytes::new(), true);
        }
    }

    /// Publishes the changes of a batch. `is_shown`: they have happened in the room, and do not wait for the log.
    pub(crate) fn on_batch(&mut self, room: RoomName, instance: u64, changes: Vec<LocalChange>, is_shown: bool) {
        if self.instance_of(room) != Some(instance) {
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
}
