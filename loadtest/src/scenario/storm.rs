//! Everybody joins at once, then everybody leaves.

use std::net::SocketAddr;

use clap::Args;

use super::base_plan;
use crate::args::CommonArgs;
use crate::plan::Plan;

/// Each newcomer is announced to all members: n of them in one room are told n (n + 1) / 2 times.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest storm --spawn --connections 2000 --rooms 1")]
pub struct StormArgs {
    /// Connections in all
    #[arg(long, default_value_t = 2000, value_name = "C")]
    pub connections: usize,
    /// Rooms that they are spread over
    #[arg(long, default_value_t = 1, value_name = "R")]
    pub rooms: usize,
}

impl StormArgs {
    /// The plan.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        Plan { connections: self.connections, rooms: self.rooms, ..base_plan(common, target) }
    }
}
