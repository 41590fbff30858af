//! The messages between a run's coordinator and its workers. Between processes they are JSON lines.

use serde::{Deserialize, Serialize};

use crate::clock::Tick;
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
