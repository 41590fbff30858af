//! An allowance: how many commands a peer may send, and how often it gets an answer.

use crate::limits::rate::{RateLimit, RateLimiter};
use std::num::NonZeroU32;
use std::time::Instant;

/// Bytes of commands a second, and at once, that are read at full speed. A client greets with 30, and
/// tells each size of a window that is dragged in 9.
const COMMAND_BYTES: RateLimit = RateLimit::new(16 << 10, NonZeroU32::MIN.saturating_add((16 << 10) - 1));

/// Answers a second, and at once: more than a key held down asks for. A client that waits for a
/// timing mark shows nothing until it has it, so nobody who types may miss one.
const REPLIES: RateLimit = RateLimit::new(100, NonZeroU32::MIN.saturating_add(199));

/// Answers to Are You There: one a second.
const ARE_YOU_THERE: RateLimit = RateLimit::new(1, NonZeroU32::MIN);

/// What is left of a peer's allowance.
///
/// Only a peer that has sent a command needs one: keep it in a box of its own, made then.
#[derive(Debug)]
pub struct TelnetBudget {
    bytes: RateLimiter,
    replies: RateLimiter,
    are_you_there: RateLimiter,
}

impl TelnetBudget {
    /// A whole one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let unused = RateLimiter::new(now);
        Self { bytes: unused, replies: unused, are_you_there: unused }
    }

    /// Takes so many bytes of commands, which have been read.
    ///
    /// # Errors
    /// When they have used the allowance up: the time before which no more is to be read. Nothing is
    /// lost, and nobody is closed for it.
    pub fn spend_bytes(&mut self, bytes: u32, now: Instant) -> Result<(), Instant> {
        self.bytes.spend_many(bytes, &COMMAND_BYTES, now);
        self.bytes.check(&COMMAND_BYTES, now)
    }

    /// Whether an answer to a negotiation may be sent; if so, it is taken. Otherwise: silence.
    pub fn allow_reply(&mut self, now: Instant) -> bool {
        try_spend(&mut self.replies, &REPLIES, now)
    }

    /// Whether an answer to Are You There may be sent; if so, it is taken. Otherwise: silence.
    pub fn allow_are_you_there(&mut self, now: Instant) -> bool {
        try_spend(&mut self.are_you_there, &ARE_YOU_THERE, now)
    }
}

fn try_spend(limiter: &mut RateLimiter, limit: &RateLimit, now: Instant) -> bool {
    limiter.check(limit, now).map(|()| limiter.spend(limit, now)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn command_flood_is_delayed_to_the_byte_rate() {
        let start = Instant::now();
        let mut budget = TelnetBudget::new(start);
        assert_eq!(budget.spend_bytes((16 << 10) - 1, start), Ok(()), "a burst");
        // What one read brings, at most.
        let mut later = budget.spend_bytes(64 << 10, start).unwrap_err();
        let wait = (later - start).as_secs_f64();
        assert!((3.9..4.1).contains(&wait), "{wait} s for four seconds' bytes");
        for second in 1..100 {
            later = budget.spend_bytes(16 << 10, later).unwrap_err();
            let wait = (later - start).as_secs_f64() - f64::from(second);
            assert!((3.9..4.1).contains(&wait), "{wait} s and {second}: the rate has no end");
        }
        let quiet = later + Duration::from_secs(1);
        assert_eq!(budget.spend_bytes((16 << 10) - 1, quiet), Ok(()), "and is forgotten");
    }

    #[test]
    fn replies_and_are_you_there_have_rates_of_their_own() {
        let start = Instant::now();
        let mut budget = TelnetBudget::new(start);
        assert_eq!((0..1000).filter(|_| budget.allow_reply(start)).count(), 200);
        assert_eq!((0..1000).filter(|_| budget.allow_are_you_there(start)).count(), 1, "the two are apart");
        let second = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| budget.allow_reply(second)).count(), 100);
        assert_eq!((0..1000).filter(|_| budget.allow_are_you_there(second)).count(), 1);
        // A key held down.
        let held = |tick| start + Duration::from_secs(60) + Duration::from_millis(33) * tick;
        assert!((0..1000).all(|tick| budget.allow_reply(held(tick))));
    }

    /// Each peer that has sent a command has one.
    #[test]
    fn budget_stays_within_48_bytes() {
        assert!(size_of::<TelnetBudget>() <= 48, "{}", size_of::<TelnetBudget>());
    }
}
