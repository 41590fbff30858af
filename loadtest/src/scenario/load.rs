//! The options that several scenarios share. The defaults are those of `steady`; other scenarios override them.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::args::CommonArgs;
use crate::departures::Departures;
use crate::plan::{Arrivals, Pacing, Plan, Stop};
use crate::size_mix::SizeMix;

/// How many connections join how many rooms.
#[derive(Args, Clone, Debug)]
pub struct RoomArgs {
    /// Connections in total
    #[arg(long, default_value = "1000", value_name = "C")]
    pub connections: usize,
    /// Rooms; the connections are spread evenly over them
    #[arg(long, default_value = "100", value_name = "R")]
    pub rooms: usize,
}

/// The lines that the senders of a room send, and the duration.
#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    /// Members of each room that send lines, in turn
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub senders: usize,
    /// Bytes of a line's text: 64, or 40:70,400:25,4000:5 for sizes with their weights
    #[arg(long, default_value = "64", value_name = "BYTES")]
    pub size: SizeMix,
    /// Seed of random sizes and times: the same seed gives the same load
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Length of the measured window
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Time of sending before the measured window
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub warmup: Duration,
}

/// A number of lines in place of a duration.
#[derive(Args, Clone, Debug)]
pub struct LineCountArgs {
    /// Stop after this many lines in each room instead of after --duration, and measure from the first line
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup"])]
    pub lines: Option<u64>,
}

impl RoomArgs {
    /// Returns a plan in which these connections join their rooms and no line is sent. The test bed adds the servers where
    /// several share the rooms.
    pub(super) fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        Plan {
            target,
            servers: Vec::new(),
            total_order: common.total_order,
            protocol: common.protocol,
            connections: self.connections,
            rooms: self.rooms,
            senders: 0,
            size: 64.into(),
            pacing: Pacing::Quiet,
            arrivals: Arrivals::Fixed,
            seed: 1,
            departures: Departures::None,
            slow_readers: None,
            stop: Stop::Lines(0),
            warmup: Duration::ZERO,
            read_every: Duration::ZERO,
            patience: common.patience,
            connecting: common.connecting.max(1),
            sources: common.sources,
            first_room: common.first_room,
            threads: common.threads,
            processes: common.processes,
            hosts: common.worker_hosts(),
        }
    }
}

impl SendArgs {
    /// Returns a plan with these senders, sizes and times. The caller sets the pacing.
    pub(super) fn apply(&self, mut plan: Plan) -> Plan {
        (plan.senders, plan.size, plan.seed) = (self.senders, self.size.clone(), self.seed);
        (plan.stop, plan.warmup) = (Stop::After(self.duration), self.warmup);
        plan
    }
}

impl LineCountArgs {
    /// Returns a plan that stops after the number of lines, where one is given, and has no warm-up then.
    pub(super) fn apply(&self, mut plan: Plan) -> Plan {
        if let Some(lines) = self.lines {
            (plan.stop, plan.warmup) = (Stop::Lines(lines), Duration::ZERO);
        }
        plan
    }
}
