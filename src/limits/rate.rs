//! Rate limits: how many lines a connection may send, or of anything else, as one point in time.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Lines a second, and how many at once; or whatever else is counted, one for one.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// The time that one line is worth; zero when there is no limit.
    emission_interval: Duration,
    /// The time that a burst is worth.
    tolerance: Duration,
}

impl RateLimit {
    /// `rate` lines a second, 0 for no limit, and `burst` at once.
    #[must_use]
    pub const fn new(rate: u32, burst: NonZeroU32) -> Self {
        let emission_interval = match Duration::from_secs(1).checked_div(rate) {
            Some(emission_interval) => emission_interval,
            None => Duration::ZERO,
        };
        Self { emission_interval, tolerance: emission_interval.saturating_mul(burst.get() - 1) }
    }
}

/// How much of its limit a connection has used: the generic cell rate algorithm (ITU-T I.371,
/// annex A), which needs no counter and no clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    /// The theoretical arrival time: when all lines sent so far would have come at just the rate.
    theoretical_arrival: Instant,
}

impl RateLimiter {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { theoretical_arrival: now }
    }

    /// Whether a line may come at `now`.
    ///
    /// # Errors
    /// When the limit is used up: gives the time at which it may come.
    pub fn check(&self, limit: &RateLimit, now: Instant) -> Result<(), Instant> {
        match self.theoretical_arrival.checked_sub(limit.tolerance) {
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
        if !limit.emission_interval.is_zero() {
            self.theoretical_arrival = self.theoretical_arrival.max(now) + limit.emission_interval * count;
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
    fn spend_all(limiter: &mut RateLimiter, limit: &RateLimit, now: Instant) -> usize {
        let free = |_: &i32| limiter.check(limit, now).map(|()| limiter.spend(limit, now)).is_ok();
        (0..10_000).take_while(free).count()
    }

    #[test]
    fn burst_is_allowed_then_the_rate_applies() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut limiter = RateLimiter::new(start);
        assert_eq!(spend_all(&mut limiter, &limit, start), 5);
        assert_eq!(limiter.check(&limit, start), Err(start + Duration::from_millis(100)));
        assert_eq!(spend_all(&mut limiter, &limit, start + Duration::from_millis(100)), 1);
        assert_eq!(spend_all(&mut limiter, &limit, start + Duration::from_millis(400)), 3);
        assert_eq!(spend_all(&mut limiter, &limit, start + Duration::from_secs(60)), 5, "no more than a burst");
    }

    #[test]
    fn check_succeeds_at_the_instant_that_its_error_names() {
        let (mut now, limit) = (Instant::now(), limit(3, 1));
        let mut limiter = RateLimiter::new(now);
        for _ in 0..100 {
            assert_eq!(limiter.check(&limit, now), Ok(()));
            limiter.spend(&limit, now);
            now = limiter.check(&limit, now).unwrap_err();
        }
    }

    #[test]
    fn spending_beyond_the_limit_delays_the_next_unit_by_the_debt() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut limiter = RateLimiter::new(start);
        limiter.spend_many(104, &limit, start);
        let paid = start + Duration::from_secs(10);
        assert_eq!(limiter.check(&limit, start), Err(paid));
        assert_eq!(spend_all(&mut limiter, &limit, paid), 1);
    }

    #[test]
    fn zero_rate_never_limits() {
        let (now, limit) = (Instant::now(), limit(0, 1));
        assert_eq!(spend_all(&mut RateLimiter::new(now), &limit, now), 10_000);
        let mut limiter = RateLimiter::new(now);
        limiter.spend_many(20, &limit, now + Duration::from_millis(1));
        assert_eq!(limiter.check(&limit, now), Ok(()), "whoever has looked at the clock before that");
    }
}
