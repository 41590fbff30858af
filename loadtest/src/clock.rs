//! The clock that all processes of a run share, CPU clocks, and an alarm with a resolution below a millisecond.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, SystemTime};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

/// Nanoseconds of the machine's monotonic clock. All processes read the same clock, so they can agree on a start time.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND: Tick = 1_000_000_000;

/// Returns the current time on the clock that all processes of this machine share.
#[must_use]
pub fn now() -> Tick {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Returns the wall-clock time of a tick. The result changes when the system's wall clock is set.
#[must_use]
pub fn wall_time(tick: Tick) -> SystemTime {
    let past = Duration::from_nanos(now().saturating_sub(tick));
    SystemTime::now().checked_sub(past).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns the CPU time that the calling thread has used, in nanoseconds.
#[must_use]
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Returns a duration in nanoseconds.
#[must_use]
pub fn ticks(duration: Duration) -> Tick {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until `tick`; returns immediately when it is past.
pub fn sleep_until(tick: Tick) {
    std::thread::sleep(Duration::from_nanos(tick.saturating_sub(now())));
}

fn nanoseconds(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Wakes a poll at a tick. A poll's own timeout counts whole milliseconds, which would add up to a millisecond to every
/// latency.
#[derive(Debug)]
pub struct Alarm {
    /// The kernel's timer; readable after it has expired.
    timer: OwnedFd,
    /// The tick that the timer is set to. Setting it to the same tick again needs no system call.
    set_to: Tick,
}

impl Alarm {
    /// Returns an alarm that is not set.
    ///
    /// # Errors
    /// Fails when the kernel cannot create a timer, for example at the limit of open files.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer, set_to: 0 })
    }

    /// Sets the alarm to a tick. An alarm in the past expires immediately.
    ///
    /// # Errors
    /// Never fails in practice: the kernel rejects malformed times only.
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
