//! The scenario `steady`: an open loop that measures latency at a fixed rate.

use std::net::SocketAddr;

use clap::Args;

use super::load::{LineCountArgs, RoomArgs, SendArgs};
use super::rate::RateArgs;
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::plan::Plan;

/// Open loop: each line has a planned time, and its latency counts from that time even when a slow server delays it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest steady --connections 5000 --rooms 500 --rate 5/s --duration 30s")]
pub struct SteadyArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times.
    #[command(flatten)]
    pub sending: SendArgs,
    /// The number of lines, where one is given.
    #[command(flatten)]
    pub line_count: LineCountArgs,
    /// The rate of the lines.
    #[command(flatten)]
    pub rate: RateArgs,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl SteadyArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("steady", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        self.rate.apply(self.line_count.apply(self.sending.apply(self.rooms.plan(common, target))))
    }
}
