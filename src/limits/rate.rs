//! Rate limits: how many lines a connection may send, or of anything else, as one point in time.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Lines a second, and how many at once; or whatever else is counted, one for one.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// The time that one line is worth; zero when there is no limit.
    interval: Duration,
    /// The time that a burst is worth.
    tolerance: Duration,
}

impl RateLimit {
    /// `rate` lines a second, 0 for no limit, and `burst` at once.
    #[must_use]
    pub const fn new(rate: u32, burst: NonZeroU32) -> Self {
        let interval = match Duration::from_secs(1).checked_div(rate) {
            Some(interval) => interval,
            None => Duration::ZERO,
        };
        Self { interval, tolerance: interval.saturating_mul(burst.get() - 1) }
    }
}

/// How much of its limit a connection has used: the generic cell rate algorithm (ITU-T I.371,
/// annex A), which needs no counter and no clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    /// The theoretical arrival time: when all lines sent so far would have come at just the rate.
    paid_until: Instant,
}

impl RateLimiter {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { paid_until: now }
    }

    /// Whether a line may come at `now`.
    ///
    /// # Errors
    /// When the limit is used up: gives the time at which it may come.
    pub fn check(&self, limit: &RateLimit, now: Instant) -> Result<(), Instant> {
        match self.paid_until.checked_sub(limit.tolerance) {
            Some(free) if free > now => Err(free),
            _ => Ok(()),
        }
    }

    /// Takes a line that comes at `now`.
    pub fn spend(&mut self, limit: &RateLimit, now: Instant) {
        self.spend_many(1, limit, now);
    }

    /// Takes so many at once, whether they were allowed or not: what is too much is a debt, and none
    /// may come until it is paid.
    pub fn spend_many(&mut self, count: u32, limit: &RateLimit, now: Instant) {
        // Without a limit not even the clock may go backwards: a read asks it once for many lines.
        if !limit.interval.is_zero() {
            self.paid_until = self.paid_until.max(now) + limit.interval * count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: u32, burst: u32) -> RateLimit {
        RateLimit::new(rate, NonZeroU32::new(burst).unwrap())
    }

    /// How many lines may come at `now`.
    fn spend_all(pace: &mut RateLimiter, limit: &RateLimit, now: Instant) -> usize {
        let free = |_: &i32| pace.check(limit, now).map(|()| pace.spend(limit, now)).is_ok();
        (0..10_000).take_while(free).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut pace = RateLimiter::new(start);
        assert_eq!(spend_all(&mut pace, &limit, start), 5);
        assert_eq!(pace.check(&limit, start), Err(start + Duration::from_millis(100)));
        assert_eq!(spend_all(&mut pace, &limit, start + Duration::from_millis(100)), 1);
        assert_eq!(spend_all(&mut pace, &limit, start + Duration::from_millis(400)), 3);
        assert_eq!(spend_all(&mut pace, &limit, start + Duration::from_secs(60)), 5, "no more than a burst");
    }

    #[test]
    fn the_time_that_is_given_is_the_time_at_which_it_works() {
        let (mut now, limit) = (Instant::now(), limit(3, 1));
        let mut pace = RateLimiter::new(now);
        for _ in 0..100 {
            assert_eq!(pace.check(&limit, now), Ok(()));
            pace.spend(&limit, now);
            now = pace.check(&limit, now).unwrap_err();
        }
    }

    #[test]
    fn what_was_too_much_is_paid_for() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut pace = RateLimiter::new(start);
        pace.spend_many(104, &limit, start);
        let paid = start + Duration::from_secs(10);
        assert_eq!(pace.check(&limit, start), Err(paid));
        assert_eq!(spend_all(&mut pace, &limit, paid), 1);
    }

    #[test]
    fn no_limit() {
        let (now, limit) = (Instant::now(), limit(0, 1));
        assert_eq!(spend_all(&mut RateLimiter::new(now), &limit, now), 10_000);
        let mut pace = RateLimiter::new(now);
        pace.spend_many(20, &limit, now + Duration::from_millis(1));
        assert_eq!(pace.check(&limit, now), Ok(()), "whoever has looked at the clock before that");
    }
}
