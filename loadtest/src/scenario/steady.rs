//! Rooms that talk at a fixed pace.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::base_plan;
use crate::args::{CommonArgs, Rate};
use crate::plan::{Pacing, Plan, Stop};

/// Open loop: lines are sent when they are planned, and latency counts from then, whatever holds them up.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest steady --connections 5000 --rooms 500 --rate 5/s --duration 30s")]
pub struct SteadyArgs {
    /// Connections in all
    #[arg(long, default_value_t = 1000, value_name = "C")]
    pub connections: usize,
    /// Rooms that they are spread over
    #[arg(long, default_value_t = 100, value_name = "R")]
    pub rooms: usize,
    /// Members of each room that talk, in turn
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub senders: usize,
    /// Lines in each room: 5/s, 0.5/s, 300/m
    #[arg(long, default_value = "5/s", value_name = "RATE")]
    pub rate: Rate,
    /// Lines in all rooms together, instead of --rate
    #[arg(long, value_name = "RATE", conflicts_with = "rate")]
    pub total_rate: Option<Rate>,
    /// Bytes of a line's text
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Stop after this many lines in each room, instead of after --duration, and measure from the first
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup"])]
    pub lines: Option<u64>,
    /// How long to talk before measuring
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub warmup: Duration,
}

impl SteadyArgs {
    /// The plan.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let rate = self.total_rate.map_or(self.rate, |total| total.per_room(self.rooms));
        Plan {
            connections: self.connections,
            rooms: self.rooms,
            senders: self.senders,
            size: self.size,
            pacing: Pacing::Open { millilines_per_second: rate.millilines_per_second },
            stop: self.lines.map_or(Stop::After(self.duration), Stop::Lines),
            warmup: self.lines.map_or(self.warmup, |_| Duration::ZERO),
            ..base_plan(common, target)
        }
    }
}
