//! Passes: the loop that takes a room's inbox batch by batch and hands each batch out.

use crate::metrics::counters::{Counters, MetricsDelta};
use crate::peer::events::PeerEvents;
use crate::room::Room;
use crate::room::batch::{Batch, CommittedBatch};
use crate::room::inbox::{Operation, PassToken};
use crate::room::registry::Registry;
use crate::room::roster::Members;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::yield_now;
use tracing::trace;

/// How many deliveries a pass makes before it lets the I/O driver and other tasks run: about half a
/// millisecond of writes. A breath costs a look at all sockets and, often, another worker's waking:
/// with three in a pass of 200 writes a fanout cost 8 % more. Without any, others waited longer.
pub(super) const DELIVERIES_PER_YIELD: usize = 128;

/// How many deliveries a pass makes before it looks for newcomers: about 25 µs of writes. They are
/// let in and told then, and need not wait for a pass through thousands of members.
pub(super) const DELIVERIES_PER_GATHER: usize = 8;

/// How many deliveries an reply counts for: it may show 64 KiB of the past.
pub(super) const REPLY_COST: usize = 8;

impl Room {
    /// Makes passes until the inbox is empty: each takes everything in it as one batch and hands it
    /// to everybody. `quiet` is called after each behind which nothing has come yet.
    ///
    /// Only the holder of the room's `PassToken` may call this: **one at a time a room**. That alone
    /// gives all members one order, membership included.
    pub(crate) async fn run_passes(&self, counters: &Counters, quiet: impl Fn()) {
        let mut next = Batch::new(&self.roster, self.closed.load(Ordering::Relaxed), self.history_state.take());
        loop {
            next.gather(&self.inbox, 0);
            let CommittedBatch { mut fanout, operations, closed, mut metrics, history_state, replies } =
                next.commit(&self.roster, &self.inbox);
            self.closed.store(closed, Ordering::Relaxed);
            next = Batch::new(&self.roster, closed, history_state);
            self.drive(fanout.deliver_partial(&mut metrics), &mut next, operations).await;
            self.drive(fanout.deliver_all(&mut metrics), &mut next, operations).await;
            for (step, (peer, reply)) in (1..).zip(replies) {
                next.send_reply(&peer, &reply, &mut metrics);
                self.checkpoint(REPLY_COST * step, &mut next, operations).await;
            }
            counters.add(&metrics);
            trace!(room = ?self.name, operations = operations, lines = metrics.lines, writes = metrics.writes, "pass");
            if next.is_empty() {
                quiet();
                // Whoever runs the next pass may do so at once when this one is settled.
                self.history_state.store(next.history_state().take());
            }
            if !self.inbox.complete(operations) {
                return;
            }
            if next.is_empty() {
                *next.history_state() = self.history_state.take();
            }
        }
    }

    /// Takes `steps`, and a breath between some of them.
    async fn drive(&self, steps: impl Iterator<Item = ()>, next: &mut Batch, incomplete: usize) {
        for (step, ()) in (1_usize..).zip(steps) {
            if step.is_multiple_of(DELIVERIES_PER_GATHER) {
                self.checkpoint(step, next, incomplete).await;
            }
        }
    }

    /// Gathers what has come for the `next` batch, or lets others run, after so many deliveries.
    /// `incomplete` operations are still counted in the inbox.
    async fn checkpoint(&self, deliveries: usize, next: &mut Batch, incomplete: usize) {
        if deliveries.is_multiple_of(DELIVERIES_PER_GATHER) {
            next.gather(&self.inbox, incomplete);
            next.deliver_to_joiners(DELIVERIES_PER_GATHER);
        }
        if deliveries.is_multiple_of(DELIVERIES_PER_YIELD) {
            yield_now().await;
        }
    }
}

/// Runs the room's passes, if they are due, in a task that ends when the room is quiet.
pub(super) fn spawn_pass(token: Option<PassToken>, registry: &Arc<Registry>, room: &Arc<Room>) {
    if let Some(token) = token {
        tokio::spawn(run(token, Arc::clone(registry), Arc::clone(room)));
    }
}

/// Runs passes until the room is quiet.
async fn run(_due: PassToken, registry: Arc<Registry>, room: Arc<Room>) {
    let fuse = Fuse { registry: &registry, room: &room };
    // Everything that is readable already is read first, and comes into the same batch.
    yield_now().await;
    room.run_passes(&registry.counters, || registry.remove_if_empty(&room)).await;
    std::mem::forget(fuse);
}

/// Blows when a pass does not come to its end: there was a panic in it, or the runtime is gone.
/// Nobody would run the room's next pass; so the room goes, and its members are told to close,
/// rather than that they sit in a mute room for ever.
struct Fuse<'a> {
    registry: &'a Registry,
    room: &'a Arc<Room>,
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        self.registry.rooms.remove_if(&self.room.name(), |_, found| Arc::ptr_eq(found, self.room));
        let mut metrics = MetricsDelta::default();
        for operation in self.room.inbox.take(usize::MAX) {
            if let Operation::Join(member) | Operation::Leave(member) = operation {
                member.raise(PeerEvents::ROOM_FAILED, &mut metrics);
            }
        }
        for (key, peer) in self.room.roster().snapshot().iter() {
            peer.raise(PeerEvents::ROOM_FAILED.in_slot(key.slot), &mut metrics);
        }
        self.room.roster().replace(Members::default());
        self.registry.counters.add(&metrics);
    }
}
