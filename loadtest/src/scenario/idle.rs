//! The scenario `idle`: connections that send nothing.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::load::RoomArgs;
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::plan::{Plan, Stop};

/// No lines are sent: measures the memory of each connection, and the server's CPU time while nothing happens.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest idle --spawn --connections 15000 --rooms 1500")]
#[command(mut_arg("connections", |arg| arg.default_value("15000")))]
#[command(mut_arg("rooms", |arg| arg.default_value("1500")))]
pub struct IdleArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// Time that the connections stay in their rooms
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl IdleArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("idle", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        Plan { stop: Stop::After(self.duration), ..self.rooms.plan(common, target) }
    }
}
