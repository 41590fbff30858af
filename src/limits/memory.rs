//! The memory budget: a ceiling for the bytes that the whole server keeps for its peers.

pub use crate::limits::backlog_registry::{BacklogOwner, RegisteredBacklog};

use crate::limits::backlog_registry::BacklogEntry;
use dashmap::DashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that the kernel charges to the sending side of one socket, in bytes, when the peer reads nothing. The
/// system reserves twice the size that is asked for (socket(7), `SO_SNDBUF`): `net::socket_options` asks for half of it.
pub const KERNEL_SEND_BUFFER: usize = 128 << 10;

/// The memory that the kernel charges to the receiving side of one socket, in bytes, when the server reads nothing.
/// `net::socket_options` asks for half of it (socket(7), `SO_RCVBUF`).
pub const KERNEL_RECEIVE_BUFFER: usize = 32 << 10;

/// How many bytes more than the backlog's limit a peer's output holds while its socket has not blocked in the peer's
/// own task: the task had no turn to write them yet, so they do not show that the peer reads slowly. Passes may deliver
/// two batches of a full inbox (1 MiB each) before that turn.
pub const UNBLOCKED_ALLOWANCE: usize = 2 << 20;

/// The unit in which a peer's own memory is charged, in bytes. A smaller amount is not charged, so that a peer that keeps
/// up does not touch the shared counter.
pub const CHARGE_UNIT: usize = 4 << 10;

/// The bytes of a room's line beside its text: the longest name, `: ` and LF.
const LINE_OVERHEAD: usize = 32;

/// One read of a connection, in bytes, which may be held while its input is paused.
const HELD_READ: usize = 16 << 10;

/// The encoded bytes that wait in a peer's output, with the spare capacity of their queue.
const ENCODED_BYTES: usize = 256 << 10;

/// The bytes that TLS keeps of one peer: a record that is not received as a whole, and one that is not written yet.
const TLS_BYTES: usize = 35 << 10;

/// The bytes that all queues of a server hold, and their ceiling.
///
/// The budget covers what waits for peers (the memory of output buffers, the lines that they share with each other, and
/// the kernel's send buffer of each socket that takes nothing), the lines in inboxes and histories of rooms, and the input
/// that connections keep (unfinished lines, input lines, held input with the kernel's receive buffer). Bytes that several
/// peers share are charged once.
///
/// The charged bytes may exceed the ceiling only by charges that can't be refused, until the connections that a reclaim has
/// asked have closed: 31 seconds for one that reads a little, and three for one that reads nothing. For each connection these charges are at most
/// [`memory_beyond_ceiling`], so a server never keeps more than
///
/// ```text
/// ceiling + connections x memory_beyond_ceiling(max_line) + rooms x inbox + threads x (backlog + UNBLOCKED_ALLOWANCE)
/// ```
///
/// `inbox` is the capacity of a room's inbox: its lines are charged when a pass gathers them, and can't be refused then.
/// The last term is the lines that wait in deferred lists: a list holds lines only while a thread holds the write lock of
/// its peer, and a thread holds one at a time. One peer alone costs at most [`memory_of_one_peer`].
///
/// At the ceiling a charge asks the largest backlogs to drop their lines: at most 64 of them for each 64th part of the
/// ceiling that is charged, or refused, meanwhile. It reads one number for each backlog of a blocked peer, about 100 ns
/// each, and waits for no task.
///
/// All accesses to the counters are relaxed: they publish no other memory. They change only for peers that fall behind
/// and for rooms, so a well-behaved peer's line does not touch them.
pub struct MemoryBudget {
    /// The most bytes that may be charged.
    ceiling: u64,
    /// The bytes that are charged now.
    used: AtomicU64,
    /// The bytes, charged and refused, at which the next reclaim is due.
    reclaim_at: AtomicU64,
    /// The bytes that were refused at the ceiling since the last reclaim.
    refused: AtomicU64,
    /// The backlogs of peers whose sockets did not take all that a pass wrote, by connection number.
    pub(super) backlogs: DashMap<u64, BacklogEntry>,
}

/// How close a server is to its memory ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryPressure {
    /// Less than 75 % of the ceiling is charged.
    None,
    /// At least 75 %: new backlogs are smaller.
    High,
    /// At least 90 %: no connection is admitted.
    Critical,
    /// All of the ceiling is charged: the largest backlogs are dropped.
    Full,
}

/// Bytes that are charged to a budget, and released when this is dropped. Without a budget nothing is charged.
#[derive(Debug, Default)]
pub struct MemoryCharge {
    budget: Option<Arc<MemoryBudget>>,
    bytes: usize,
}

impl MemoryBudget {
    /// Returns a budget of `ceiling` bytes, of which nothing is charged.
    #[must_use]
    pub fn new(ceiling: u64) -> Arc<Self> {
        Arc::new(Self {
            ceiling,
            used: AtomicU64::new(0),
            reclaim_at: AtomicU64::new(ceiling),
            refused: AtomicU64::new(0),
            backlogs: DashMap::new(),
        })
    }

    /// Charges `bytes` whatever the ceiling, for what the caller can't refuse. Beyond the ceiling the largest backlogs are
    /// asked to drop their lines.
    pub fn charge(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if used > self.ceiling {
            self.reclaim_if_due(used);
        }
    }

    /// Notes that `bytes` were refused because the ceiling is reached. They count as demand: enough of it asks the largest
    /// backlogs to drop their lines.
    pub fn note_refused(&self, bytes: usize) {
        self.refused.fetch_add(bytes as u64, Ordering::Relaxed);
        let used = self.used();
        if used >= self.ceiling {
            self.reclaim_if_due(used);
        }
    }

    /// Returns `bytes` that were charged.
    pub fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
        if before >= self.ceiling && before - (bytes as u64) < self.ceiling {
            self.reclaim_at.store(self.ceiling, Ordering::Relaxed);
        }
    }

    /// Returns the ceiling in bytes.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// Returns how many bytes are charged.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns how many percent of the ceiling are charged, rounded down.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let percent = u128::from(self.used()) * 100 / u128::from(self.ceiling.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Returns how close the charged bytes are to the ceiling.
    #[must_use]
    pub fn pressure(&self) -> MemoryPressure {
        let used = u128::from(self.used()) * 100;
        let ceiling = u128::from(self.ceiling);
        match used {
            _ if used >= ceiling * 100 => MemoryPressure::Full,
            _ if used >= ceiling * 90 => MemoryPressure::Critical,
            _ if used >= ceiling * 75 => MemoryPressure::High,
            _ => MemoryPressure::None,
        }
    }

    /// Returns whether the kernel's buffers of all blocked peers are so large that dropped lines alone can't bring the
    /// charged bytes below the ceiling: half of it, since the allocator and unread input take memory, too.
    #[must_use]
    pub fn is_exhausted_by_kernel_buffers(&self) -> bool {
        self.backlogs() as u64 * KERNEL_SEND_BUFFER as u64 > self.ceiling / 2
    }

    /// Asks the largest backlogs to drop their lines, if enough bytes were charged and refused since the last time.
    fn reclaim_if_due(&self, used: u64) {
        let demand = used.saturating_add(self.refused.load(Ordering::Relaxed));
        let due = self.reclaim_at.load(Ordering::Relaxed);
        let next = used.saturating_add((self.ceiling / 64).max(1));
        // One thread wins the exchange and reclaims; the others go on.
        if demand >= due && self.reclaim_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.refused.store(0, Ordering::Relaxed);
            self.reclaim(used.saturating_sub(self.ceiling / 8 * 7));
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut budget = f.debug_struct("MemoryBudget");
        budget.field("ceiling", &self.ceiling).field("used", &self.used()).finish_non_exhaustive()
    }
}

impl MemoryCharge {
    /// Returns a charge of 0 bytes to `budget`.
    #[must_use]
    pub fn new(budget: Option<&Arc<MemoryBudget>>) -> Self {
        Self { budget: budget.map(Arc::clone), bytes: 0 }
    }

    /// Returns the budget.
    #[must_use]
    pub fn budget(&self) -> Option<&Arc<MemoryBudget>> {
        self.budget.as_ref()
    }

    /// Charges or releases the difference, so that `bytes` are charged.
    pub fn set(&mut self, bytes: usize) {
        if let Some(budget) = &self.budget {
            let before = std::mem::replace(&mut self.bytes, bytes);
            match bytes.checked_sub(before) {
                Some(0) => {}
                Some(more) => budget.charge(more),
                None => budget.release(before - bytes),
            }
        }
    }

    /// Returns how close the budget's charged bytes are to its ceiling.
    #[must_use]
    pub fn pressure(&self) -> MemoryPressure {
        self.budget.as_ref().map_or(MemoryPressure::None, |budget| budget.pressure())
    }
}

impl Clone for MemoryCharge {
    /// Charges the bytes once more.
    fn clone(&self) -> Self {
        let mut charge = Self::new(self.budget.as_ref());
        charge.set(self.bytes);
        charge
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Returns the most bytes that one peer costs, user and kernel memory together, with a backlog of `backlog` bytes and
/// lines of `max_line` bytes.
///
/// The waiting lines count twice: a growing block doubles its size, and a peer keeps a shared batch in memory of which at
/// least half is its own.
#[must_use]
pub fn memory_of_one_peer(backlog: usize, max_line: usize) -> u64 {
    let waiting = (backlog as u64).saturating_add(UNBLOCKED_ALLOWANCE as u64).saturating_mul(2);
    waiting.saturating_add(memory_beyond_ceiling(max_line))
}

/// Returns the most bytes that one peer costs beyond the ceiling of a full budget, with lines of `max_line` bytes: both
/// kernel buffers, one line that waits (an empty backlog keeps one of any length), one unfinished line, one read that is
/// held, encoded bytes, two TLS records, and what is too little to be charged.
#[must_use]
pub fn memory_beyond_ceiling(max_line: usize) -> u64 {
    let line = (max_line as u64).saturating_add(LINE_OVERHEAD as u64);
    let fixed = KERNEL_SEND_BUFFER + KERNEL_RECEIVE_BUFFER + HELD_READ + ENCODED_BYTES + TLS_BYTES + CHARGE_UNIT;
    line.saturating_mul(2).saturating_add(fixed as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::backlog_registry::tests::{backlogs, requests};

    #[test]
    fn charge_may_exceed_the_ceiling() {
        let budget = MemoryBudget::new(1000);
        budget.charge(1000);
        budget.charge(50);
        assert_eq!(budget.used(), 1050);
        budget.release(50);
        assert_eq!(budget.used(), 1000);
    }

    #[test]
    fn pressure_rises_at_its_thresholds() {
        use MemoryPressure::{Critical, Full, High, None};
        let budget = MemoryBudget::new(1000);
        let mut pressures = Vec::new();
        for bytes in [749, 1, 149, 1, 99, 1] {
            budget.charge(bytes);
            pressures.push(budget.pressure());
        }
        assert_eq!(pressures, [None, High, High, Critical, Critical, Full]);
    }

    #[test]
    fn charge_is_released_when_it_is_dropped_and_counted_for_each_clone() {
        let budget = MemoryBudget::new(1000);
        let mut charge = MemoryCharge::new(Some(&budget));
        let used = [300, 100, 100, 250].map(|bytes| {
            charge.set(bytes);
            budget.used()
        });
        assert_eq!(used, [300, 100, 100, 250]);
        let copy = charge.clone();
        assert_eq!(budget.used(), 500);
        drop(charge);
        assert_eq!(budget.used(), 250);
        drop(copy);
        assert_eq!(budget.used(), 0);
        MemoryCharge::default().set(5);
    }

    #[test]
    fn charge_that_exceeds_the_ceiling_asks_the_largest_backlogs_to_drop_their_lines() {
        let budget = MemoryBudget::new(6400);
        let backlogs = backlogs(&budget, &[100, 0, 700, 500, 600]);
        budget.charge(6400);
        assert_eq!(requests(&backlogs), [0; 5], "the ceiling is reached and not exceeded");
        budget.charge(1);
        assert_eq!(requests(&backlogs), [0, 0, 1, 0, 1], "801 bytes are wanted");
        budget.charge(99);
        assert_eq!(requests(&backlogs), [0, 0, 1, 0, 1], "less than a 64th of the ceiling was charged since");
        budget.charge(1);
        assert_eq!(
            requests(&backlogs),
            [1; 5],
            "no line is left after two more, so the backlog without lines is asked"
        );
    }

    #[test]
    fn kernel_buffers_exhaust_the_budget_beyond_half_of_its_ceiling() {
        let budget = MemoryBudget::new(4 * KERNEL_SEND_BUFFER as u64);
        for (count, is_exhausted) in [(0, false), (1, false), (2, false), (3, true)] {
            let _backlogs = backlogs(&budget, &vec![0; count]);
            assert_eq!(budget.is_exhausted_by_kernel_buffers(), is_exhausted, "{count} blocked peers");
        }
    }

    #[test]
    fn budget_is_shown_with_its_ceiling_and_its_used_bytes() {
        let budget = MemoryBudget::new(1000);
        budget.charge(50);
        assert_eq!(format!("{budget:?}"), "MemoryBudget { ceiling: 1000, used: 50, .. }");
    }

    #[test]
    fn refused_bytes_are_demand_for_a_reclaim() {
        let budget = MemoryBudget::new(6400);
        budget.charge(6500);
        let backlogs = backlogs(&budget, &[5000, 5000]);
        for _ in 0..9 {
            budget.note_refused(10);
        }
        assert_eq!(requests(&backlogs), [0, 0]);
        budget.note_refused(10);
        assert_eq!(requests(&backlogs).iter().sum::<usize>(), 1, "one of them is as much as is wanted");
    }

    #[test]
    fn reclaim_is_due_again_at_the_ceiling_after_bytes_were_released() {
        let budget = MemoryBudget::new(6400);
        budget.charge(7000);
        budget.release(7000);
        let backlogs = backlogs(&budget, &[5000]);
        budget.charge(6401);
        assert_eq!(requests(&backlogs), [1]);
    }

    #[test]
    fn one_peer_costs_its_kernel_buffers_and_backlog_twice_at_most() {
        let line = 20_000;
        assert!(memory_beyond_ceiling(line) < 512 << 10, "{}", memory_beyond_ceiling(line));
        assert!(memory_of_one_peer(1 << 20, line) < 7 << 20, "{}", memory_of_one_peer(1 << 20, line));
        assert_eq!(memory_of_one_peer(usize::MAX, usize::MAX), u64::MAX);
    }

    #[test]
    fn refused_bytes_are_demand_also_when_exactly_the_ceiling_is_charged() {
        let budget = MemoryBudget::new(6400);
        budget.charge(6400);
        let backlogs = backlogs(&budget, &[5000]);
        budget.note_refused(1);
        assert_eq!((budget.ceiling(), requests(&backlogs)), (6400, vec![1]));
    }

    #[test]
    fn refused_bytes_are_demand_for_one_reclaim() {
        let budget = MemoryBudget::new(6400);
        budget.charge(6400);
        budget.note_refused(99);
        let backlogs = backlogs(&budget, &[5000]);
        budget.note_refused(99);
        assert_eq!(requests(&backlogs), [0], "the first 99 bytes have had their reclaim");
        budget.note_refused(1);
        assert_eq!(requests(&backlogs), [1]);
    }

    #[test]
    fn reclaim_is_due_again_only_after_the_charge_was_below_the_ceiling() {
        let budget = MemoryBudget::new(6400);
        budget.charge(6450);
        let backlogs = backlogs(&budget, &[5000]);
        for released in [20, 50] {
            budget.release(released);
            budget.charge(released);
            assert_eq!(requests(&backlogs), [0], "the charge went down to the ceiling or above it");
        }
        budget.release(50);
        budget.release(1);
        budget.charge(2);
        assert_eq!(requests(&backlogs), [1]);
    }

    #[test]
    fn memory_beyond_the_ceiling_has_each_buffer_and_two_lines() {
        let buffers = [KERNEL_SEND_BUFFER, KERNEL_RECEIVE_BUFFER, HELD_READ, ENCODED_BYTES, TLS_BYTES, CHARGE_UNIT];
        let two_lines = 2 * (20_000 + LINE_OVERHEAD);
        assert_eq!(memory_beyond_ceiling(20_000), (buffers.iter().sum::<usize>() + two_lines) as u64);
    }
}
