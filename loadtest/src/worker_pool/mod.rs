//! The workers of a run: threads of this process, threads of child processes, or threads of worker hosts.
//!
//! ```text
//! WorkerPool ─► thread   a worker of this process, through a channel
//!            ─► child    a child process with several workers, through its standard input and output
//!            ─► remote   a worker host with several workers, through a TCP link ─► host, in another `loadtest worker`
//! ```
//!
//! Child processes read the same clock as this process. A worker host has a clock of its own: `remote` measures its offset
//! and converts every tick that crosses the link, so that the coordinator handles ticks of its own clock only.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::clock::{Tick, now};
use crate::machine::Machine;
use crate::message::{Command, Event};
use crate::open_files;
use crate::plan::{Plan, Share};

mod child;
mod handshake;
mod host;
mod host_run;
mod json_lines;
mod link;
mod remote;
mod thread;

use child::ChildLink;
use remote::{HostConnection, HostLink};
use thread::ThreadLink;

pub use child::{SUBCOMMAND, run_child_process};
pub use host::WorkerHost;

/// A worker's event with the worker's number.
type NumberedEvent = (usize, Event);

/// All workers of a run.
pub(crate) struct WorkerPool {
    /// The links to the workers.
    links: Vec<Link>,
    /// The workers' events.
    events: Receiver<NumberedEvent>,
    /// The number of workers.
    workers: usize,
}

/// The link to one worker, or to several workers of another process.
enum Link {
    /// A worker that is a thread of this process.
    Thread(ThreadLink),
    /// A child process with several workers.
    Child(ChildLink),
    /// A worker host with several workers.
    Host(HostLink),
}

/// The part of a worker host in a run, and the offset of its clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostFigures {
    /// The host's address, as `--workers` gives it.
    pub address: String,
    /// The host's machine.
    pub machine: Machine,
    /// The number of its load threads.
    pub threads: usize,
    /// The number of connections of its rooms.
    pub connections: usize,
    /// The host's clock less the coordinator's clock at the start of the run, in microseconds. Every tick from the host
    /// is converted by this offset.
    pub offset_us: f64,
    /// The bound of the offset's error in microseconds: half of the fastest round trip.
    pub error_us: f64,
    /// The offset at the end of the run less the one at its start, in microseconds; `None` where the link ended early.
    pub drift_us: Option<f64>,
}

impl WorkerPool {
    /// Starts one worker for each share: as threads of this process, or spread over the plan's child processes or
    /// worker hosts.
    ///
    /// # Errors
    /// Fails when a process cannot be started, or when a worker host is not available.
    pub(crate) fn start(shares: Vec<Share>, plan: &Plan) -> Result<Self> {
        let (events_out, events) = mpsc::channel();
        let workers = shares.len();
        let numbered: Vec<(usize, Share)> = shares.into_iter().enumerate().collect();
        let links = if !plan.hosts.addresses.is_empty() {
            start_hosts(plan, &numbered, &events_out)?
        } else if plan.processes > 1 {
            let size = workers.div_ceil(plan.processes).max(1);
            let start = |shares| ChildLink::start(shares, &events_out).map(Link::Child);
            numbered.chunks(size).map(start).collect::<io::Result<_>>().context("cannot start the workers")?
        } else {
            numbered.into_iter().map(|share| Link::Thread(ThreadLink::start(share, &events_out))).collect()
        };
        Ok(Self { links, events, workers })
    }

    /// Returns the number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Sends a command to all workers. A worker that has finished ignores it.
    pub(crate) fn broadcast(&mut self, command: Command) {
        for link in &mut self.links {
            match link {
                Link::Thread(link) => link.send(command),
                Link::Child(link) => link.send(command),
                Link::Host(link) => link.send(command),
            }
        }
    }

    /// Returns the next event before a deadline, if there is one.
    pub(crate) fn next_event(&self, deadline: Tick) -> Option<NumberedEvent> {
        let wait = Duration::from_nanos(deadline.saturating_sub(now()));
        self.events.recv_timeout(wait).ok()
    }

    /// Returns the time that a command may need to the farthest worker host; 0 without worker hosts.
    pub(crate) fn command_time(&self) -> Tick {
        self.hosts().map(HostLink::round_trip_time).max().unwrap_or(0)
    }

    /// Ends the links to the worker hosts, and returns the hosts' figures. `complete` tells whether all workers have
    /// finished; the links are cut otherwise.
    pub(crate) fn finish(mut self, complete: bool) -> Vec<HostFigures> {
        let hosts = self.links.iter_mut().filter_map(|link| match link {
            Link::Host(link) => Some(link),
            _ => None,
        });
        hosts.map(|host| host.finish(complete)).collect()
    }

    fn hosts(&self) -> impl Iterator<Item = &HostLink> {
        self.links.iter().filter_map(|link| match link {
            Link::Host(link) => Some(link),
            _ => None,
        })
    }
}

/// Connects to all worker hosts of a plan, checks that each may open its connections, and starts their workers.
fn start_hosts(plan: &Plan, shares: &[(usize, Share)], events_out: &Sender<NumberedEvent>) -> Result<Vec<Link>> {
    let addresses = &plan.hosts.addresses;
    let mut hosts = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let host = HostConnection::open(address, plan)?;
        let part = &shares[part_of(shares.len(), addresses.len(), index)];
        let connections = part.iter().map(|(_, share)| share.connections()).sum();
        open_files::check_host(address, connections, host.max_connections())?;
        hosts.push((host, part));
    }
    // No host starts before all are known to be available, so that all of them join together.
    hosts.into_iter().map(|(host, part)| host.start(part, events_out).map(Link::Host)).collect()
}

/// Returns the part of `count` shares that a host starts. Two parts differ by at most one share.
fn part_of(count: usize, hosts: usize, host: usize) -> std::ops::Range<usize> {
    host * count / hosts..(host + 1) * count / hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_evenly_over_hosts() {
        assert_eq!([0, 1, 2].map(|host| part_of(7, 3, host)), [0..2, 2..4, 4..7]);
        assert_eq!([0, 1].map(|host| part_of(2, 2, host)), [0..1, 1..2]);
    }
}
