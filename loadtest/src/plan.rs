//! The plan of a run as a value: target, rooms, senders, pacing and duration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::clock_offset::shift;
use crate::connection::MAX_PENDING_BYTES;
use crate::departures::Departures;
use crate::payload;
use crate::protocol::ProtocolKind;
use crate::size_mix::SizeMix;
use crate::slow_readers::SlowReaders;
use crate::worker_hosts::WorkerHosts;

/// The highest number of members in a room, and of rooms in a run: the payload has four hexadecimal digits for each.
const MAX_COUNT: usize = 0xffff;

/// The longest run: the figures of each second are kept.
const MAX_LENGTH: Duration = Duration::from_secs(24 * 3600);

/// The longest patience and interval of reads.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The highest number of deliveries of a run: a sum of all of them has an exact float.
const MAX_DELIVERIES: u64 = 1 << 53;

/// The highest number of servers: a room keeps one bit for each.
const MAX_SERVERS: usize = 64;

/// The rule by which lines are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// No lines are sent.
    Quiet,
    /// Open loop: the lines of each room are planned at equal intervals, independently of earlier deliveries.
    Open {
        /// Lines per 1000 seconds in each room.
        millilines_per_second: u64,
    },
    /// Closed loop: a line is in flight until every member that is read immediately has received it.
    Closed {
        /// Lines in flight in each room.
        window: usize,
    },
}

/// The times for which an open loop plans its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal intervals, the rooms in turn
    #[default]
    Fixed,
    /// As a Poisson process: at random, independently of each other, in a random room
    Poisson,
}

/// The end of sending.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Stop after this measured time.
    After(Duration),
    /// Stop after this many lines in each room.
    Lines(u64),
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The server; the first one where several share the rooms.
    pub target: SocketAddr,
    /// The servers that share the rooms, where the options name them in place of a target.
    #[serde(default)]
    pub servers: Vec<SocketAddr>,
    /// Whether the members of a room must see one order on all servers together, and not only on each.
    #[serde(default)]
    pub total_order: bool,
    /// The server's protocol.
    pub protocol: ProtocolKind,
    /// Connections in total, spread evenly over the rooms.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// Members of each room that send lines, in turn.
    pub senders: usize,
    /// Bytes of a line's text.
    pub size: SizeMix,
    /// The rule by which lines are sent.
    pub pacing: Pacing,
    /// The times of an open loop's lines.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// The seed of random arrivals, sizes and departures.
    #[serde(default)]
    pub seed: u64,
    /// The rule by which members leave during the run and come back.
    #[serde(default)]
    pub departures: Departures,
    /// The members that read slowly while lines are sent; `None` where all members read at once.
    #[serde(default)]
    pub slow_readers: Option<SlowReaders>,
    /// The end of sending.
    pub stop: Stop,
    /// Time of sending before the measured window. Its lines are checked like all others.
    pub warmup: Duration,
    /// Interval at which members outside of the rotating sample are read; zero reads every member immediately. One read
    /// of several batches costs the generator less CPU, which leaves more to the server. The latency of those members
    /// is not recorded.
    pub read_every: Duration,
    /// Time without progress after which missing joins, deliveries or closes count as lost. Other bytes are no progress.
    pub patience: Duration,
    /// Highest number of connections that are joining at the same time, per thread.
    pub connecting: usize,
    /// Number of source addresses for a server on this machine; each address has its own ports.
    pub sources: u8,
    /// The number in the name of the first room.
    #[serde(default)]
    pub first_room: u16,
    /// Threads in each process.
    pub threads: usize,
    /// Processes.
    pub processes: usize,
    /// The worker hosts. A plan that is sent to a worker host contains neither the other hosts nor the token.
    #[serde(skip)]
    pub hosts: WorkerHosts,
}

/// One worker's part of a plan. It holds whole rooms, so that workers share no state of a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// The whole plan.
    pub plan: Plan,
    /// The rooms of this worker.
    pub rooms: Range<usize>,
    /// The worker's index, and the number of workers. Open loops start staggered by the index.
    pub worker: (usize, usize),
    /// The tick from which planned times count.
    pub epoch: Tick,
}

/// An error in the arguments. Its line names the option, the value and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// Returns an error with one line for the user.
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

/// Returns the number of the server that a member of a room joins, of `servers`. The members of a room take turns, so that a
/// room has members on each server, and the first members of successive rooms take turns, too.
pub(crate) fn server_number((room, member): (usize, usize), servers: usize) -> usize {
    // Nearly all runs have one server, and every read asks for the order of its members.
    if servers == 1 { 0 } else { (room + member) % servers }
}

impl Plan {
    /// Returns the number of members of a room. Two rooms differ by at most one member.
    #[must_use]
    pub fn members(&self, room: usize) -> usize {
        self.connections / self.rooms + usize::from(room < self.connections % self.rooms)
    }

    /// Returns the number of a room's first connection in the whole run.
    #[must_use]
    pub fn first_connection(&self, room: usize) -> usize {
        room * (self.connections / self.rooms) + room.min(self.connections % self.rooms)
    }

    /// Returns the servers.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        if self.servers.is_empty() { std::slice::from_ref(&self.target) } else { &self.servers }
    }

    /// Returns the server of a member of a room.
    #[must_use]
    pub fn server_of(&self, room: usize, member: usize) -> SocketAddr {
        let servers = self.servers();
        servers[server_number((room, member), servers.len())]
    }

    /// Returns the addresses of all servers, for texts.
    #[must_use]
    pub fn server_list(&self) -> String {
        self.servers().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Checks the plan before any connection is opened.
    ///
    /// # Errors
    /// Returns one line for the user.
    pub fn check(&self) -> Result<(), UsageError> {
        let error = |text: String| Err(UsageError(text));
        if self.connections == 0 || self.rooms == 0 {
            return error("--connections and --rooms must be at least 1".into());
        }
        if self.rooms > self.connections {
            return error(format!(
                "--rooms {} is more than --connections {}: every room needs a member",
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
                "--senders {} is every member of a room, but --protocol {} does not send senders their own lines: \
                 lower it, so that one member receives all lines",
                self.senders, self.protocol
            ));
        }
        if members >= MAX_COUNT || self.rooms > MAX_COUNT {
            return error(format!("more than {MAX_COUNT} rooms, or members in one: lower --connections or --rooms"));
        }
        if self.size.smallest() < payload::MIN_SIZE || self.size.largest() > payload::MAX_SIZE {
            return error(format!(
                "--size {} is not between {} (the fields that are checked) and {}",
                self.size,
                payload::MIN_SIZE,
                payload::MAX_SIZE
            ));
        }
        self.check_length()?;
        self.check_servers()?;
        self.check_hosts()?;
        self.check_departures(members)?;
        self.check_slow_readers(members)?;
        self.check_pacing()
    }

    /// Checks times and numbers whose sums or products would exceed what the generator counts.
    fn check_length(&self) -> Result<(), UsageError> {
        let error = |text: String| Err(UsageError(text));
        let show = |time: Duration| humantime::format_duration(time);
        if let Stop::After(duration) = self.stop
            && duration.saturating_add(self.warmup) > MAX_LENGTH
        {
            let length = show(MAX_LENGTH);
            return error(format!("--duration {} is too long: with --warmup at most {length}", show(duration)));
        }
        for (option, time) in [("--patience", self.patience), ("--read-every", self.read_every)] {
            if time > MAX_WAIT {
                return error(format!("{option} {} is too long: at most {}", show(time), show(MAX_WAIT)));
            }
        }
        if let Stop::Lines(lines) = self.stop {
            let deliveries = lines.checked_mul(self.connections as u64).filter(|count| *count < MAX_DELIVERIES);
            // A line carries its number among those of its sender in 32 bits.
            let each = lines.div_ceil(self.senders.max(1) as u64);
            if deliveries.is_none() || u32::try_from(each).is_err() {
                return error(format!("--lines {lines} is too many: at most {} a sender", u32::MAX));
            }
        }
        Ok(())
    }

    fn check_departures(&self, members: usize) -> Result<(), UsageError> {
        let protocol = self.protocol.protocol();
        if self.departures.exist() && !(protocol.announces_joins() && protocol.echoes_to_sender()) {
            return Err(UsageError(format!(
                "--protocol {} shows no member where its stay begins: use a scenario in which all members stay",
                self.protocol
            )));
        }
        let length = if let Stop::After(duration) = self.stop { duration } else { Duration::ZERO };
        self.departures.check(members, self.senders, length).map_err(UsageError)
    }

    fn check_slow_readers(&self, members: usize) -> Result<(), UsageError> {
        let Some(readers) = self.slow_readers else { return Ok(()) };
        if self.protocol != ProtocolKind::Line {
            return Err(UsageError(format!(
                "--protocol {} does not tell a slow reader how many lines it missed: use a scenario in which all members read",
                self.protocol
            )));
        }
        readers.check(members, self.senders).map_err(UsageError)
    }

    fn check_servers(&self) -> Result<(), UsageError> {
        let error = |text: String| Err(UsageError(text));
        let mut named = BTreeSet::new();
        if self.total_order && self.servers.is_empty() {
            return error("--total-order compares the members of several servers: name them with --servers".into());
        }
        if self.servers.len() > MAX_SERVERS {
            return error(format!("--servers names {} servers: at most {MAX_SERVERS}", self.servers.len()));
        }
        if let Some(twice) = self.servers.iter().find(|server| !named.insert(**server)) {
            return error(format!("--servers names {twice} twice: name each server once"));
        }
        if self.servers.len() > 1 && (self.departures.exist() || self.slow_readers.is_some()) {
            return error(
                "--servers needs members that stay and read at once: use `steady`, `flood`, `step`, `storm` or `idle`"
                    .into(),
            );
        }
        if self.servers.len() > 1 && !self.protocol.protocol().echoes_to_sender() {
            return error(format!(
                "--servers needs servers that send senders their own lines, but --protocol {} does not",
                self.protocol
            ));
        }
        Ok(())
    }

    fn check_hosts(&self) -> Result<(), UsageError> {
        let addresses = &self.hosts.addresses;
        let error = |text: String| Err(UsageError(text));
        if !addresses.is_empty() && self.processes > 1 {
            return error(
                "--processes and --workers exclude each other: --threads adds load threads to each host".into(),
            );
        }
        if addresses.len() > self.rooms {
            return error(format!(
                "--workers names {} hosts for --rooms {}, but a room stays within one host: raise --rooms, or name fewer",
                addresses.len(),
                self.rooms
            ));
        }
        let mut named = BTreeSet::new();
        if let Some(twice) = addresses.iter().find(|address| !named.insert(address.as_str())) {
            return error(format!("--workers names {twice} twice: --threads adds load threads to a host"));
        }
        Ok(())
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
            Pacing::Closed { window }
                if window.saturating_mul(self.size.largest()) > MAX_PENDING_BYTES * self.senders =>
            {
                Err(UsageError(format!(
                    "--in-flight {window} of --size {} is more than {MAX_PENDING_BYTES} bytes a sender: lower one of them",
                    self.size
                )))
            }
            _ if self.threads == 0 || self.processes == 0 => error("--threads and --processes must be at least 1"),
            _ => Ok(()),
        }
    }

    /// Splits the plan into one share for each worker. Workers without a room get no share.
    #[must_use]
    pub fn shares(&self, epoch: Tick) -> Vec<Share> {
        let workers = (self.threads * self.processes.max(self.hosts.addresses.len())).min(self.rooms);
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
    /// Returns the number of connections of this worker.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.plan.first_connection(self.rooms.end) - self.plan.first_connection(self.rooms.start)
    }

    /// Returns the share for a machine whose clock is `offset` ahead.
    pub(crate) fn shifted(self, offset: i64) -> Self {
        Self { epoch: shift(self.epoch, offset), ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a plan of two connections in one room.
    pub(crate) fn plan(pacing: Pacing) -> Plan {
        Plan {
            target: ([127, 0, 0, 1], 1234).into(),
            servers: Vec::new(),
            total_order: false,
            protocol: ProtocolKind::Line,
            connections: 2,
            rooms: 1,
            senders: 1,
            size: 64.into(),
            pacing,
            arrivals: Arrivals::Fixed,
            seed: 1,
            departures: Departures::None,
            slow_readers: None,
            stop: Stop::Lines(1),
            warmup: Duration::ZERO,
            read_every: Duration::ZERO,
            patience: Duration::ZERO,
            connecting: 1,
            sources: 1,
            first_room: 0,
            threads: 1,
            processes: 1,
            hosts: WorkerHosts::default(),
        }
    }

    /// Returns addresses with these ports.
    fn servers(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect()
    }

    #[test]
    fn members_of_each_room_take_turns_in_joining_the_servers() {
        let plan = Plan { servers: servers(&[1, 2, 3]), ..plan(Pacing::Quiet) };
        let ports = |room: usize| (0..4).map(|member| plan.server_of(room, member).port()).collect::<Vec<_>>();
        assert_eq!(
            (ports(0), ports(1), ports(2), ports(3)),
            (vec![1, 2, 3, 1], vec![2, 3, 1, 2], vec![3, 1, 2, 3], vec![1, 2, 3, 1])
        );
        assert_eq!(plan.server_list(), "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3");
        let plan = Plan { servers: Vec::new(), ..plan };
        assert_eq!((plan.server_of(5, 7), plan.server_list()), (plan.target, "127.0.0.1:1234".into()));
    }

    #[test]
    fn plan_that_assumes_one_server_is_refused_with_several() {
        let plan = Plan { servers: servers(&[1, 2]), patience: Duration::from_secs(1), ..plan(Pacing::Quiet) };
        let refusal = |plan: Plan| plan.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refusal(plan.clone()), "");
        assert_eq!(refusal(Plan { total_order: true, ..plan.clone() }), "");
        let alone = Plan { servers: Vec::new(), total_order: true, ..plan.clone() };
        assert!(refusal(alone).starts_with("--total-order compares the members of several servers"));
        let twice = Plan { servers: servers(&[1, 2, 1]), ..plan.clone() };
        assert_eq!(refusal(twice), "--servers names 127.0.0.1:1 twice: name each server once");
        let many = Plan { servers: servers(&(1..=65).collect::<Vec<_>>()), ..plan.clone() };
        assert_eq!(refusal(many), "--servers names 65 servers: at most 64");
        let irc = Plan { protocol: ProtocolKind::Irc, ..plan.clone() };
        assert!(refusal(irc).contains("but --protocol irc does not"));
        let departures = Departures::Churn { share: 0.5, stay: Duration::from_secs(1), away: Duration::from_secs(1) };
        assert!(refusal(Plan { departures, ..plan }).starts_with("--servers needs members that stay"));
    }

    #[test]
    fn plan_with_impossible_hosts_is_refused() {
        let mut plan = plan(Pacing::Quiet);
        (plan.connections, plan.rooms, plan.patience) = (8, 2, Duration::from_secs(1));
        let mut refusal = |addresses: &[&str], processes| {
            plan.hosts.addresses = addresses.iter().map(ToString::to_string).collect();
            plan.processes = processes;
            plan.check().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refusal(&["a:1", "b:1"], 1), "");
        assert!(refusal(&["a:1", "b:1"], 2).contains("--processes and --workers exclude each other"));
        assert!(refusal(&["a:1", "a:1"], 1).contains("--workers names a:1 twice"));
        assert!(refusal(&["a:1", "b:1", "c:1"], 1).contains("--workers names 3 hosts for --rooms 2"));
    }
}
