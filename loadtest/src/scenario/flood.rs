//! As many lines as go through.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::base_plan;
use crate::args::CommonArgs;
use crate::plan::{Pacing, Plan, Stop};

/// Closed loop: each room has so many lines in flight; one is in flight until those have it that are read at once.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest flood --spawn --connections 2000 --rooms 200 --in-flight 4")]
pub struct FloodArgs {
    /// Connections in all
    #[arg(long, default_value_t = 200, value_name = "C")]
    pub connections: usize,
    /// Rooms that they are spread over
    #[arg(long, default_value_t = 1, value_name = "R")]
    pub rooms: usize,
    /// Members of each room that talk, in turn
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub senders: usize,
    /// Lines in flight in each room: more of them for more deliveries a second, fewer for less latency
    #[arg(long, default_value_t = 32, value_name = "W")]
    pub in_flight: usize,
    /// Bytes of a line's text
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Stop after this many lines in each room, instead of after --duration, and measure from the first
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup"])]
    pub lines: Option<u64>,
    /// How often most members are read; a few in each room are read at once: they pace the load, and their latency is
    /// measured. 0s reads and measures everybody at once, at a higher cost of the generator
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub read_every: Duration,
    /// How long to talk before measuring
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub warmup: Duration,
}

impl FloodArgs {
    /// The plan.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        Plan {
            connections: self.connections,
            rooms: self.rooms,
            senders: self.senders,
            size: self.size,
            pacing: Pacing::Closed { window: self.in_flight },
            stop: self.lines.map_or(Stop::After(self.duration), Stop::Lines),
            warmup: self.lines.map_or(self.warmup, |_| Duration::ZERO),
            read_every: self.read_every,
            ..base_plan(common, target)
        }
    }
}
