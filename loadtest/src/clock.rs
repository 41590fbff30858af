//! Time: one clock that all processes of a run share, CPU clocks, and an alarm finer than a millisecond.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

/// Nanoseconds of the machine's monotonic clock: the same in every process, so that a start can be agreed on.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND: Tick = 1_000_000_000;

/// Now, on the clock that every process of this machine shares.
#[must_use]
pub fn now() -> Tick {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// The CPU time that the calling thread has used, in nanoseconds.
#[must_use]
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// A duration in nanoseconds.
#[must_use]
pub fn ticks(duration: Duration) -> Tick {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until `tick`; returns at once when it is past.
pub fn sleep_until(tick: Tick) {
    std::thread::sleep(Duration::from_nanos(tick.saturating_sub(now())));
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Wakes a poll at a tick. A poll's own timeout counts whole milliseconds, which would
/// add up to a millisecond to every latency.
#[derive(Debug)]
pub struct Alarm {
    /// The kernel's timer; readable once it has gone off.
    timer: OwnedFd,
    /// The tick it is set to, so that setting it again to the same costs nothing.
    set_to: Tick,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the kernel has no timer to give, as with too few file descriptors.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer, set_to: 0 })
    }

    /// Sets the alarm to a tick, also a past one: then it goes off at once.
    ///
    /// # Errors
    /// Never in practice: the kernel only refuses a malformed time.
    pub fn set(&mut self, tick: Tick) -> io::Result<()> {
        if tick == self.set_to {
            return Ok(());
        }
        let at = tick.max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(at / SECOND).unwrap_or(i64::MAX),
            tv_nsec: (at % SECOND).try_into().unwrap_or(0),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        self.set_to = tick;
        Ok(())
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}
