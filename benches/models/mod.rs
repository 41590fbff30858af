//! Designs of a chat room, to be measured beside each other: ours, and three that wait for locks.
//!
//! The three are models: small, honest, and in memory. Each keeps its members' outlets in a map
//! behind a lock; a line is written to each of them, one write a line, by its sender and under that
//! lock, shared with other senders. Who comes or goes takes the lock alone. They differ in how much
//! one lock covers. They give a room no common order of lines, and have no bound, no backlog and no
//! history: what they do less than ours is to their advantage.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod locks;
pub(crate) mod ours;
pub(crate) mod sink;

use roomcast::peer::byte_sink::ByteSink;
use std::collections::HashMap;
use std::sync::Arc;

/// A room's members by name, and where each one's lines go.
pub(crate) type Members = HashMap<String, Arc<dyn ByteSink>>;

/// A design with locks, by what its lock covers.
pub(crate) trait Model: Default + Send + Sync + 'static {
    /// As it stands in ids and tables.
    const NAME: &'static str;

    /// Looks at a room's members, together with others who look.
    fn look(&self, room: &str, look: impl FnOnce(&Members));

    /// Changes a room's members, alone. A room appears with its first change, and stays.
    fn change(&self, room: &str, change: impl FnOnce(&mut Members));

    /// Puts a member in; nobody is told.
    fn insert(&self, room: &str, user: String, outlet: Arc<dyn ByteSink>) {
        self.change(room, |members| {
            members.insert(user, outlet);
        });
    }

    /// Takes a member out; nobody is told.
    fn remove(&self, room: &str, user: &str) {
        self.change(room, |members| {
            members.remove(user);
        });
    }

    /// Writes a line to every member.
    fn broadcast(&self, room: &str, line: &[u8]) {
        self.look(room, |members| {
            for outlet in members.values() {
                // A sink takes everything.
                let _ = outlet.try_write(line);
            }
        });
    }
}
