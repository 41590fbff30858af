//! What a run does, as a value: how many, where, who sends, at which pace, until when.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::connection::MAX_PENDING_BYTES;
use crate::payload;
use crate::protocol::ProtocolKind;

/// The most members a room and the most rooms a run can have: what a payload's digits hold.
const MAX_COUNT: usize = 0xffff;

/// When lines are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// Nobody talks.
    Quiet,
    /// Open loop: each room's lines are planned at equal distances, whatever becomes of the earlier ones.
    Open {
        /// Lines per 1000 seconds in each room.
        millilines_per_second: u64,
    },
    /// Closed loop: a line is in flight until every member that is read at once has it.
    Closed {
        /// Lines in flight in each room.
        window: usize,
    },
}

/// When sending ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// After this much measured time.
    After(Duration),
    /// After this many lines in each room.
    Lines(u64),
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What it speaks.
    pub protocol: ProtocolKind,
    /// Connections in all, spread evenly over the rooms.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// How many of each room's members talk, in turn.
    pub senders: usize,
    /// Bytes of a line's text.
    pub size: usize,
    /// When lines are sent.
    pub pacing: Pacing,
    /// When sending ends.
    pub stop: Stop,
    /// Time of sending before the measured window; its lines are checked like all others.
    pub warmup: Duration,
    /// How often members that don't pace the load are read: zero for at once. Reading several batches in one call
    /// is cheaper, so that the generator leaves the CPU to the server; those members' latency is not counted then.
    pub read_every: Duration,
    /// How long the connections may be silent (joining, at the end, leaving) before what is missing counts as lost.
    pub patience: Duration,
    /// Connections that may be on their way into their rooms at once, per thread.
    pub connecting: usize,
    /// Source addresses to spread over when the server is on this machine: each has its own ports.
    pub sources: u8,
    /// The number that the first room is named by.
    #[serde(default)]
    pub first_room: u16,
    /// Threads in each process.
    pub threads: usize,
    /// Processes.
    pub processes: usize,
}

/// One worker's part of a plan: some of the rooms, whole, so that nothing about a room is shared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// The whole plan.
    pub plan: Plan,
    /// This worker's rooms.
    pub rooms: Range<usize>,
    /// Which worker it is, of how many: open loops start staggered.
    pub worker: (usize, usize),
    /// The tick that planned times count from.
    pub epoch: Tick,
}

/// Why something asked for makes no sense: what, its value, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// With one line for the user.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl Plan {
    /// Members of one room: they differ by one at most.
    #[must_use]
    pub fn members(&self, room: usize) -> usize {
        self.connections / self.rooms + usize::from(room < self.connections % self.rooms)
    }

    /// The number of a room's first connection, counted over the whole run.
    #[must_use]
    pub fn first_connection(&self, room: usize) -> usize {
        room * (self.connections / self.rooms) + room.min(self.connections % self.rooms)
    }

    /// Says what makes the plan impossible, before anything is opened.
    ///
    /// # Errors
    /// With one line for the user.
    pub fn check(&self) -> Result<(), UsageError> {
        let error = |text: String| Err(UsageError(text));
        if self.connections == 0 || self.rooms == 0 {
            return error("--connections and --rooms must be at least 1".into());
        }
        if self.rooms > self.connections {
            return error(format!(
                "--rooms {} is more than --connections {}: a room needs a member",
                self.rooms, self.connections
            ));
        }
        let members = self.connections / self.rooms;
        if self.senders > members && self.pacing != Pacing::Quiet {
            return error(format!(
                "--senders {} is more than the {members} members of a room: lower it, or raise --connections",
                self.senders
            ));
        }
        if self.senders == members && self.pacing != Pacing::Quiet && !self.protocol.protocol().echoes_to_sender() {
            return error(format!(
                "--senders {} is every member of a room, but --protocol {} does not tell senders their own lines: \
                 lower it, so that somebody sees them all",
                self.senders, self.protocol
            ));
        }
        if members >= MAX_COUNT || self.rooms > MAX_COUNT {
            return error(format!("more than {MAX_COUNT} rooms, or members in one: lower --connections or --rooms"));
        }
        if !(payload::MIN_SIZE..=payload::MAX_SIZE).contains(&self.size) {
            return error(format!(
                "--size {} is not between {} (the marks that are checked) and {}",
                self.size,
                payload::MIN_SIZE,
                payload::MAX_SIZE
            ));
        }
        self.check_pacing()
    }

    fn check_pacing(&self) -> Result<(), UsageError> {
        let error = |text: &str| Err(UsageError(text.into()));
        match self.pacing {
            Pacing::Open { millilines_per_second: 0 } => error("--rate 0 sends nothing: `idle` measures quiet rooms"),
            Pacing::Closed { window: 0 } => error("--in-flight 0 sends nothing: it must be at least 1"),
            Pacing::Open { .. } | Pacing::Closed { .. } if self.senders == 0 => {
                error("--senders 0 sends nothing: `idle` measures quiet rooms")
            }
            Pacing::Open { .. } | Pacing::Closed { .. } if self.stop == Stop::After(Duration::ZERO) => {
                error("--duration 0s measures nothing: give it a second or more")
            }
            _ if self.patience.is_zero() => error("--patience 0s waits for nothing: give it a second or more"),
            Pacing::Closed { window } if window.saturating_mul(self.size) > MAX_PENDING_BYTES * self.senders => {
                Err(UsageError(format!(
                    "--in-flight {window} of --size {} is more than {MAX_PENDING_BYTES} bytes a sender: lower one of them",
                    self.size
                )))
            }
            _ if self.threads == 0 || self.processes == 0 => error("--threads and --processes must be at least 1"),
            _ => Ok(()),
        }
    }

    /// Cuts the plan into one share per worker; workers without a room are left out.
    #[must_use]
    pub fn shares(&self, epoch: Tick) -> Vec<Share> {
        let workers = (self.threads * self.processes).min(self.rooms);
        let start = |worker: usize| worker * self.rooms / workers;
        (0..workers)
            .map(|worker| Share {
                plan: self.clone(),
                rooms: start(worker)..start(worker + 1),
                worker: (worker, workers),
                epoch,
            })
            .collect()
    }
}

impl Share {
    /// Connections of this worker.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.plan.first_connection(self.rooms.end) - self.plan.first_connection(self.rooms.start)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a plan of two connections in one room.
    pub(crate) fn plan(pacing: Pacing) -> Plan {
        Plan {
            target: ([127, 0, 0, 1], 1234).into(),
            protocol: ProtocolKind::Line,
            connections: 2,
            rooms: 1,
            senders: 1,
            size: 64,
            pacing,
            stop: Stop::Lines(1),
            warmup: Duration::ZERO,
            read_every: Duration::ZERO,
            patience: Duration::ZERO,
            connecting: 1,
            sources: 1,
            first_room: 0,
            threads: 1,
            processes: 1,
        }
    }
}
