//! Passes: the loop that takes a room's inbox batch by batch and delivers each batch to the members.

use crate::metrics::counters::{Counters, MetricsDelta};
use crate::room::Room;
use crate::room::batch::{Batch, CarriedState, CommittedBatch};
use crate::room::fanout::Fanout;
use crate::room::membership_charges::MembershipCharges;
use crate::room::pass_clock::PassClock;
use crate::room::replies::DeferredReplies;
use crate::text::names::RoomName;
use std::mem;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::task::yield_now;
use tracing::{trace, warn};

/// The number of deliveries in a slice, after which a pass yields: about half a millisecond of writes. A
/// yield costs a poll of all sockets and often the waking of another worker: three yields in a pass of 200
/// writes made a delivery 8 % more expensive, and no yield made other tasks wait longer.
pub(super) const DELIVERIES_PER_YIELD: usize = 128;

/// The number of deliveries after which a pass gathers operations for the next batch: about 25 µs of
/// writes. Joiners among them get their first lines at once and don't wait for a pass through thousands of
/// members.
const DELIVERIES_PER_GATHER: usize = 8;

/// The most work of one gather during a pass, in operations: as much as 16 deliveries, so that a crowd that sends
/// operations on and on makes a pass three times as long at most. One operation more may cost a copy of the roster.
pub(super) const COST_PER_GATHER: usize = 256;

/// The number of operations that cost as much as one delivery: applying one takes about 200 ns.
const OPERATIONS_PER_DELIVERY: usize = 16;

/// The number of bytes that cost as much to append to a batch as one operation.
pub(super) const BYTES_PER_OPERATION: usize = 4_096;

/// The number of a roster's entries that cost as much to copy as one operation.
pub(super) const ENTRIES_PER_OPERATION: usize = 8;

/// The cost of a reply, and of a delivery with a replay, in deliveries: either may render 64 KiB of history.
pub(super) const REPLY_COST: usize = 8;

/// The services that passes use outside their room.
pub(crate) trait PassHost {
    /// Returns the counters that passes add to.
    fn counters(&self) -> &Counters;

    /// Returns the number of rooms of the server.
    fn room_count(&self) -> usize;

    /// Returns the rooms of the server that have members, with their numbers.
    fn rooms(&self) -> Vec<(RoomName, usize)>;

    /// Called after each pass during which no operation came.
    fn on_quiet(&self);

    /// Returns the time at which the first operation of the first batch was sent, if it is known.
    fn first_sent_at(&self) -> Option<Instant> {
        None
    }
}

/// The work of one poll, in operations. All kinds of work in all passes of a poll are charged to the same
/// slice, and before they are done.
#[derive(Debug, Default)]
struct Slice {
    /// The work since the last yield.
    used: usize,
    /// The work in deliveries since operations were last gathered.
    ungathered: usize,
}

impl Slice {
    /// Charges work of which a gather is due after some amount, in deliveries. Yields are left to [`Slice::charge`].
    fn charge_deliveries(&mut self, cost: usize) {
        self.used += cost * OPERATIONS_PER_DELIVERY;
        self.ungathered += cost;
    }

    /// Yields if the slice is used up, and charges the work, in operations, in the slice that is current then.
    async fn charge(&mut self, cost: usize) {
        if self.used >= DELIVERIES_PER_YIELD * OPERATIONS_PER_DELIVERY {
            yield_now().await;
            self.used = 0;
        }
        self.used += cost;
    }
}

/// The delivery of one committed batch, and the batch that is gathered meanwhile.
struct Pass<'a, H> {
    room: &'a Room,
    host: &'a H,
    /// The operations of the committed batch, which the inbox still counts.
    incomplete: usize,
    next: Batch,
    slice: Slice,
}

impl Room {
    /// Runs passes until the inbox is empty: each takes the operations in it as one batch and delivers
    /// that to all members.
    ///
    /// Only the room's pass token calls this, so **one pass at a time runs in a room**. That alone gives
    /// all members one order, joins and leaves included.
    pub(crate) async fn run_passes(&self, host: &impl PassHost) {
        let (closed, pass_state) = (self.closed.load(Ordering::Relaxed), self.pass_state.take());
        let next = Batch::new(self, CarriedState { closed, pass_state, ..CarriedState::default() });
        let mut pass = Pass { room: self, host, incomplete: 0, next, slice: Slice::default() };
        let mut clock = PassClock::start(host.first_sent_at());
        loop {
            self.fill(&mut pass.next, &mut pass.slice).await;
            let CommittedBatch { mut fanout, operations, first_lines_at, mut metrics, mut charges, replies, .. } =
                self.commit(&mut pass.next);
            clock.begin_batch(first_lines_at);
            pass.incomplete = operations;
            self.begin(&mut pass.next, &mut pass.slice).await;
            pass.charge_membership_changes(&mut charges, fanout.deliveries()).await;
            pass.deliver(&mut fanout, &mut metrics).await;
            clock.end_delivery();
            pass.send_replies(replies, &mut metrics).await;
            drop(fanout);
            let next = &mut pass.next;
            host.counters().observe_pass(&clock.end_pass(self.roster.len(), &metrics));
            host.counters().add(&metrics);
            trace!(room = self.name.as_str(), operations, lines = metrics.lines, writes = metrics.writes, "pass");
            if next.is_empty() {
                host.on_quiet();
                // After `complete`, another token may run the next pass at once.
                self.pass_state.store(next.pass_state().take());
            }
            if !self.inbox.complete(operations) {
                return;
            }
            if next.is_empty() {
                *next.pass_state() = self.pass_state.take();
            }
        }
    }

    /// Commits a batch, and puts the next one in its place. No second batch is in the task's future, which stays small.
    /// Lines that the batch dropped go to the log, in one record.
    fn commit(&self, next: &mut Batch) -> CommittedBatch {
        if next.dropped_lines > 0 {
            warn!(lines = next.dropped_lines, room = self.name.as_str(), "lines were dropped: their room is shut down");
        }
        let batch = mem::replace(next, Batch::new(self, CarriedState::default()));
        let mut committed = batch.commit(&self.roster, &self.inbox);
        self.closed.store(committed.carried.closed, Ordering::Relaxed);
        *next = Batch::new(self, mem::take(&mut committed.carried));
        committed
    }

    /// Gathers the operations that wait now, and leaves those that come meanwhile to the next batch. Then fills the batch
    /// with blocked lines. They are chosen this late, so that the line of a light sender that comes during a pass is in
    /// the next one.
    async fn fill(&self, next: &mut Batch, slice: &mut Slice) {
        slice.ungathered = 0;
        let waiting = next.waiting_operations(&self.inbox, 0);
        self.gather(next, slice, (waiting, usize::MAX)).await;
        self.take_blocked_lines(next, slice).await;
        slice.charge(next.commit_cost()).await;
    }

    /// Begins the batch after a committed one: applies a shutdown that is due, and takes few blocked lines at once, so
    /// that a single sender that fills the inbox goes on during the pass.
    async fn begin(&self, next: &mut Batch, slice: &mut Slice) {
        if let Some(cost) = next.shutdown_cost() {
            slice.charge(cost).await;
            next.apply_shutdown();
        }
        if next.blocked_lines_are_few(self.inbox.batch_capacity()) {
            self.take_blocked_lines(next, slice).await;
            next.raise_inbox_ready();
        }
    }

    /// Applies at most `count` of the operations that wait, until their cost has come to `most`.
    async fn gather(&self, next: &mut Batch, slice: &mut Slice, (count, most): (usize, usize)) {
        // Relaxed: a check for passes that stand still reads it, and it publishes no other memory.
        self.gathers.fetch_add(1, Ordering::Relaxed);
        let mut spent = 0;
        for operation in self.inbox.take(count) {
            let cost = next.operation_cost(&operation);
            slice.charge(cost).await;
            next.apply_or_queue(operation);
            spent += cost;
            if spent >= most {
                break;
            }
        }
        next.charge_memory();
    }

    /// Moves blocked lines into the batch, in fair order, as long as it has capacity.
    async fn take_blocked_lines(&self, next: &mut Batch, slice: &mut Slice) {
        let capacity = self.inbox.batch_capacity();
        while let Some(cost) = next.blocked_lines_cost(capacity) {
            slice.charge(cost).await;
            next.take_blocked_lines(&self.inbox);
        }
    }
}

impl<H: PassHost> Pass<'_, H> {
    /// Charges the batch's joins, leaves and renames for its `deliveries`.
    async fn charge_membership_changes(&mut self, charges: &mut MembershipCharges, deliveries: usize) {
        let share = charges.share(deliveries);
        while charges.len() > 0 {
            self.charge(1).await;
            charges.charge_some(OPERATIONS_PER_DELIVERY, share);
        }
    }

    /// Delivers the batch to the members that joined or left in it, then to all others.
    async fn deliver(&mut self, fanout: &mut Fanout, metrics: &mut MetricsDelta) {
        while let Some(cost) = fanout.next_partial_cost() {
            self.charge(cost).await;
            fanout.deliver_next_partial(metrics);
        }
        let cost = fanout.delivery_cost();
        for peer in fanout.recipients() {
            self.charge(cost).await;
            peer.deliver_batch(fanout.batch(), metrics);
        }
    }

    /// Sends the replies to the batch's requests.
    async fn send_replies(&mut self, replies: DeferredReplies, metrics: &mut MetricsDelta) {
        for (requester, reply) in replies {
            self.charge(self.next.reply_cost(self.host, &reply)).await;
            self.next.send_reply((&self.room.name, self.host), &requester, &reply, metrics);
        }
    }

    /// Charges the work that follows, after a checkpoint if one is due.
    async fn charge(&mut self, cost: usize) {
        if self.slice.ungathered >= DELIVERIES_PER_GATHER {
            self.checkpoint().await;
        }
        self.slice.charge_deliveries(cost);
    }

    /// Gathers operations for the next batch, delivers to its joiners, and yields if the slice is used up.
    async fn checkpoint(&mut self) {
        self.slice.ungathered = 0;
        let count = self.next.waiting_operations(&self.room.inbox, self.incomplete);
        self.room.gather(&mut self.next, &mut self.slice, (count, COST_PER_GATHER)).await;
        let cost = self.next.joiners_cost(DELIVERIES_PER_GATHER) * OPERATIONS_PER_DELIVERY;
        self.slice.charge(cost).await;
        self.next.deliver_to_joiners(DELIVERIES_PER_GATHER);
    }
}
