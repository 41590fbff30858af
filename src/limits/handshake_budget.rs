//! The server's budget of TLS handshakes: how much of its workers' time they get.
//!
//! A handshake is done in one poll, so a worker does one at a time. A semaphore around whole handshakes would let a few
//! clients that never answer keep all others out; this budget lets some begin at once, and more at a rate. It counts units
//! of time, because an RSA signature costs up to 20 times what all the rest of a handshake does.

use crate::limits::rate::RateLimit;
use crate::limits::shared_rate::SharedRateLimiter;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The units of a handshake with a P-256 or Ed25519 certificate: 250 to 330 µs. A unit is about 5 µs.
pub(crate) const HANDSHAKE_UNITS: u32 = 60;

/// The units per second that one worker gives to handshakes: about a quarter of its time, 800 handshakes with a P-256
/// certificate.
const UNITS_PER_WORKER: u32 = 800 * HANDSHAKE_UNITS;

/// The units that may begin at once: 64 handshakes with a P-256 certificate, or 20 ms.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(64 * HANDSHAKE_UNITS - 1);

/// The longest time for which a handshake waits. A client whose turn would come later is refused: it would wait in vain
/// while others that come later wait even longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The budget that all TLS connections of a server share.
#[derive(Debug)]
pub(crate) struct HandshakeBudget {
    used: SharedRateLimiter,
    limit: RateLimit,
}

impl HandshakeBudget {
    /// Returns the budget of a server with a number of worker threads, of which nothing is used at `now`.
    pub(crate) fn new(workers: usize, now: Instant) -> Self {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        let limit = RateLimit::new(UNITS_PER_WORKER.saturating_mul(workers), BURST);
        Self { used: SharedRateLimiter::new(now), limit }
    }

    /// Spends the units of a handshake; returns the instant from which it may begin, and `None`, with nothing spent, if that
    /// is too late. Connections that wait get their turns one after the other.
    pub(crate) fn spend(&self, units: u32, now: Instant) -> Option<Instant> {
        let allowed_at = self.used.spend(units, &self.limit, now);
        if allowed_at <= now + LONGEST_WAIT {
            return Some(allowed_at);
        }
        self.refund(units, now);
        None
    }

    /// Gives back the units of a handshake that does not begin.
    pub(crate) fn refund(&self, units: u32, now: Instant) {
        self.used.refund(units, &self.limit, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_of_handshakes_begins_at_once_and_more_wait_for_their_turns() {
        let start = Instant::now();
        let budget = HandshakeBudget::new(2, start);
        for number in 0..64 {
            assert_eq!(budget.spend(HANDSHAKE_UNITS, start), Some(start), "handshake {number}");
        }
        let turns: Vec<Instant> = (0..1_600).filter_map(|_| budget.spend(HANDSHAKE_UNITS, start)).collect();
        assert!(turns.is_sorted() && turns[0] > start);
        let last = turns[1_599] - start;
        assert!((Duration::from_millis(990)..=Duration::from_millis(1_001)).contains(&last), "{last:?}");
    }

    #[test]
    fn handshake_of_more_units_takes_more_turns() {
        let start = Instant::now();
        let budget = HandshakeBudget::new(1, start);
        let wait = |units| budget.spend(units, start).unwrap() - start;
        let at_once = (0..64).take_while(|_| wait(10 * HANDSHAKE_UNITS).is_zero()).count();
        assert_eq!(at_once, 6, "a burst of 64 handshakes pays for 6 that cost ten times as much");
        let (before, after) = (wait(10 * HANDSHAKE_UNITS), wait(10 * HANDSHAKE_UNITS));
        assert!((12_400..=12_600).contains(&after.abs_diff(before).as_micros()), "{before:?} and {after:?}");
    }

    #[test]
    fn handshake_that_would_wait_too_long_is_refused_and_costs_nothing() {
        let start = Instant::now();
        let budget = HandshakeBudget::new(1, start);
        let begun = (0..20_000).filter(|_| budget.spend(HANDSHAKE_UNITS, start).is_some()).count();
        assert!((8_060..=8_066).contains(&begun), "{begun} in 10 s of one worker");
        budget.refund(HANDSHAKE_UNITS, start);
        assert!(budget.spend(HANDSHAKE_UNITS, start).is_some(), "a handshake that did not begin is given back");
    }
}
