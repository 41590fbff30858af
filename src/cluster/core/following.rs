//! How a room follows what other servers say of it.

use crate::cluster::core::nodes::is_alive;
use crate::cluster::core::opening::{MAX_HELD_BACK, Opening};
use crate::cluster::core::origin_room::{OriginRoom, Output};
use crate::cluster::core::rooms::WAITING_PAUSE;
use crate::cluster::core::{Channel, Core, Effect};
use crate::cluster::frame::{Head, Origin};
use crate::room::remote::{RemoteChange, RemoteUpdate};
use crate::text::names::{NodeName, RoomName, UserName};

impl Core {
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
            return self.send_update(room, RemoteUpdate(changes));
        }
        self.send_update(room, update);
    }

    /// Sends changes to a room, whether it is compared or not.
    pub(super) fn send_update(&mut self, room: RoomName, update: RemoteUpdate) {
        if let Some(instance) = self.instance_of(room) {
            self.effects.push(Effect::Update(room, instance, update));
        }
    }

    /// Asks the servers whose members of a room are unknown, those whose turn it is.
    pub(super) fn ask_for_snapshots(&mut self, room: RoomName) {
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
        self.act_on_origin(room, node, OriginRoom::remove_members);
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
        let rooms: Vec<RoomName> =
            self.rooms.iter().filter(|(_, open)| open.origins.contains_key(&node)).map(|(room, _)| *room).collect();
        for room in rooms {
            self.act_on_origin(room, node, &mut act);
            self.schedule(room, WAITING_PAUSE);
        }
    }

    fn act_on_origin(&mut self, room: RoomName, node: NodeName, act: impl FnOnce(&mut OriginRoom, &mut Output, u64)) {
        let (now, mut output) = (self.now, Output::new(self.max_line, self.order));
        if let Some(origin) = self.rooms.get_mut(&room).and_then(|open| open.origins.get_mut(&node)) {
            act(origin, &mut output, now);
        }
        self.update_room(room, output.changes);
    }
}
