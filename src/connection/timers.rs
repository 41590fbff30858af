//! Deadlines of a connection; without one they cost a pointer and no timer.

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The events that have a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deadline {
    /// The JOIN line.
    Login,
    /// The peer's next read of bytes of its backlog.
    Stall,
    /// The time from which the rates allow more input.
    RateLimit,
    /// The time from which the budget of the address allows the delayed line.
    AddressBudget,
    /// The time from which the budget of the address allows more lines to be encoded.
    Encoding,
    /// The end of the time in which a peer that can't be written to is still read.
    ReadGrace,
    /// The end of the final flush.
    Flush,
    /// The client's agreement to an input line.
    Agreement,
    /// The notice about a telnet interrupt, which waits for a timing mark.
    InterruptNotice,
    /// The time from which the row of the input line may be drawn again.
    Redraw,
    /// The time from which a member that has sent nothing is idle for too long.
    Idle,
    /// The next ping of a browser.
    Ping,
    /// The end of a mute. The peer is muted while it is set.
    Mute,
}

impl Deadline {
    /// Every deadline, in the order of its number.
    pub(super) const ALL: [Self; 13] = [
        Self::Login,
        Self::Stall,
        Self::RateLimit,
        Self::AddressBudget,
        Self::Encoding,
        Self::ReadGrace,
        Self::Flush,
        Self::Agreement,
        Self::InterruptNotice,
        Self::Redraw,
        Self::Idle,
        Self::Ping,
        Self::Mute,
    ];
}

/// The deadlines of one connection. Costs a pointer while none is set: most peers have none.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(Option<Box<Armed>>);

/// The timer of a connection with at least one deadline.
#[derive(Debug)]
struct Armed {
    /// Sleeps until the earliest deadline.
    sleep: Pin<Box<Sleep>>,
    /// The times of the deadlines, in the order of [`Deadline::ALL`].
    at: [Option<Instant>; Deadline::ALL.len()],
}

impl Deadlines {
    /// Sets a deadline, or moves it.
    pub(crate) fn set(&mut self, kind: Deadline, at: Instant) {
        let armed = self.0.get_or_insert_with(|| {
            Box::new(Armed { sleep: Box::pin(sleep_until(at)), at: [None; Deadline::ALL.len()] })
        });
        armed.at[kind as usize] = Some(at);
        armed.rearm();
    }

    /// Sets a deadline, unless it is set to a later time.
    pub(crate) fn extend(&mut self, kind: Deadline, at: Instant) {
        if self.time(kind).is_none_or(|set| set < at) {
            self.set(kind, at);
        }
    }

    /// Sets a deadline after a timeout from now, or moves it; a timeout of zero is no limit, and sets none.
    pub(crate) fn set_after(&mut self, kind: Deadline, timeout: Duration) {
        if !timeout.is_zero() {
            self.set(kind, Instant::now() + timeout);
        }
    }

    /// Clears a deadline.
    pub(crate) fn clear(&mut self, kind: Deadline) {
        if let Some(armed) = &mut self.0 {
            armed.at[kind as usize] = None;
            if !armed.rearm() {
                self.0 = None;
            }
        }
    }

    /// Returns whether this deadline is set.
    pub(crate) fn is_set(&self, kind: Deadline) -> bool {
        self.time(kind).is_some()
    }

    /// Returns the time of this deadline; `None` if it is not set.
    pub(crate) fn time(&self, kind: Deadline) -> Option<Instant> {
        self.0.as_ref().and_then(|armed| armed.at[kind as usize])
    }

    /// Returns the time until this deadline, if it is set.
    pub(crate) fn time_left(&self, kind: Deadline) -> Option<Duration> {
        let at = self.0.as_ref().and_then(|armed| armed.at[kind as usize]);
        at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for the earliest deadline, clears it and returns it.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Deadline> {
        let Some(armed) = &mut self.0 else {
            return Poll::Pending;
        };
        loop {
            if armed.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let due = Deadline::ALL.into_iter().find(|kind| armed.at[*kind as usize].is_some_and(|at| at <= now));
            if let Some(kind) = due {
                self.clear(kind);
                return Poll::Ready(kind);
            }
            armed.rearm();
        }
    }
}

impl Armed {
    /// Makes the sleep end at the earliest deadline; returns false if there is none.
    fn rearm(&mut self) -> bool {
        let earliest = self.at.iter().flatten().min();
        if let Some(at) = earliest
            && *at != self.sleep.deadline()
        {
            self.sleep.as_mut().reset(*at);
        }
        earliest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn deadlines_come_in_order_and_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Stall, start + Duration::from_secs(3));
        deadlines.set(Deadline::Login, start + Duration::from_secs(1));
        deadlines.set(Deadline::RateLimit, start + Duration::from_secs(2));
        deadlines.set(Deadline::RateLimit, start + Duration::from_secs(9));
        deadlines.set(Deadline::Flush, start + Duration::from_secs(4));
        deadlines.clear(Deadline::Flush);
        deadlines.set_after(Deadline::Idle, Duration::ZERO);
        assert!(!deadlines.is_set(Deadline::Idle), "a timeout of zero is no limit");
        for (kind, second) in [(Deadline::Login, 1), (Deadline::Stall, 3), (Deadline::RateLimit, 9)] {
            assert!(deadlines.is_set(kind));
            assert_eq!(poll_fn(|context| deadlines.poll(context)).await, kind);
            assert_eq!(start.elapsed().as_secs(), second);
        }
        assert!(deadlines.0.is_none(), "the timer is kept although no deadline is set");
    }

    #[tokio::test(start_paused = true)]
    async fn extended_deadline_is_moved_to_a_later_time_alone() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        for second in [2, 5, 3] {
            deadlines.extend(Deadline::RateLimit, start + Duration::from_secs(second));
        }
        assert_eq!(poll_fn(|context| deadlines.poll(context)).await, Deadline::RateLimit);
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
