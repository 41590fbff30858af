//! Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371, annex A).
//!
//! GCRA stores one instant per limiter. It needs no counter, no timer and no clock of its own.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The setting of a rate limit: units per second, and units at once.
///
/// A unit is whatever the caller counts: a line, a byte, a reply. One setting may serve any number of
/// [`RateLimiter`]s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    /// The time between two units at exactly the rate (I.371: T); zero means no limit.
    emission_interval: Duration,
    /// How far units may run ahead of the rate (I.371: τ): the emission intervals of a burst, less one.
    tolerance: Duration,
}

impl RateLimit {
    /// Returns a limit of `rate` units per second, 0 for no limit, and `burst` units at once.
    #[must_use]
    pub(crate) const fn new(rate: u32, burst: NonZeroU32) -> Self {
        let emission_interval = match Duration::from_secs(1).checked_div(rate) {
            Some(emission_interval) => emission_interval,
            None => Duration::ZERO,
        };
        Self { emission_interval, tolerance: emission_interval.saturating_mul(burst.get() - 1) }
    }

    /// Returns the time between two units at exactly the rate; zero for no limit.
    pub(crate) fn emission_interval(&self) -> Duration {
        self.emission_interval
    }

    /// Returns how far units may run ahead of the rate.
    pub(crate) fn tolerance(&self) -> Duration {
        self.tolerance
    }

    /// Returns whether there is no limit.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.emission_interval.is_zero()
    }
}

/// The origin of the times that limiters keep: 8 bytes in place of the 16 of an `Instant`, since each connection has
/// several limiters. Times before it count as the origin itself, so it lies before the first use: a caller takes its time
/// before it calls a limiter.
static ORIGIN: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(60)).unwrap_or(now)
});

/// Returns the nanoseconds from the origin of all limiters to `time`.
pub(super) fn to_nanos(time: Instant) -> u64 {
    duration_to_nanos(time.saturating_duration_since(*ORIGIN))
}

/// Returns the time that is `nanos` after the origin of all limiters.
pub(super) fn from_nanos(nanos: u64) -> Instant {
    *ORIGIN + Duration::from_nanos(nanos)
}

/// Returns a duration in nanoseconds, at most 584 years.
pub(super) fn duration_to_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of a rate limit: how much of a [`RateLimit`] one connection has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimiter {
    /// The theoretical arrival time (I.371: TAT), in nanoseconds after [`ORIGIN`]: when the next unit would arrive if all
    /// units so far had arrived at exactly the rate.
    theoretical_arrival: u64,
}

impl Serialize for RateLimiter {
    /// Writes how much is used as nanoseconds from now on: the origin of times is that of this process.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(nanos_from_now(self.theoretical_arrival))
    }
}

impl<'de> Deserialize<'de> for RateLimiter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { theoretical_arrival: nanos_of_now_and(i64::deserialize(deserializer)?) })
    }
}

/// Returns how far a time of the limiters lies from now, for another process.
pub(super) fn nanos_from_now(nanos: u64) -> i64 {
    // Both are far below 292 years, which fit.
    let signed = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    signed(nanos).saturating_sub(signed(to_nanos(Instant::now())))
}

/// Returns the time of the limiters that lies so far from now. What lies before the origin counts as the origin.
pub(super) fn nanos_of_now_and(offset: i64) -> u64 {
    to_nanos(Instant::now()).saturating_add_signed(offset)
}

impl RateLimiter {
    /// Returns a limiter of which nothing is used at `now`.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self { theoretical_arrival: to_nanos(now) }
    }

    /// Returns whether the limit allows one more unit at `now`, without spending it.
    ///
    /// # Errors
    /// The earliest instant at which the limit allows one more unit, if that is after `now`.
    pub(crate) fn check(self, limit: &RateLimit, now: Instant) -> Result<(), Instant> {
        // The limit may have been lifted while units beyond it were a debt.
        let allowed_at = self.theoretical_arrival.saturating_sub(duration_to_nanos(limit.tolerance));
        if limit.is_unlimited() || allowed_at <= to_nanos(now) { Ok(()) } else { Err(from_nanos(allowed_at)) }
    }

    /// Returns whether more than half of the burst is used at `now`.
    pub(crate) fn is_half_used(self, limit: &RateLimit, now: Instant) -> bool {
        self.theoretical_arrival.saturating_sub(to_nanos(now)) > duration_to_nanos(limit.tolerance) / 2
    }

    /// Notes a use at `now` that spends nothing, for [`unused_for`](Self::unused_for).
    pub(crate) fn touch(&mut self, now: Instant) {
        self.theoretical_arrival = self.theoretical_arrival.max(to_nanos(now));
    }

    /// Returns the time until `now` since the last use, less the time that the rate takes for what is spent.
    pub(crate) fn unused_for(self, now: Instant) -> Duration {
        Duration::from_nanos(to_nanos(now).saturating_sub(self.theoretical_arrival))
    }

    /// Spends one unit at `now`, whether or not [`check`](Self::check) allows it.
    pub(crate) fn spend(&mut self, limit: &RateLimit, now: Instant) {
        self.spend_many(1, limit, now);
    }

    /// Spends `count` units at `now`, whether or not [`check`](Self::check) allows them.
    ///
    /// Units beyond the limit are a debt: `check` fails until the rate has paid for them.
    pub(crate) fn spend_many(&mut self, count: u32, limit: &RateLimit, now: Instant) {
        // Without a limit the arrival time must not move: one read takes `now` once for many lines, so
        // a later `check` may see an earlier instant than this call did.
        if !limit.is_unlimited() {
            let cost = duration_to_nanos(limit.emission_interval).saturating_mul(count.into());
            self.theoretical_arrival = self.theoretical_arrival.max(to_nanos(now)).saturating_add(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: u32, burst: u32) -> RateLimit {
        RateLimit::new(rate, NonZeroU32::new(burst).unwrap())
    }

    /// Spends units at `now` as long as the limit allows them, at most 10,000, and returns their number.
    fn spend_all(limiter: &mut RateLimiter, limit: &RateLimit, now: Instant) -> usize {
        let allowed = |_: &i32| limiter.check(limit, now).map(|()| limiter.spend(limit, now)).is_ok();
        (0..10_000).take_while(allowed).count()
    }

    #[test]
    fn time_that_a_caller_took_before_the_first_use_is_kept() {
        let now = Instant::now();
        assert_eq!(from_nanos(to_nanos(now)), now);
    }

    #[test]
    fn burst_is_allowed_then_the_rate_applies() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut limiter = RateLimiter::new(start);
        assert_eq!(spend_all(&mut limiter, &limit, start), 5);
        assert_eq!(limiter.check(&limit, start), Err(start + Duration::from_millis(100)));
        assert_eq!(spend_all(&mut limiter, &limit, start + Duration::from_millis(100)), 1);
        assert_eq!(spend_all(&mut limiter, &limit, start + Duration::from_millis(400)), 3);
        assert_eq!(
            spend_all(&mut limiter, &limit, start + Duration::from_secs(60)),
            5,
            "a quiet minute saves up one burst and no more"
        );
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
        let paid_at = start + Duration::from_secs(10);
        assert_eq!(limiter.check(&limit, start), Err(paid_at));
        assert_eq!(spend_all(&mut limiter, &limit, paid_at), 1);
    }

    #[test]
    fn zero_rate_never_limits() {
        let (now, limit) = (Instant::now(), limit(0, 1));
        assert_eq!(spend_all(&mut RateLimiter::new(now), &limit, now), 10_000);
        let mut limiter = RateLimiter::new(now);
        limiter.spend_many(20, &limit, now + Duration::from_millis(1));
        assert_eq!(limiter.check(&limit, now), Ok(()), "an instant before the last spend is allowed, too");
        limiter.spend_many(20, &self::limit(1, 1), now);
        assert_eq!(limiter.check(&limit, now), Ok(()), "a limit that is lifted forgives the debt");
    }

    #[test]
    fn time_without_use_is_counted_from_the_last_one_and_the_debt() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let later = start + Duration::from_secs(60);
        let mut limiter = RateLimiter::new(start);
        assert_eq!(limiter.unused_for(later), Duration::from_secs(60));
        limiter.touch(later);
        limiter.touch(start);
        assert_eq!(limiter.unused_for(later), Duration::ZERO);
        limiter.spend_many(20, &limit, later);
        assert_eq!(limiter.unused_for(later + Duration::from_secs(3)), Duration::from_secs(1));
        assert_eq!(limiter.unused_for(later), Duration::ZERO);
    }

    #[test]
    fn limiter_is_half_used_when_more_than_half_of_the_burst_is_spent() {
        let (start, limit) = (Instant::now(), limit(10, 5));
        let mut limiter = RateLimiter::new(start);
        let mut is_half_used = Vec::new();
        for _ in 0..5 {
            limiter.spend(&limit, start);
            is_half_used.push(limiter.is_half_used(&limit, start));
        }
        assert_eq!(is_half_used, [false, false, true, true, true]);
        assert!(!limiter.is_half_used(&limit, start + Duration::from_secs(1)), "a quiet second refills the burst");
    }
}
