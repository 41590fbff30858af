//! The scenario `storm`: all connections join at once, then all but two members of each room leave at once.

use std::net::SocketAddr;

use clap::Args;

use super::load::RoomArgs;
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::plan::Plan;

/// The server announces each join to all members: n joins in one room cause n (n + 1) / 2 notices.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest storm --spawn --connections 2000 --rooms 1")]
#[command(mut_arg("connections", |arg| arg.default_value("2000")))]
#[command(mut_arg("rooms", |arg| arg.default_value("1")))]
pub struct StormArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl StormArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("storm", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        self.rooms.plan(common, target)
    }
}
