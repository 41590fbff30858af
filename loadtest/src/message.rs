//! The messages between a run's coordinator and its workers. Between processes they are JSON lines.
//!
//! Each machine has a clock of its own, so the ticks in a message to or from another machine are converted.

use serde::{Deserialize, Serialize};

use crate::clock::{SECOND, Tick};
use crate::clock_offset::shift;
use crate::metrics::Metrics;

/// A command to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Start sending at this tick.
    StartSending(Tick),
    /// Leave all rooms, and report.
    Leave,
    /// Report at once, whatever the phase is.
    Stop,
}

impl Command {
    /// Returns the command for a machine whose clock is `offset` ahead.
    pub(crate) fn shifted(self, offset: i64) -> Self {
        match self {
            Self::StartSending(start) => Self::StartSending(shift(start, offset)),
            Self::Leave | Self::Stop => self,
        }
    }
}

/// An event from a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The worker's progress, sent a few times per second.
    Progress(WorkerProgress),
    /// All connections of the worker are in their rooms and have received the join notices of the others.
    AllJoined,
    /// The worker has sent all lines, and all deliveries that can be expected have arrived.
    Drained,
    /// The worker's last event, after [`Command::Leave`] or a failure.
    Finished(Box<WorkerReport>),
}

impl Event {
    /// Returns the last event of a worker that failed without results.
    pub(crate) fn failed(failure: &str) -> Self {
        Self::Finished(Box::new(WorkerReport { failure: Some(failure.into()), ..WorkerReport::default() }))
    }

    /// Returns the event for a machine whose clock is `offset` ahead.
    pub(crate) fn shifted(mut self, offset: i64) -> Self {
        if let Self::Finished(report) = &mut self {
            report.shift_ticks(offset);
        }
        self
    }
}

/// A worker's progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Connections that are in their rooms.
    pub joined: u64,
    /// Lines sent.
    pub sent: u64,
    /// Deliveries received.
    pub delivered: u64,
    /// The median of latency in the last whole second of sending, in microseconds; `None` where none was measured.
    pub last_p50: Option<u64>,
    /// The 99th percentile of that second.
    pub last_p99: Option<u64>,
    /// Deliveries that are known to be lost: those of skip notices, and all missing ones once the members leave.
    pub lost: u64,
    /// Deliveries that arrived more than once.
    pub duplicated: u64,
    /// Deliveries that are out of the sender's order or out of the room's order.
    pub misordered: u64,
    /// Lines that no member has sent in this form.
    pub corrupt: u64,
    /// The 99th percentile of the generator's own delay before a write, in microseconds, since the measured window
    /// started.
    pub send_lag_p99: u64,
    /// The 99th percentile of the generator's own delay before a read, in microseconds, since the measured window started.
    pub receive_lag_p99: u64,
}

impl WorkerProgress {
    /// Returns the progress of a worker that has sent a number of lines and recorded these metrics.
    #[must_use]
    pub fn new(metrics: &Metrics, sent: u64, now: Tick) -> Self {
        let seconds = usize::try_from(now.saturating_sub(metrics.start) / SECOND).unwrap_or(usize::MAX);
        let last = seconds.checked_sub(1).and_then(|last| metrics.seconds.get(last));
        let measured = last.map(|second| &second.latency).filter(|latency| latency.count() > 0);
        let counters = &metrics.counters;
        Self {
            joined: counters.joined,
            sent,
            delivered: counters.delivered,
            last_p50: measured.map(|latency| latency.quantile(0.5)),
            last_p99: measured.map(|latency| latency.quantile(0.99)),
            lost: counters.lost.max(counters.skipped),
            duplicated: counters.duplicated,
            misordered: counters.misordered,
            corrupt: counters.corrupt,
            send_lag_p99: metrics.send_lag.quantile(0.99),
            receive_lag_p99: metrics.receive_lag.quantile(0.99),
        }
    }

    /// Returns the progress of two workers together: the sum of their counts, and the higher one of their percentiles.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            joined: self.joined + other.joined,
            sent: self.sent + other.sent,
            delivered: self.delivered + other.delivered,
            last_p50: self.last_p50.max(other.last_p50),
            last_p99: self.last_p99.max(other.last_p99),
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            misordered: self.misordered + other.misordered,
            corrupt: self.corrupt + other.corrupt,
            send_lag_p99: self.send_lag_p99.max(other.send_lag_p99),
            receive_lag_p99: self.receive_lag_p99.max(other.receive_lag_p99),
        }
    }
}

/// A worker's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The counters and latencies.
    pub metrics: Metrics,
    /// The reason for a failure, in one line.
    pub failure: Option<String>,
    /// The server's text at its first refusal.
    pub refusal: Option<String>,
    /// From the first connect to the last join.
    pub joining: (Tick, Tick),
    /// From the first shutdown of a connection to the last close by the server.
    pub leaving: (Tick, Tick),
    /// The tick at which sending ended: the later one of the last line and the window's end, or the tick of an early
    /// stop.
    pub finished: Tick,
    /// The CPU use of the worker's thread during the measured window.
    pub usage: ThreadUsage,
}

impl WorkerReport {
    /// Converts all ticks to a clock that is `offset` ahead.
    fn shift_ticks(&mut self, offset: i64) {
        // Every field is named, so that a new one is not forgotten here: a duration stays, a tick is converted.
        let Self { metrics, failure: _, refusal: _, joining, leaving, finished, usage: _ } = self;
        metrics.shift_ticks(offset);
        for tick in [&mut joining.0, &mut joining.1, &mut leaving.0, &mut leaving.1, finished] {
            *tick = shift(*tick, offset);
        }
    }
}

/// The CPU use of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUsage {
    /// CPU time in nanoseconds.
    pub cpu: u64,
    /// Time in nanoseconds in which the thread was ready to run but had no CPU.
    pub waited: u64,
    /// Time in nanoseconds by which polls exceeded their timeout, or in which the thread polled nothing for long: its
    /// process was stopped or starved.
    pub stopped: u64,
    /// Length of the window in nanoseconds.
    pub wall: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::LineTimes;

    #[test]
    fn every_tick_of_a_report_is_converted() {
        let mut report = WorkerReport { joining: (10, 20), leaving: (50, 60), finished: 45, ..WorkerReport::default() };
        report.metrics.set_window(30, (35, 40));
        report.usage.wall = 5;
        let Event::Finished(report) = Event::Finished(Box::new(report)).shifted(1000) else { panic!("another event") };
        assert_eq!((report.joining, report.leaving, report.finished), ((1010, 1020), (1050, 1060), 1045));
        assert_eq!((report.metrics.start, report.metrics.window), (1030, (1035, 1040)));
        assert_eq!(report.usage.wall, 5, "a duration is no tick");
        assert_eq!(Command::StartSending(7).shifted(1000), Command::StartSending(1007));
    }

    #[test]
    fn report_without_ticks_stays_without_them() {
        let Event::Finished(report) = Event::failed("gone").shifted(1000) else { panic!("another event") };
        assert_eq!((report.joining, report.leaving, report.finished), ((0, 0), (0, 0), 0));
        assert_eq!((report.metrics.start, report.metrics.window), (0, (0, 0)));
    }

    /// Returns metrics of deliveries in the second second after the start.
    fn metrics() -> Metrics {
        let mut metrics = Metrics::default();
        metrics.set_window(SECOND, (SECOND, Tick::MAX));
        let times = LineTimes { planned: 2 * SECOND, sent: 2 * SECOND };
        metrics.record_deliveries(2 * SECOND + 5_000_000, times, 3, true);
        metrics.counters.skipped = 4;
        metrics
    }

    #[test]
    fn percentiles_are_those_of_the_last_whole_second() {
        let p99_at = |now: Tick| WorkerProgress::new(&metrics(), 1, now).last_p99;
        assert_eq!(p99_at(2 * SECOND + SECOND / 2), None, "the second is not over");
        assert!(p99_at(3 * SECOND).is_some_and(|us| (5_000..5_100).contains(&us)));
        assert_eq!(p99_at(4 * SECOND), None, "the last second had no deliveries");
        assert_eq!(p99_at(SECOND), None);
    }

    #[test]
    fn progress_of_two_workers_has_the_sum_of_counts_and_the_higher_percentile() {
        let one = WorkerProgress::new(&metrics(), 1, 3 * SECOND);
        let both = one.with(&WorkerProgress { lost: 2, last_p99: Some(9_000_000), ..WorkerProgress::default() });
        assert_eq!((both.sent, both.delivered, both.lost, both.last_p99), (1, 3, 6, Some(9_000_000)));
        assert_eq!(both.last_p50, one.last_p50, "a worker without deliveries has no percentile");
    }
}
