//! Pass progress: shows rooms whose passes are due and do not go on.

use super::Registry;
use crate::room::Room;
use crate::text::names::RoomName;
use std::sync::{Arc, Weak};

/// A room whose passes were due, and how far they were.
#[derive(Debug)]
pub(crate) struct PassSample {
    /// Weak: the room may end meanwhile. No other room takes its address as long as this exists.
    room: Weak<Room>,
    gathers: u64,
}

impl Registry {
    /// Returns each room whose passes are due or run. Locks one shard after the other for reading.
    pub(crate) fn due_passes(&self) -> Vec<PassSample> {
        let due = self.rooms.iter().filter(|entry| entry.value().inbox.pending() > 0);
        due.map(|entry| PassSample { room: Arc::downgrade(entry.value()), gathers: entry.value().gathers() }).collect()
    }

    /// Returns the room of a sample if its passes are due and have not gone on since. Locks one shard for an instant.
    pub(crate) fn find_stall(&self, sample: &PassSample) -> Option<RoomName> {
        let room = sample.room.upgrade()?;
        let stands_still = room.inbox.pending() > 0 && room.gathers() == sample.gathers;
        // A room that was closed after a panic runs no pass any more, and is not in the map.
        let is_open = || self.rooms.get(&room.name()).is_some_and(|found| Arc::ptr_eq(&found, &room));
        (stands_still && is_open()).then(|| room.name())
    }

    /// Sends an operation to a room and loses the obligation to run its pass.
    #[cfg(test)]
    pub(crate) fn lose_pass(&self, name: &RoomName) {
        let room = self.rooms.get(name).unwrap();
        assert!(room.inbox.send(crate::room::operation::Operation::FlushInput).is_some(), "the room is quiet");
    }
}
