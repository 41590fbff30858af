//! The server's budget of TLS handshakes: how much of its workers' time they get.
//!
//! A handshake is done in one poll, so a worker does one at a time. A semaphore around whole handshakes would let a few
//! clients that never answer keep all others out; this budget lets some begin at once, and more at a rate.

use crate::limits::rate::RateLimit;
use crate::limits::shared_rate::SharedRateLimiter;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The handshakes per second that one worker does: about a quarter of its time, since one takes 250 to 330 µs.
const HANDSHAKES_PER_WORKER: u32 = 800;

/// The handshakes that may begin at once.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);

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
        let limit = RateLimit::new(HANDSHAKES_PER_WORKER.saturating_mul(workers), BURST);
        Self { used: SharedRateLimiter::new(now), limit }
    }

    /// Spends one handshake; returns the instant from which it may begin, and `None`, with nothing spent, if that is too
    /// late. Connections that wait get their turns one after the other.
    pub(crate) fn spend(&self, now: Instant) -> Option<Instant> {
        let allowed_at = self.used.spend(1, &self.limit, now);
        if allowed_at <= now + LONGEST_WAIT {
            return Some(allowed_at);
        }
        self.refund(now);
        None
    }

    /// Gives back a handshake that does not begin.
    pub(crate) fn refund(&self, now: Instant) {
        self.used.refund(1, &self.limit, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_of_handshakes_begins_at_once_and_more_wait_for_their_turns() {
        let start = Instant::now();
        let budget = HandshakeBudget::new(2, start);
        for number in 0..BURST.get() {
            assert_eq!(budget.spend(start), Some(start), "handshake {number}");
        }
        let turns: Vec<Instant> = (0..1_600).filter_map(|_| budget.spend(start)).collect();
        assert!(turns.is_sorted() && turns[0] > start);
        let last = turns[1_599] - start;
        assert!((Duration::from_millis(990)..=Duration::from_millis(1_001)).contains(&last), "{last:?}");
    }

    #[test]
    fn handshake_that_would_wait_too_long_is_refused_and_costs_nothing() {
        let start = Instant::now();
        let budget = HandshakeBudget::new(1, start);
        let begun = (0..20_000).filter(|_| budget.spend(start).is_some()).count();
        assert!((8_060..=8_066).contains(&begun), "{begun} in 10 s of one worker");
        budget.refund(start);
        assert!(budget.spend(start).is_some(), "a handshake that did not begin is given back");
    }
}
