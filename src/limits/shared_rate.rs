//! A rate limiter that many connections share, without a lock: the generic cell rate algorithm on one atomic.

use crate::limits::rate::{RateLimit, duration_to_nanos, from_nanos, nanos_from_now, nanos_of_now_and, to_nanos};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The state of a [`RateLimit`] that several connections use up together.
#[derive(Debug)]
pub(crate) struct SharedRateLimiter {
    /// The theoretical arrival time of the next unit, as [`to_nanos`] counts. Relaxed: it publishes no other memory.
    theoretical_arrival: AtomicU64,
}

impl SharedRateLimiter {
    /// Returns a limiter of which nothing is used at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { theoretical_arrival: AtomicU64::new(to_nanos(now)) }
    }

    /// Spends `units` and returns the instant from which the limit allows the work that they pay for: `now` if
    /// that is at once.
    ///
    /// Units beyond the limit are spent, too: the instants of several waiting connections follow each other, so each
    /// waits for its own turn.
    pub(crate) fn spend(&self, units: u32, limit: &RateLimit, now: Instant) -> Instant {
        if limit.is_unlimited() {
            return now;
        }
        let interval = duration_to_nanos(limit.emission_interval());
        let now_nanos = to_nanos(now);
        let cost = interval.saturating_mul(units.into());
        let advance = |arrival: u64| Some(arrival.max(now_nanos).saturating_add(cost));
        let before = self
            .theoretical_arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance)
            .unwrap_or_else(|unchanged| unchanged);
        // The limit allows the work once the units before it and its own are within the burst. Work that costs more than
        // the burst is allowed when nothing else is owed.
        let burst = duration_to_nanos(limit.tolerance()).saturating_add(interval);
        let allowed_at = before.max(now_nanos).saturating_add(cost.min(burst)).saturating_sub(burst);
        if allowed_at <= now_nanos { now } else { from_nanos(allowed_at) }
    }

    /// Gives back units that were spent for work that is not done, as far as they are still owed at `now`.
    pub(crate) fn refund(&self, units: u32, limit: &RateLimit, now: Instant) {
        let cost = duration_to_nanos(limit.emission_interval()).saturating_mul(units.into());
        let now_nanos = to_nanos(now);
        let earlier = |arrival: u64| Some(arrival.saturating_sub(cost).max(arrival.min(now_nanos)));
        // The function always returns a time.
        let _ = self.theoretical_arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }

    /// Returns the instant from which the limit allows one more unit, without spending it: `now` if that is at once.
    pub(crate) fn ready_at(&self, limit: &RateLimit, now: Instant) -> Instant {
        let arrival = self.theoretical_arrival.load(Ordering::Relaxed);
        let allowed_at = arrival.saturating_sub(duration_to_nanos(limit.tolerance()));
        if limit.is_unlimited() || allowed_at <= to_nanos(now) { now } else { from_nanos(allowed_at) }
    }

    /// Returns how much is used, as nanoseconds from now on: for another process.
    pub(crate) fn export(&self) -> i64 {
        nanos_from_now(self.theoretical_arrival.load(Ordering::Relaxed))
    }

    /// Uses as much as a limiter of another process did.
    pub(crate) fn import(&self, exported: i64) {
        self.theoretical_arrival.store(nanos_of_now_and(exported), Ordering::Relaxed);
    }

    /// Returns whether nothing of the limit is used at `now`, so that a new limiter is as good.
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        self.theoretical_arrival.load(Ordering::Relaxed) <= to_nanos(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn limit(rate: u32, burst: u32) -> RateLimit {
        RateLimit::new(rate, NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn connections_that_wait_get_turns_one_after_the_other() {
        let (start, limit) = (Instant::now(), limit(10, 4));
        let limiter = SharedRateLimiter::new(start);
        let waits: Vec<_> =
            (0..4).map(|_| limiter.spend(2, &limit, start).saturating_duration_since(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 200, 400], "a burst at once, and then two units each 200 ms");
    }

    #[test]
    fn a_quiet_time_refills_one_burst() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let limiter = SharedRateLimiter::new(start);
        assert!(limiter.is_unused(start));
        limiter.spend(5, &limit, start);
        assert!(!limiter.is_unused(start + Duration::from_millis(499)));
        let later = start + Duration::from_secs(60);
        assert!(limiter.is_unused(later));
        assert_eq!(limiter.spend(5, &limit, later), later);
        assert!(limiter.spend(1, &limit, later) > later);
    }

    #[test]
    fn work_beyond_the_burst_is_allowed_when_nothing_is_owed() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let limiter = SharedRateLimiter::new(start);
        assert_eq!(limiter.spend(50, &limit, start), start);
        let next = limiter.ready_at(&limit, start).duration_since(start);
        assert_eq!(next, Duration::from_millis(4600), "its units are a debt");
    }

    #[test]
    fn refunded_units_are_no_debt() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let limiter = SharedRateLimiter::new(start);
        limiter.spend(5, &limit, start);
        let waits = limiter.spend(100, &limit, start);
        assert!(waits > start);
        limiter.refund(100, &limit, start);
        assert_eq!(limiter.spend(1, &limit, start), start + Duration::from_millis(100));
    }

    #[test]
    fn no_limit_never_delays() {
        let (start, limit) = (Instant::now(), limit(0, 1));
        let limiter = SharedRateLimiter::new(start);
        assert_eq!(limiter.spend(u32::MAX, &limit, start), start);
        assert_eq!(limiter.ready_at(&limit, start), start);
    }
}
