//! A membership: a connection's handle to one room, through which it sends lines and requests.

use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::Room;
use crate::room::heavy_senders::sender_number;
pub use crate::room::inbox::SendStatus;
use crate::room::inbox::{Inbox, PassDue};
use crate::room::operation::{
    Addressee, BlockedLines, IdsRequest, MemberListing, MemberRef, Operation, Requester, Whisper,
};
use crate::room::registry::Registry;
use crate::room::roster::{MemberKey, NameMatch, find_by_name};
use crate::text::names::{RoomName, UserName, numbered_names};
use std::sync::Arc;

/// A place in a room, requested or given. Its drop sends a leave: the other members see `has left`.
///
/// It may be dropped anywhere: without a runtime, the drop itself runs the room's passes.
#[derive(Debug)]
pub struct Membership {
    registry: Arc<Registry>,
    pub(super) room: Arc<Room>,
    peer: Arc<Peer<dyn ByteSink>>,
    pub(super) key: MemberKey,
    /// The requested name, until the room answers. Boxed, since few memberships wait for one.
    pending_name: Option<Box<UserName>>,
}

impl Membership {
    pub(super) fn new(registry: Arc<Registry>, room: Arc<Room>, peer: Arc<Peer<dyn ByteSink>>, key: MemberKey) -> Self {
        Self { registry, room, peer, key, pending_name: None }
    }

    /// Returns the slot of this membership among the connection's two.
    pub(crate) fn slot(&self) -> MembershipSlot {
        self.key.slot
    }

    /// Returns the room's name.
    #[must_use]
    pub fn room(&self) -> RoomName {
        self.room.name()
    }

    /// Returns the member's name in the room.
    #[must_use]
    pub fn user(&self) -> UserName {
        self.key.name
    }

    /// Returns the number of the room's members, as the last pass has left them.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.room.roster().len() + self.room.remote_members().map_or(0, |remote| remote.len())
    }

    /// Sends `lines` lines, encoded with their line ends, to all members of the room. The room takes them in any case.
    ///
    /// When its inbox is full, it returns [`SendStatus::Blocked`]: the lines wait for their sender's turn, and the room
    /// raises `INBOX_READY` when a batch has them. Until then the caller sends nothing else through this membership; its
    /// drop sends a leave that comes after the lines.
    pub fn send_lines(&self, bytes: Box<[u8]>, lines: u32) -> SendStatus {
        let (status, due) = self.inbox().send_lines((bytes, lines), sender_number(self.peer.id()), |bytes, lines| {
            let charge = self.room.charge_memory(bytes.len());
            BlockedLines { bytes, lines, sender: self.requester(), charge }
        });
        self.spawn_pass(due);
        status
    }

    /// Requests another name in the room. The room raises `RENAMED` or `NAME_TAKEN`, after which the caller
    /// calls [`Membership::resolve_rename`].
    pub(crate) fn request_rename(&mut self, name: UserName) {
        self.pending_name = Some(Box::new(name));
        let member = MemberRef { key: self.key, peer: Arc::clone(&self.peer) };
        self.spawn_pass(self.inbox().send(Operation::Rename(Box::new(member), Box::new(name))));
    }

    /// Records the answer to [`Membership::request_rename`] and returns the requested name.
    pub(crate) fn resolve_rename(&mut self, given: bool) -> Option<UserName> {
        let pending_name = self.pending_name.take().map(|name| *name);
        if let Some(name) = pending_name.filter(|_| given) {
            self.key.name = name;
        }
        pending_name
    }

    /// Sends `text` to the one member of a name, after all lines that were sent before. The room sends the outcome to
    /// the peer and raises `REQUEST_DONE`. A whisper needs no capacity of the inbox: a connection has one at a time.
    pub(crate) fn send_whisper(&self, to: UserName, text: &str) {
        self.whisper(Addressee::Named(to), text);
    }

    /// Sends `text` to the member that whispered last to this member in this room, as
    /// [`Membership::send_whisper`] does.
    pub(crate) fn send_reply(&self, text: &str) {
        self.whisper(Addressee::LastWhisperer, text);
    }

    fn whisper(&self, to: Addressee, text: &str) {
        let charge = self.room.charge_memory(text.len());
        let (sender, from) = (self.requester(), self.user());
        let whisper = Whisper { sender, from, to, text: text.into(), _charge: charge };
        self.spawn_pass(self.inbox().send(Operation::Whisper(Box::new(whisper))));
    }

    /// Requests the room's last `count` lines. The room sends them to the peer and raises `REQUEST_DONE`.
    pub(crate) fn request_history(&self, count: u16) {
        self.spawn_pass(self.inbox().send(Operation::ShowHistory {
            peer: Arc::clone(&self.peer),
            slot: self.key.slot,
            count,
        }));
    }

    /// Requests numbers of the lines, or none. The room replies to the peer and raises `REQUEST_DONE`.
    pub(crate) fn request_ids(&self, request: IdsRequest) {
        self.spawn_pass(self.inbox().send(Operation::SetIds(Box::new((self.requester(), request)))));
    }

    /// Requests the names of the room's members, in the order of the room's lines: the reply has all joins, leaves and
    /// renames of which the peer has seen the line, and no later one. The room sends it to the peer and raises
    /// `REQUEST_DONE`.
    pub(crate) fn request_members(&self, listing: MemberListing) {
        let member = MemberRef { key: self.key, peer: Arc::clone(&self.peer) };
        self.spawn_pass(self.inbox().send(Operation::ShowMembers(Box::new(member), listing)));
    }

    /// Returns a name like the member's own that no member of the room has, on any server, as far as this one knows: `bob~2`
    /// for `bob` and for `bob~3`.
    pub(crate) fn similar_free_name(&self) -> Option<UserName> {
        let (members, remote) = (self.room.roster().snapshot(), self.room.remote_members());
        let is_free = |name: &UserName| {
            matches!(find_by_name(&members, *name), NameMatch::None)
                && remote.as_ref().is_none_or(|remote| remote.find(name).is_none())
        };
        numbered_names(self.user()).find(is_free)
    }

    /// Returns the number of rooms of the server.
    pub(crate) fn room_count(&self) -> usize {
        self.registry.len()
    }

    /// Passes the number of the room's members and their names to `visit`, as the last pass has left them.
    pub(crate) fn visit_members(&self, visit: impl FnOnce(usize, &mut dyn Iterator<Item = &UserName>)) {
        let (members, remote) = (self.room.roster().snapshot(), self.room.remote_members());
        let (remote_len, remote_names) =
            (remote.as_ref().map_or(0, |remote| remote.len()), remote.iter().flat_map(|remote| remote.names()));
        visit(members.len() + remote_len, &mut members.keys().map(|key| &key.name).chain(remote_names));
    }

    /// Requests the rooms of the server and their numbers of members, in the order of the room's lines. The room sends
    /// them to the peer and raises `REQUEST_DONE`.
    pub(crate) fn request_rooms(&self) {
        self.spawn_pass(self.inbox().send(Operation::ShowRooms { peer: Arc::clone(&self.peer), slot: self.key.slot }));
    }

    fn requester(&self) -> Requester {
        Requester { peer: Arc::clone(&self.peer), slot: self.key.slot }
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.room.inbox
    }

    pub(super) fn spawn_pass(&self, due: Option<PassDue>) {
        self.registry.spawn_pass(due, &self.room);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // While a rename is pending the membership can't know which name the room gave it, so it sends a
        // leave for both. The room ignores the leave for a name that this peer does not have.
        let pending_name = self.pending_name.as_ref().map(|name| MemberKey { name: **name, ..self.key });
        for key in [Some(self.key), pending_name].into_iter().flatten() {
            let leaver = MemberRef { key, peer: Arc::clone(&self.peer) };
            self.spawn_pass(self.inbox().send(Operation::Leave(Box::new(leaver))));
        }
    }
}
