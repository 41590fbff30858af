//! Three designs with read-write locks: one over all rooms, one over a shard of rooms, one over a room.
//!
//! The standard library's lock admits no new reader while a writer waits, so that a join waits only for the
//! lines that are already being written.
#![allow(clippy::disallowed_methods, reason = "to wait for a lock is what these designs do, and what is measured")]

use super::{Members, Model};
use dashmap::DashMap;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Shards in [`ShardLocks`]. More shards make it less likely that two rooms share one.
const SHARDS: usize = 16;

/// One lock over all rooms: the design that Roomcast came from.
#[derive(Default)]
pub(crate) struct GlobalLock(RwLock<HashMap<String, Members>>);

impl Model for GlobalLock {
    const NAME: &'static str = "global-lock";

    fn read_members(&self, room: &str, read_members: impl FnOnce(&Members)) {
        let rooms = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get(room) {
            read_members(members);
        }
    }

    fn write_members(&self, room: &str, write_members: impl FnOnce(&mut Members)) {
        let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get_mut(room) {
            write_members(members);
        } else {
            write_members(rooms.entry(room.to_owned()).or_default());
        }
    }
}

/// A lock for each of a fixed number of shards. The hash of a room's name selects its shard.
/// Rooms of one shard wait for each other.
#[derive(Default)]
pub(crate) struct ShardLocks([GlobalLock; SHARDS]);

impl ShardLocks {
    /// The hash is the same in each run, so that a bench knows which rooms share a shard.
    fn shard(&self, room: &str) -> &GlobalLock {
        let hash = room.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        &self.0[hash % SHARDS]
    }

    /// Returns whether two rooms have the same lock.
    pub(crate) fn share_a_lock(&self, one: &str, other: &str) -> bool {
        std::ptr::eq(self.shard(one), self.shard(other))
    }
}

impl Model for ShardLocks {
    const NAME: &'static str = "shard-locks";

    fn read_members(&self, room: &str, read_members: impl FnOnce(&Members)) {
        self.shard(room).read_members(room, read_members);
    }

    fn write_members(&self, room: &str, write_members: impl FnOnce(&mut Members)) {
        self.shard(room).write_members(room, write_members);
    }
}

/// A lock for each room, and rooms in a `DashMap`, whose shard lock is not held during a broadcast.
#[derive(Default)]
pub(crate) struct RoomLocks(DashMap<String, Arc<RwLock<Members>>>);

impl Model for RoomLocks {
    const NAME: &'static str = "room-locks";

    fn read_members(&self, room: &str, read_members: impl FnOnce(&Members)) {
        let found = self.0.get(room).map(|entry| Arc::clone(&entry));
        if let Some(members) = found {
            read_members(&members.read().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn write_members(&self, room: &str, write_members: impl FnOnce(&mut Members)) {
        let found = self.0.get(room).map(|entry| Arc::clone(&entry));
        let members = found.unwrap_or_else(|| Arc::clone(&self.0.entry(room.to_owned()).or_default()));
        write_members(&mut members.write().unwrap_or_else(PoisonError::into_inner));
    }
}
