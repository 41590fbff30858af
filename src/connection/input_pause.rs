//! The pause of input: the one place that decides whether a connection reads and processes input, and delays it.

use super::Connection;
use super::input_flush::InputFlush;
use super::timers::Deadline;
use crate::metrics::counters::MetricsDelta;
use std::time::Instant;

/// Encoded bytes that are not written, beyond which input waits: a peer's keys are echoed and its telnet commands
/// answered whether it reads or not.
const MAX_UNWRITTEN: usize = 256 << 10;

impl Connection {
    /// Delays input until `allowed_at`, from which the rates allow more, and counts by how much that is later than before.
    pub(super) fn delay_input(&mut self, allowed_at: Instant, now: Instant) {
        let delayed_until = self.deadlines.time(Deadline::RateLimit).map_or(now, Into::into);
        let added = allowed_at.saturating_duration_since(delayed_until);
        let rate_limited_micros = u64::try_from(added.as_micros()).unwrap_or(u64::MAX);
        self.context.registry.counters().add(&MetricsDelta { rate_limited_micros, ..MetricsDelta::default() });
        self.deadlines.extend(Deadline::RateLimit, allowed_at.into());
    }

    /// Returns whether input waits: for a room's answer, for capacity of the room's inbox, for the write lock, for the
    /// peer to read what was encoded for it, for the rate limits, for the budget of the address, for the end of a handover, or for the next slice; and
    /// whether the flush at shutdown has taken all of it.
    pub(super) fn is_input_paused(&self) -> bool {
        self.state.awaits_room()
            || self.is_in_handover()
            || self.blocked_input.is_some()
            || self.pending_output.is_some()
            || (self.unwritten as usize > MAX_UNWRITTEN && !self.is_flushing_input())
            || self.deadlines.is_set(Deadline::RateLimit)
            || self.delayed_line.is_some()
            || self.slice.is_used_up()
            || self.input_flush == InputFlush::Done
    }
}
