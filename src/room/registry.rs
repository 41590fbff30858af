//! The registry: rooms by name.

use crate::metrics::counters::Counters;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::Room;
use crate::room::inbox::{MemberRef, Operation};
use crate::room::membership::Membership;
use crate::room::passes::spawn_pass;
use crate::room::roster::MemberKey;
use crate::text::names::{RoomName, UserName};
use dashmap::DashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// All rooms, in a map of independently locked shards.
///
/// A shard is locked while somebody joins, while an empty room is removed and while rooms are
/// listed; never for a line. What is handed out is an `Arc<Room>`, never a guard.
#[derive(Debug)]
pub struct Registry {
    /// Room names come from outside: the hash is `SipHash` with a random seed.
    pub(super) rooms: DashMap<RoomName, Arc<Room>, RandomState>,
    /// The bound of a room's inbox, in bytes of lines.
    inbox_bytes: usize,
    /// Whether a name may be had more than once in a room.
    allow_duplicate_names: bool,
    /// Lines that a room remembers.
    history: usize,
    /// Lines of these that a newcomer is shown.
    replay: usize,
    /// Whether the server ends: no room opens any more.
    shutting_down: AtomicBool,
    pub(super) counters: Counters,
}

/// The server ends: nobody joins any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShuttingDown;

impl Registry {
    /// No rooms. `inbox_bytes` bounds each room's inbox; `allow_duplicate_names` lets names be had twice.
    #[must_use]
    pub fn new(inbox_bytes: usize, allow_duplicate_names: bool) -> Self {
        Self {
            rooms: DashMap::with_hasher(RandomState::new()),
            inbox_bytes,
            allow_duplicate_names,
            history: 0,
            replay: 0,
            shutting_down: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Lets each room remember its last `history` lines, and show `replay` of them to newcomers.
    #[must_use]
    pub fn with_history(self, history: usize, replay: usize) -> Self {
        Self { history, replay, ..self }
    }

    /// Every room's name and how many are in it. Locks one shard after the other, for reading.
    pub fn rooms(&self) -> impl Iterator<Item = (RoomName, usize)> {
        self.rooms.iter().map(|entry| (*entry.key(), entry.value().roster().len()))
    }

    /// How many rooms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// What all passes and connections did so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Asks for a seat in `room`, which appears if it is not there. The peer is told `JOINED`,
    /// `NAME_TAKEN` or `ROOM_CLOSED` by the room's next pass.
    ///
    /// # Errors
    /// [`ShuttingDown`], when the server ends.
    pub fn join(
        self: &Arc<Self>,
        room: RoomName,
        user: UserName,
        peer: Arc<Peer<dyn ByteSink>>,
        slot: MembershipSlot,
    ) -> Result<Membership, ShuttingDown> {
        let key = MemberKey {
            name: user,
            disambiguator: if self.allow_duplicate_names { peer.id().non_zero() } else { None },
            slot,
        };
        let joiner = Box::new(MemberRef { key, peer: Arc::clone(&peer) });
        let entry = self.rooms.entry(room);
        // Read under the shard's lock: `shut_down` sets it first and then locks each shard, so either
        // it finds this room or this finds it set.
        if self.shutting_down.load(Ordering::Acquire) {
            return Err(ShuttingDown);
        }
        let entry = entry.or_insert_with(|| Arc::new(Room::new(room, self.inbox_bytes, self.history, self.replay)));
        let room = Arc::clone(&entry);
        // Sent under the shard's lock, under which alone an empty room is removed: the room that
        // was found can't be gone before it knows of this peer.
        let token = room.inbox.send(Operation::Join(joiner));
        drop(entry);
        let membership = Membership::new(Arc::clone(self), room, peer, key);
        membership.spawn_pass(token);
        Ok(membership)
    }

    /// Ends all rooms: each says goodbye and tells its members to close.
    pub fn shut_down(self: &Arc<Self>) {
        self.shutting_down.store(true, Ordering::Release);
        let rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| Arc::clone(entry.value())).collect();
        for room in rooms {
            let token = room.inbox.send(Operation::Shutdown);
            spawn_pass(token, self, &room);
        }
    }

    /// Takes the room out of the map if nobody is in it or on the way in.
    ///
    /// Asks the queue and not its count of operations: what a pass took may not be what was
    /// counted. A join is sent under the shard's lock, so there it is either in the queue, or
    /// taken, and its peer in the roster, or not sent at all.
    pub(super) fn remove_if_empty(&self, room: &Arc<Room>) {
        if room.roster().is_empty() {
            self.rooms.remove_if(&room.name(), |_, found| Arc::ptr_eq(found, room) && room.inbox.is_empty());
        }
    }
}

#[cfg(test)]
mod tests;
