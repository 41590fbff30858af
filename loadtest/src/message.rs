//! The messages between a run's coordinator and its workers. Between processes they are JSON lines.
//!
//! Each machine has a clock of its own, so the ticks in a message to or from another machine are converted.

use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::clock_offset::shift;
use crate::metrics::Metrics;

/// A command to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Start sending at this tick.
    StartSending(Tick),
    /// Leave all rooms, and report.
    Leave,
}

impl Command {
    /// Returns the command for a machine whose clock is `offset` ahead.
    pub(crate) fn shifted(self, offset: i64) -> Self {
        match self {
            Self::StartSending(start) => Self::StartSending(shift(start, offset)),
            Self::Leave => Self::Leave,
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
    /// The 99th percentile of latency in microseconds, since the start of the run.
    pub p99: u64,
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
    /// Length of the window in nanoseconds.
    pub wall: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
