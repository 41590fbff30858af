//! Three designs with read-write locks: over everything, over a shard of rooms, over a room.
//!
//! The standard library's lock lets no new reader in while a writer waits, so that nobody who joins
//! waits for more than the lines that are being written.
#![allow(clippy::disallowed_methods, reason = "to wait for a lock is what these designs do, and what is measured")]

use super::{Members, Model};
use dashmap::DashMap;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Shards in [`ShardLocks`]: the more, the seldomer two rooms share one.
const SHARDS: usize = 16;

/// One lock over all rooms: the design that Roomcast came from.
#[derive(Default)]
pub(crate) struct GlobalLock(RwLock<HashMap<String, Members>>);

impl Model for GlobalLock {
    const NAME: &'static str = "global-lock";

    fn look(&self, room: &str, look: impl FnOnce(&Members)) {
        let rooms = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get(room) {
            look(members);
        }
    }

    fn change(&self, room: &str, change: impl FnOnce(&mut Members)) {
        let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get_mut(room) {
            change(members);
        } else {
            change(rooms.entry(room.to_owned()).or_default());
        }
    }
}

/// A lock for each of a fixed number of shards; a room is in the one that its name's hash says.
/// Rooms of one shard wait for each other.
#[derive(Default)]
pub(crate) struct ShardLocks([GlobalLock; SHARDS]);

impl ShardLocks {
    /// The same in each run, so that a bench knows which of its rooms share a shard.
    fn shard(&self, room: &str) -> &GlobalLock {
        let hash = room.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        &self.0[hash % SHARDS]
    }

    /// Whether two rooms wait for each other.
    pub(crate) fn together(&self, one: &str, other: &str) -> bool {
        std::ptr::eq(self.shard(one), self.shard(other))
    }
}

impl Model for ShardLocks {
    const NAME: &'static str = "shard-locks";

    fn look(&self, room: &str, look: impl FnOnce(&Members)) {
        self.shard(room).look(room, look);
    }

    fn change(&self, room: &str, change: impl FnOnce(&mut Members)) {
        self.shard(room).change(room, change);
    }
}

/// A lock for each room, and rooms in a `DashMap`, whose own lock is not held meanwhile.
#[derive(Default)]
pub(crate) struct RoomLocks(DashMap<String, Arc<RwLock<Members>>>);

impl Model for RoomLocks {
    const NAME: &'static str = "room-locks";

    fn look(&self, room: &str, look: impl FnOnce(&Members)) {
        let found = self.0.get(room).map(|entry| Arc::clone(&entry));
        if let Some(members) = found {
            look(&members.read().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn change(&self, room: &str, change: impl FnOnce(&mut Members)) {
        let found = self.0.get(room).map(|entry| Arc::clone(&entry));
        let members = found.unwrap_or_else(|| Arc::clone(&self.0.entry(room.to_owned()).or_default()));
        change(&mut members.write().unwrap_or_else(PoisonError::into_inner));
    }
}
