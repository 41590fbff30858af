//! A room: an inbox, a roster, and the delivery pass that joins the two.

use crate::batch::Batch;
use crate::counters::{Counters, Tally};
use crate::inbox::Inbox;
use crate::name::RoomName;
use crate::roster::Roster;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::yield_now;

/// How many deliveries a pass makes before it lets the I/O driver and other tasks run: about
/// 0.2 ms of writes.
const DELIVERIES_BEFORE_YIELD: usize = 64;

/// One room. It exists from its first member to its last, in the registry's map.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    /// What is to be done next.
    pub(crate) inbox: Inbox,
    /// Who is here. Read by anybody, written by the pass alone.
    roster: Roster,
    /// Whether the room has said goodbye. Read and written by the pass alone; an atomic so that
    /// passes on different threads can share it, relaxed since `Inbox::settle` orders passes.
    closed: AtomicBool,
}

impl Room {
    /// An empty room whose inbox holds at most `inbox_bytes` of lines.
    pub(crate) fn new(name: RoomName, inbox_bytes: usize) -> Self {
        let (inbox, roster) = (Inbox::new(inbox_bytes), Roster::new());
        Self { name, inbox, roster, closed: AtomicBool::new(false) }
    }

    /// The room's name.
    pub fn name(&self) -> RoomName {
        self.name
    }

    /// Who is here.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Takes everything in the inbox as one batch and hands it to everybody; how many operations
    /// it took, which the caller has to settle.
    ///
    /// Only the holder of the room's `Due` may call this: **one at a time a room**. That alone
    /// gives all members one order, membership included.
    pub(crate) async fn pass(&self, counters: &Counters) -> usize {
        let mut tally = Tally { passes: 1, ..Tally::default() };
        let taken = self.inbox.pending();
        let was_closed = self.closed.load(Ordering::Relaxed);
        let batch = Batch::lay_out(self.inbox.take(taken), &self.roster, was_closed, &mut tally);
        self.closed.store(batch.closed(), Ordering::Relaxed);
        let mut delivery = batch.into_delivery();
        breathing(delivery.hand_parts(&mut tally)).await;
        breathing(delivery.hand_all(&mut tally)).await;
        counters.add(&tally);
        taken
    }
}

/// Takes the steps of `work`, and a breath between some of them.
async fn breathing(work: impl Iterator<Item = ()>) {
    for (step, ()) in work.enumerate() {
        if step % DELIVERIES_BEFORE_YIELD == DELIVERIES_BEFORE_YIELD - 1 {
            yield_now().await;
        }
    }
}
