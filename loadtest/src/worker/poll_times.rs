//! The times of a worker's polls, from which its own receive lag and its stops follow.
//!
//! Bytes that arrive while the worker waits in a poll wake it. Bytes that arrive while it reads other connections, while
//! it has no CPU, or while its process is stopped wait in the kernel, and that wait is no delay of the server. The kernel
//! does not tell when it received them, so the longest time that they can have waited counts.

use std::time::Duration;

use crate::clock::{SECOND, Tick, ticks};

/// A poll that returns within this time found events that may have waited for it.
const IMMEDIATE: Tick = SECOND / 20_000;
/// Time by which a poll may exceed its timeout: the timeout counts whole milliseconds, and a thread is woken late.
const POLL_SLACK: Tick = SECOND / 500;

/// A worker that has polled nothing for this time was stopped, or had no CPU, or had too much work.
const LONG_TURN: Tick = SECOND / 10;

/// The time in which a worker was stopped or starved, or had too much work for one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stopped {
    /// The time by which a poll exceeded its timeout.
    pub(super) overslept: Tick,
    /// The time between two polls, where it was long.
    pub(super) long_turn: Tick,
}

/// The times of the last poll and of the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PollTimes {
    /// The tick at which the last poll was entered.
    entered: Tick,
    /// The tick at which it returned.
    returned: Tick,
    /// The longest time that the events which it returned can have waited before it returned.
    waited: Tick,
    /// Whether it returned as many events as a poll can, so that more of them may wait for the next one.
    full: bool,
}

impl PollTimes {
    /// Records that a poll is entered.
    pub(super) fn enter(&mut self, now: Tick) {
        self.entered = now;
    }

    /// Records the return of the poll, which had a timeout, and is `full` where it returned as many events as it can. Returns
    /// the time in which the worker was stopped or starved.
    pub(super) fn leave(&mut self, now: Tick, timeout: Duration, full: bool) -> Stopped {
        let polled = now.saturating_sub(self.entered);
        // Before the first return there is no earlier poll.
        let busy = if self.returned == 0 { 0 } else { self.entered.saturating_sub(self.returned) };
        let late = polled.saturating_sub(ticks(timeout));
        let overslept = if late > POLL_SLACK { late } else { 0 };
        // Events that a poll finds at once, or that it was not to wait for, may have waited since the last poll.
        // Those that a full poll left over may have waited as long as the ones that it returned, and since then.
        let left_over = if self.full { self.waited } else { 0 };
        self.waited = if polled <= IMMEDIATE || timeout.is_zero() { busy + left_over } else { overslept };
        (self.returned, self.full) = (now, full);
        Stopped { overslept, long_turn: if busy > LONG_TURN { busy } else { 0 } }
    }

    /// Returns the time since the last poll, where it is long; the next return of a poll has not reported it yet.
    pub(super) fn long_turn(&self, now: Tick) -> Tick {
        let busy = now.saturating_sub(self.returned);
        if self.returned > 0 && busy > LONG_TURN { busy } else { 0 }
    }

    /// Returns the longest time that bytes which are read now, after the last poll, can have waited for the worker.
    pub(super) fn receive_lag(&self, now: Tick) -> Tick {
        self.waited + now.saturating_sub(self.returned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Tick = SECOND / 1000;
    const TIMEOUT: Duration = Duration::from_millis(10);

    /// Returns the times of a poll from `entered` to `left`, after an earlier one that returned at 1 s, and the time of a
    /// stop.
    fn polled(entered: Tick, left: Tick) -> (PollTimes, Stopped) {
        let mut times = PollTimes::default();
        times.enter(SECOND - MS);
        times.leave(SECOND, TIMEOUT, false);
        times.enter(entered);
        let stopped = times.leave(left, TIMEOUT, false);
        (times, stopped)
    }

    #[test]
    fn bytes_that_wake_a_waiting_poll_have_not_waited() {
        let (times, stopped) = polled(SECOND + 3 * MS, SECOND + 8 * MS);
        assert_eq!((times.receive_lag(SECOND + 8 * MS), stopped), (0, Stopped::default()));
        assert_eq!(times.receive_lag(SECOND + 9 * MS), MS, "the read of other connections came first");
    }

    #[test]
    fn bytes_of_an_immediate_poll_may_have_waited_since_the_last_one() {
        let (times, stopped) = polled(SECOND + 3 * MS, SECOND + 3 * MS + IMMEDIATE);
        assert_eq!((times.receive_lag(SECOND + 3 * MS + IMMEDIATE), stopped), (3 * MS, Stopped::default()));
    }

    #[test]
    fn events_that_full_polls_leave_over_may_have_waited_through_all_their_turns() {
        let mut times = PollTimes::default();
        for turn in 0..4 {
            times.enter(SECOND + turn * MS);
            times.leave(SECOND + turn * MS, TIMEOUT, turn < 3);
        }
        assert_eq!(times.receive_lag(SECOND + 3 * MS), 3 * MS);
        times.enter(SECOND + 4 * MS);
        times.leave(SECOND + 4 * MS, TIMEOUT, false);
        assert_eq!(times.receive_lag(SECOND + 4 * MS), MS, "the poll before was not full");
    }

    #[test]
    fn stop_of_the_process_in_a_poll_counts_as_lag() {
        let (times, stopped) = polled(SECOND + MS, SECOND + 261 * MS);
        assert_eq!(
            (times.receive_lag(SECOND + 261 * MS), stopped),
            (250 * MS, Stopped { overslept: 250 * MS, long_turn: 0 })
        );
        let (times, stopped) = polled(SECOND + MS, SECOND + 12 * MS);
        assert_eq!(
            (times.receive_lag(SECOND + 12 * MS), stopped),
            (0, Stopped::default()),
            "the timeout has whole milliseconds"
        );
    }

    #[test]
    fn turn_that_is_not_over_is_long_after_a_stop() {
        let (times, _) = polled(SECOND + MS, SECOND + 2 * MS);
        assert_eq!((times.long_turn(SECOND + 9 * MS), times.long_turn(SECOND + 252 * MS)), (0, 250 * MS));
    }

    #[test]
    fn stop_of_the_process_between_polls_counts_as_lag() {
        let (times, stopped) = polled(SECOND + 250 * MS, SECOND + 250 * MS);
        assert_eq!(
            (times.receive_lag(SECOND + 250 * MS), stopped),
            (250 * MS, Stopped { overslept: 0, long_turn: 250 * MS })
        );
    }
}
