//! The server's budget of slices: how much of its workers' time connections get that use up their slices.

use crate::limits::rate::RateLimit;
use crate::limits::shared_rate::SharedRateLimiter;
use std::num::NonZeroU32;
use std::time::Instant;

/// Units of work per second that one worker thread gives to such connections: about a quarter of its time, since a unit
/// is about a quarter of a microsecond. The rest stays for connections that need little, and lets the worker sleep: the
/// system runs a thread that has slept before one that has not.
const UNITS_PER_WORKER: u32 = 1_024_000;

/// The part of a second's units that may be used at once.
const BURST_PART: u32 = 50;

/// The budget that all connections of a server share.
#[derive(Debug)]
pub(crate) struct SliceBudget {
    used: SharedRateLimiter,
    limit: RateLimit,
}

impl SliceBudget {
    /// Returns the budget of a server with a number of worker threads, of which nothing is used at `now`.
    pub(crate) fn new(workers: usize, now: Instant) -> Self {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        let units = UNITS_PER_WORKER.saturating_mul(workers);
        let burst = NonZeroU32::MIN.saturating_add(units / BURST_PART);
        Self { used: SharedRateLimiter::new(now), limit: RateLimit::new(units, burst) }
    }

    /// Gives back the units of a slice whose turn is not waited for.
    pub(crate) fn refund(&self, units: u32, now: Instant) {
        self.used.refund(units, &self.limit, now);
    }

    /// Spends the units of a slice that a connection has used up; returns the instant from which it may use the next one.
    /// Connections that wait get their turns one after the other.
    pub(crate) fn spend(&self, units: u32, now: Instant) -> Instant {
        self.used.spend(units, &self.limit, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many units the budget allows at once and in the second after that.
    fn allowed(workers: usize) -> (u32, u32) {
        let start = Instant::now();
        let budget = SliceBudget::new(workers, start);
        let (mut at_once, mut later) = (0, 0);
        loop {
            let at = budget.spend(1_024, start);
            if at == start {
                at_once += 1_024;
            } else if (at - start).as_millis() < 1_000 {
                later += 1_024;
            } else {
                return (at_once, later);
            }
        }
    }

    #[test]
    fn slices_get_a_quarter_of_each_worker() {
        for (workers, expected) in [(1, 1_024_000), (8, 8_192_000)] {
            let (at_once, later) = allowed(workers);
            assert!(at_once.abs_diff(expected / 50) <= 1_024, "{workers}: {at_once} at once");
            assert!(later.abs_diff(expected) <= expected / 100, "{workers}: {later} in a second");
        }
    }
}
