//! What a run's conductor and its workers tell each other; as JSON lines where they are different processes.

use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::metrics::Metrics;

/// To a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Talk from this tick on.
    StartSending(Tick),
    /// Leave, and report.
    Leave,
}

/// From a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// How far it is; a few times a second.
    Progress(WorkerProgress),
    /// All its connections are in their rooms, and have been told so.
    AllJoined,
    /// It has sent all lines, and what can be expected has arrived.
    Drained,
    /// It is done, after [`Command::Leave`] or because it cannot go on.
    Finished(Box<WorkerReport>),
}

impl Event {
    /// Returns the last event of a worker that failed without results.
    pub(crate) fn failed(failure: &str) -> Self {
        Self::Finished(Box::new(WorkerReport { failure: Some(failure.into()), ..WorkerReport::default() }))
    }
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Connections in their rooms.
    pub joined: u64,
    /// Lines sent.
    pub sent: u64,
    /// Deliveries received.
    pub delivered: u64,
    /// The 99th percentile of latency in microseconds, since the start.
    pub p99: u64,
}

/// A worker's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Counts and latencies.
    pub metrics: Metrics,
    /// Why it could not go on, in one line.
    pub failure: Option<String>,
    /// What the server said when it first refused something.
    pub refusal: Option<String>,
    /// From the first connect to the last entry.
    pub joining: (Tick, Tick),
    /// From the first goodbye to the last end of a connection.
    pub leaving: (Tick, Tick),
    /// When the last line of the window was sent, or the window's end if that was later; when it was
    /// cut short, if it was.
    pub finished: Tick,
    /// What the worker's thread used during the measured window.
    pub usage: ThreadUsage,
}

/// What a thread used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUsage {
    /// CPU time in nanoseconds.
    pub cpu: u64,
    /// Time in nanoseconds in which it could have run but no CPU was free.
    pub waited: u64,
    /// Nanoseconds that the window lasted.
    pub wall: u64,
}
