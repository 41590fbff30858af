//! A membership: what a connection holds of a room, and what it asks of it.

use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::Room;
use crate::room::inbox::{Inbox, MemberRef, Operation, PassToken, Requester, Whisper};
use crate::room::passes::spawn_pass;
use crate::room::registry::Registry;
use crate::room::roster::{MemberKey, holds_key};
use crate::text::names::{RoomName, UserName};
use std::sync::Arc;

/// A seat in a room, asked for or had. Dropping it gives it up: the others see `has left`.
#[derive(Debug)]
pub struct Membership {
    pub(super) registry: Arc<Registry>,
    pub(super) room: Arc<Room>,
    peer: Arc<Peer<dyn ByteSink>>,
    pub(super) key: MemberKey,
    /// The name that was asked for, until the room has answered. Boxed: that is seldom.
    pending_name: Option<Box<UserName>>,
}

impl Membership {
    pub(super) fn new(registry: Arc<Registry>, room: Arc<Room>, peer: Arc<Peer<dyn ByteSink>>, key: MemberKey) -> Self {
        Self { registry, room, peer, key, pending_name: None }
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> RoomName {
        self.room.name()
    }

    /// The name in the room.
    #[must_use]
    pub fn user(&self) -> UserName {
        self.key.name
    }

    /// Returns the slot of this membership among the connection's two.
    pub(crate) fn slot(&self) -> MembershipSlot {
        self.key.slot
    }

    /// Hands in `lines` lines, laid out with their line ends, for everybody in the room.
    ///
    /// # Errors
    /// Gives the bytes back when the room's inbox is full; the peer is told `INBOX_READY` when it is
    /// worth trying again.
    pub fn send_lines(&self, bytes: Box<[u8]>, lines: u32) -> Result<(), Box<[u8]>> {
        match self.inbox().try_send_lines(bytes, lines) {
            Ok(token) => {
                self.spawn_pass(token);
                Ok(())
            }
            Err(bytes) => {
                // Whatever fills the inbox now is in front of this: when the pass gets here, it
                // has taken all that.
                self.spawn_pass(self.inbox().send(self.notify_ready()));
                Err(bytes)
            }
        }
    }

    /// Asks for another name in the room. The peer is told `RENAMED` or `NAME_TAKEN`; either is to be
    /// noted with [`Membership::resolve_rename`].
    pub(crate) fn request_rename(&mut self, name: UserName) {
        self.pending_name = Some(Box::new(name));
        let member = MemberRef { key: self.key, peer: Arc::clone(&self.peer) };
        self.spawn_pass(self.inbox().send(Operation::Rename(Box::new(member), Box::new(name))));
    }

    /// Notes what came of [`Membership::request_rename`]; the name that was asked for.
    pub(crate) fn resolve_rename(&mut self, given: bool) -> Option<UserName> {
        let pending_name = self.pending_name.take().map(|name| *name);
        if let Some(name) = pending_name.filter(|_| given) {
            self.key.name = name;
        }
        pending_name
    }

    /// Asks for `text` to be said to one member alone, behind all that was said before. The peer is
    /// shown what came of it and told `REQUEST_DONE`. False when the room's inbox is full: the peer is
    /// told `INBOX_READY` when it is worth trying again.
    pub(crate) fn send_whisper(&self, to: UserName, text: &str) -> bool {
        let whisper = Whisper { sender: self.requester(), from: self.user(), to, text: text.into() };
        let sent = self.inbox().try_send_whisper(Box::new(whisper));
        let full = sent.is_err();
        self.spawn_pass(sent.unwrap_or_else(|_| self.inbox().send(self.notify_ready())));
        !full
    }

    /// Asks to be shown the room's last `count` lines. The peer is told `REQUEST_DONE`.
    pub(crate) fn request_history(&self, count: u16) {
        self.spawn_pass(self.inbox().send(Operation::ShowHistory {
            peer: Arc::clone(&self.peer),
            slot: self.key.slot,
            count,
        }));
    }

    /// How many are in the room now, and their names. One that was let in a moment ago may be in no
    /// snapshot yet, but knows that it is here.
    pub(crate) fn list_members(&self, show: impl FnOnce(usize, &mut dyn Iterator<Item = &UserName>)) {
        let members = self.room.roster().snapshot();
        let own = (!holds_key(&members, &self.key, self.peer.id())).then_some(&self.key.name);
        let total = members.len() + usize::from(own.is_some());
        show(total, &mut own.into_iter().chain(members.keys().map(|key| &key.name)));
    }

    /// Hands in a leaver's last lines, budget or not: each connection has one such parcel.
    pub(crate) fn send_final_lines(&self, bytes: Box<[u8]>, lines: u32) {
        self.spawn_pass(self.inbox().send_final_lines(bytes, lines));
    }

    fn notify_ready(&self) -> Operation {
        Operation::NotifyReady { peer: Arc::clone(&self.peer), slot: self.key.slot }
    }

    fn requester(&self) -> Requester {
        Requester { peer: Arc::clone(&self.peer), slot: self.key.slot }
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.room.inbox
    }

    pub(super) fn spawn_pass(&self, token: Option<PassToken>) {
        spawn_pass(token, &self.registry, &self.room);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // One that has asked for another name may have either: only the one it has is given up.
        let pending_name = self.pending_name.as_ref().map(|name| MemberKey { name: **name, ..self.key });
        for key in [Some(self.key), pending_name].into_iter().flatten() {
            let leaver = MemberRef { key, peer: Arc::clone(&self.peer) };
            self.spawn_pass(self.inbox().send(Operation::Leave(Box::new(leaver))));
        }
    }
}
