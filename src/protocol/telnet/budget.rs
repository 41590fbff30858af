//! The telnet budget: how many command bytes a peer may send, and how many replies it may get.

use crate::limits::rate::{RateLimit, RateLimiter};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Instant;

/// Command bytes per second, and at once. A client's first negotiation has about 30 bytes, and each window
/// size while a user drags the window has 9.
const COMMAND_BYTES: RateLimit = RateLimit::new(16 << 10, NonZeroU32::MIN.saturating_add((16 << 10) - 1));

/// Replies to negotiation per second, and at once: more than a key held down asks for. A client that waits
/// for a timing mark shows no output until the mark arrives, so a typing user must get every one.
const REPLIES: RateLimit = RateLimit::new(100, NonZeroU32::MIN.saturating_add(199));

/// Replies to Are You There: one per second.
const ARE_YOU_THERE: RateLimit = RateLimit::new(1, NonZeroU32::MIN);

/// The budget of one peer for telnet commands and for replies to them.
///
/// Only a peer that has sent a telnet command needs a budget, so the connection allocates it then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TelnetBudget {
    /// Command bytes, against [`COMMAND_BYTES`].
    bytes: RateLimiter,
    /// Replies to negotiation, against [`REPLIES`].
    replies: RateLimiter,
    /// Replies to Are You There, against [`ARE_YOU_THERE`].
    are_you_there: RateLimiter,
}

impl TelnetBudget {
    /// Returns a budget of which nothing is used at `now`.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        let unused = RateLimiter::new(now);
        Self { bytes: unused, replies: unused, are_you_there: unused }
    }

    /// Spends `bytes` command bytes, which have been read already.
    ///
    /// # Errors
    /// The instant before which the connection must read no more, if the budget is exhausted. The peer is
    /// delayed; it loses no input and stays connected.
    pub(crate) fn spend_bytes(&mut self, bytes: u32, now: Instant) -> Result<(), Instant> {
        self.bytes.spend_many(bytes, &COMMAND_BYTES, now);
        self.bytes.check(&COMMAND_BYTES, now)
    }

    /// Returns whether a reply to a negotiation may be sent, and spends it if so. Otherwise the command
    /// gets no reply.
    pub(crate) fn allow_reply(&mut self, now: Instant) -> bool {
        try_spend(&mut self.replies, &REPLIES, now)
    }

    /// Returns whether a reply to Are You There may be sent, and spends it if so. Otherwise the command
    /// gets no reply.
    pub(crate) fn allow_are_you_there(&mut self, now: Instant) -> bool {
        try_spend(&mut self.are_you_there, &ARE_YOU_THERE, now)
    }
}

/// Spends one unit if the limit allows it; returns whether it did.
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
        assert_eq!(budget.spend_bytes((16 << 10) - 1, start), Ok(()), "a burst is allowed at once");
        // As many bytes as one read returns at most.
        let mut later = budget.spend_bytes(64 << 10, start).unwrap_err();
        let wait = (later - start).as_secs_f64();
        assert!((3.9..4.1).contains(&wait), "{wait} s for the bytes of four seconds");
        for second in 1..100 {
            later = budget.spend_bytes(16 << 10, later).unwrap_err();
            let wait = (later - start).as_secs_f64() - f64::from(second);
            assert!(
                (3.9..4.1).contains(&wait),
                "{wait} s beyond second {second}: a lasting flood is delayed to the rate"
            );
        }
        let quiet = later + Duration::from_secs(1);
        assert_eq!(
            budget.spend_bytes((16 << 10) - 1, quiet),
            Ok(()),
            "after a quiet second the burst is available again"
        );
    }

    #[test]
    fn burst_of_command_bytes_leaves_none_for_the_next_read() {
        let start = Instant::now();
        let spent = |bytes| TelnetBudget::new(start).spend_bytes(bytes, start);
        assert_eq!(spent((16 << 10) - 1), Ok(()));
        assert!(spent(16 << 10).is_err_and(|later| later > start));
    }

    #[test]
    fn replies_and_are_you_there_have_rates_of_their_own() {
        let start = Instant::now();
        let mut budget = TelnetBudget::new(start);
        assert_eq!((0..1000).filter(|_| budget.allow_reply(start)).count(), 200);
        assert_eq!(
            (0..1000).filter(|_| budget.allow_are_you_there(start)).count(),
            1,
            "replies to negotiation do not spend it"
        );
        let second = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| budget.allow_reply(second)).count(), 100);
        assert_eq!((0..1000).filter(|_| budget.allow_are_you_there(second)).count(), 1);
        // A key held down repeats every 33 ms and asks for a reply each time.
        let repeat = |tick| start + Duration::from_secs(60) + Duration::from_millis(33) * tick;
        assert!((0..1000).all(|tick| budget.allow_reply(repeat(tick))));
    }

    /// Each peer that has sent a telnet command has a budget, so its size bounds memory.
    #[test]
    fn budget_stays_within_48_bytes() {
        assert!(size_of::<TelnetBudget>() <= 48, "{}", size_of::<TelnetBudget>());
    }
}
