//! The budget of one address: the work that commands and membership changes of all its connections may cause.

use crate::limits::rate::RateLimit;
use crate::limits::shared_rate::SharedRateLimiter;
use std::num::NonZeroU32;
use std::time::Instant;

/// Command units per second, and at once. A unit is the work of one delivery, about 5 µs: an address gets about 2 % of a
/// core for its commands.
const COMMANDS: RateLimit = RateLimit::new(4_000, NonZeroU32::MIN.saturating_add(7_999));

/// Deliveries per second, and at once, that membership changes may cause: about 10 % of a core. The burst lets about 750
/// connections of one address join one room, one after the other.
const MEMBERSHIP_CHANGES: RateLimit = RateLimit::new(20_000, NonZeroU32::MIN.saturating_add(299_999));

/// Bytes of lines per second, and at once, that the connections of an address encode for input lines, times and colors: 10
/// to 20 ns each, so about 3 % of a core. A terminal shows less than that.
const ENCODING: RateLimit = RateLimit::new(2 << 20, NonZeroU32::MIN.saturating_add((4 << 20) - 1));

/// Bytes per second, and at once, that the server reads and discards from connections of an address that it closes: less
/// than 1 % of a core. With the burst and the kernel's buffers, a peer can paste some megabytes before it reads why it was
/// closed.
const DISCARDING: RateLimit = RateLimit::new(1 << 20, NonZeroU32::MIN.saturating_add((2 << 20) - 1));

/// The budget that all connections of one address share, so that a new connection refills nothing.
#[derive(Debug)]
pub(crate) struct AddressBudget {
    /// Commands, against [`COMMANDS`].
    commands: SharedRateLimiter,
    /// Deliveries of joins, leaves and renames, against [`MEMBERSHIP_CHANGES`].
    membership_changes: SharedRateLimiter,
    /// Bytes of lines that connections encode, against [`ENCODING`].
    encoding: SharedRateLimiter,
    /// Bytes of closed peers that are discarded, against [`DISCARDING`].
    discarding: SharedRateLimiter,
}

impl AddressBudget {
    /// Returns a budget of which nothing is used at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        let unused = || SharedRateLimiter::new(now);
        Self { commands: unused(), membership_changes: unused(), encoding: unused(), discarding: unused() }
    }

    /// Spends the units of a command; returns the instant from which the connection may run it.
    pub(crate) fn spend_command(&self, units: u32, now: Instant) -> Instant {
        self.commands.spend(units, &COMMANDS, now)
    }

    /// Gives back the units of a command that is not run.
    pub(crate) fn refund_command(&self, units: u32, now: Instant) {
        self.commands.refund(units, &COMMANDS, now);
    }

    /// Spends `bytes` of lines that a connection has encoded for its peer.
    pub(crate) fn charge_encoding(&self, bytes: u32, now: Instant) {
        self.encoding.spend(bytes, &ENCODING, now);
    }

    /// Returns the instant from which a connection may encode more lines.
    pub(crate) fn encoding_allowed_at(&self, now: Instant) -> Instant {
        self.encoding.ready_at(&ENCODING, now)
    }

    /// Spends deliveries that a join, a leave or a rename has caused. A pass knows their number after it has gathered its
    /// batch, in which many changes share the deliveries.
    pub(crate) fn charge_membership_change(&self, deliveries: u32, now: Instant) {
        self.membership_changes.spend(deliveries, &MEMBERSHIP_CHANGES, now);
    }

    /// Returns the instant from which a connection may change a membership: earlier changes are paid for then.
    pub(crate) fn membership_change_allowed_at(&self, now: Instant) -> Instant {
        self.membership_changes.ready_at(&MEMBERSHIP_CHANGES, now)
    }

    /// Spends `bytes` that the server is about to discard from a closed peer; returns the instant from which it may.
    /// Connections that wait get their turns one after the other.
    pub(crate) fn spend_discarding(&self, bytes: u32, now: Instant) -> Instant {
        self.discarding.spend(bytes, &DISCARDING, now)
    }

    /// Gives back bytes that are not discarded.
    pub(crate) fn refund_discarding(&self, bytes: u32, now: Instant) {
        self.discarding.refund(bytes, &DISCARDING, now);
    }

    /// Returns how much is used, for another process.
    pub(super) fn export(&self) -> [i64; 4] {
        [&self.commands, &self.membership_changes, &self.encoding, &self.discarding].map(SharedRateLimiter::export)
    }

    /// Uses as much as in another process.
    pub(super) fn import(&self, exported: [i64; 4]) {
        let limiters = [&self.commands, &self.membership_changes, &self.encoding, &self.discarding];
        limiters.into_iter().zip(exported).for_each(|(limiter, used)| limiter.import(used));
    }

    /// Returns whether nothing is used at `now`, so that the budget need not be kept.
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        let limiters = [&self.commands, &self.membership_changes, &self.encoding, &self.discarding];
        limiters.iter().all(|limiter| limiter.is_unused(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn commands_and_membership_changes_have_budgets_of_their_own() {
        let start = Instant::now();
        let budget = AddressBudget::new(start);
        assert_eq!(budget.spend_command(8_000, start), start);
        assert_eq!(budget.spend_command(400, start), start + Duration::from_millis(100));
        assert_eq!(budget.membership_change_allowed_at(start), start);
        budget.charge_membership_change(320_000, start);
        let wait = budget.membership_change_allowed_at(start) - start;
        assert!((Duration::from_secs(1)..Duration::from_millis(1001)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn an_unused_budget_need_not_be_kept() {
        let start = Instant::now();
        let budget = AddressBudget::new(start);
        assert!(budget.is_unused(start));
        budget.charge_membership_change(20_000, start);
        assert!(!budget.is_unused(start) && budget.is_unused(start + Duration::from_millis(1001)));
    }

    #[test]
    fn encoding_waits_until_the_bytes_beyond_the_burst_are_paid_for() {
        let start = Instant::now();
        let budget = AddressBudget::new(start);
        budget.charge_encoding(4 << 20, start);
        assert!(budget.encoding_allowed_at(start) - start < Duration::from_millis(1), "the burst");
        budget.charge_encoding(2 << 20, start);
        let wait = budget.encoding_allowed_at(start) - start;
        // The time for one byte is a whole number of nanoseconds.
        assert!((Duration::from_millis(990)..Duration::from_millis(1001)).contains(&wait), "{wait:?}");
    }
}
