//! Quiet connections.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::base_plan;
use crate::args::CommonArgs;
use crate::plan::{Plan, Stop};

/// Nobody talks: what each connection costs in memory, and what they all cost in CPU while nothing happens.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest idle --spawn --connections 15000 --rooms 1500")]
pub struct IdleArgs {
    /// Connections in all
    #[arg(long, default_value_t = 15_000, value_name = "C")]
    pub connections: usize,
    /// Rooms that they are spread over
    #[arg(long, default_value_t = 1500, value_name = "R")]
    pub rooms: usize,
    /// How long to stay
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
}

impl IdleArgs {
    /// The plan.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let stop = Stop::After(self.duration);
        Plan { connections: self.connections, rooms: self.rooms, stop, ..base_plan(common, target) }
    }
}
