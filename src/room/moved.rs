//! Moved rooms: a room without its members, as another process continues it, and the places of its members there.
//!
//! A room is moved while no pass runs in it: its inbox is empty, and all connections that could send to it wait.

use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::Room;
use crate::room::history::MovedHistory;
use crate::room::membership::Membership;
use crate::room::registry::{JoinRefused, Registry};
use crate::room::roster::MemberKey;
use crate::room::whisperers::Whisperers;
use crate::text::names::{RoomName, UserName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A room without its members.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MovedRoom {
    name: RoomName,
    /// `None` where the settings keep no line.
    history: Option<MovedHistory>,
    whisperers: Whisperers,
}

/// A member's place in its room.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MovedMembership {
    pub(crate) room: RoomName,
    pub(crate) user: UserName,
    pub(crate) slot: MembershipSlot,
}

impl Room {
    /// Returns whether no operation waits and no pass runs.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.pending() == 0 && !self.link.as_ref().is_some_and(|link| link.has_waiting_joins())
    }

    /// Returns the room without its members; `None` while a pass runs.
    fn export(&self) -> Option<MovedRoom> {
        let state = self.pass_state.take()?;
        let history = state.history.as_ref().map(|history| history.export());
        let moved = MovedRoom { name: self.name, history, whisperers: state.whisperers.clone() };
        self.pass_state.store(Some(state));
        Some(moved)
    }
}

impl Registry {
    /// Returns whether no operation waits and no pass runs in any room.
    pub(crate) fn is_quiet(&self) -> bool {
        self.all_rooms().iter().all(|room| room.is_quiet())
    }

    /// Returns all rooms without their members; `None` while a pass runs in one.
    pub(crate) fn export_rooms(&self) -> Option<Vec<MovedRoom>> {
        self.all_rooms().iter().map(|room| room.export()).collect()
    }

    /// Opens a room of another process. Its members follow before any of them may send.
    ///
    /// # Errors
    /// [`JoinRefused::TooManyRooms`] if the settings allow fewer rooms.
    pub(crate) fn import_room(&self, moved: MovedRoom) -> Result<(), JoinRefused> {
        let room = self.open_room(moved.name)?;
        if let Some(mut state) = room.pass_state.take() {
            if let Some((history, lines)) = state.history.as_mut().zip(moved.history) {
                history.import(lines);
            }
            state.whisperers = moved.whisperers;
            room.pass_state.store(Some(state));
        }
        self.insert(room);
        Ok(())
    }

    /// Gives members of another process their places, all members of one room in one copy of its roster. A room that they
    /// name is there already.
    pub(crate) fn import_members(
        self: &Arc<Self>,
        room: RoomName,
        members: Vec<(MovedMembership, Arc<Peer<dyn ByteSink>>)>,
    ) -> Option<Vec<Membership>> {
        let room = self.find(room)?;
        let mut roster = (*room.roster.snapshot()).clone();
        let mut memberships = Vec::with_capacity(members.len());
        for (MovedMembership { user, slot, .. }, peer) in members {
            let key = MemberKey { name: user, disambiguator: self.disambiguator(peer.id()), slot };
            if roster.insert(key, Arc::clone(&peer)).is_some() {
                // Two members of one name, where the settings allow it no longer.
                return None;
            }
            memberships.push(Membership::new(Arc::clone(self), Arc::clone(&room), peer, key));
        }
        room.inbox.set_members(roster.len());
        room.roster.replace(roster);
        Some(memberships)
    }

    /// Removes the rooms into which no member came.
    pub(crate) fn remove_empty_rooms(&self) {
        for room in self.all_rooms() {
            self.remove_if_empty(&room);
        }
    }
}
