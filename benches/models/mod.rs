//! Designs of a chat room that are compared: Roomcast's own, and three models with locks.
//!
//! Each model keeps its members' sinks in a map under a lock. The sender itself writes a line to each sink,
//! one write a line, with the lock shared with other senders. A join or leave takes the lock alone. The
//! models differ in how much one lock covers. They have no common order of lines, no limit, no backlog and
//! no history: doing less than Roomcast is to their advantage.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod locks;
pub(crate) mod ours;
pub(crate) mod sink;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use locks::{GlobalLock, RoomLocks, ShardLocks};
use roomcast::peer::byte_sink::ByteSink;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Samples of a case: the fewest that criterion accepts, since there are many cases.
pub(crate) const SAMPLES: usize = 10;

/// All designs, in the order of tables.
pub(crate) const DESIGNS: [&str; 4] = [GlobalLock::NAME, ShardLocks::NAME, RoomLocks::NAME, ours::NAME];

/// Opens a group of cases with few samples and a short warm-up.
pub(crate) fn benchmark_group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat).nresamples(10_000);
    group.warm_up_time(Duration::from_millis(200));
    group
}

/// A room's members by name, each with its sink.
pub(crate) type Members = HashMap<String, Arc<dyn ByteSink>>;

/// A design with locks.
pub(crate) trait Model: Default + Send + Sync + 'static {
    /// The name in ids and tables.
    const NAME: &'static str;

    /// Reads a room's members with the lock shared.
    fn read_members(&self, room: &str, read_members: impl FnOnce(&Members));

    /// Changes a room's members with the lock held alone. The first change creates the room.
    fn write_members(&self, room: &str, write_members: impl FnOnce(&mut Members));

    /// Inserts a member without a notice.
    fn insert(&self, room: &str, user: String, sink: Arc<dyn ByteSink>) {
        self.write_members(room, |members| {
            members.insert(user, sink);
        });
    }

    /// Removes a member without a notice.
    fn remove(&self, room: &str, user: &str) {
        self.write_members(room, |members| {
            members.remove(user);
        });
    }

    /// Writes a line to every member.
    fn broadcast(&self, room: &str, line: &[u8]) {
        self.read_members(room, |members| {
            for sink in members.values() {
                // A sink accepts all bytes.
                let _ = sink.try_write(line);
            }
        });
    }
}
