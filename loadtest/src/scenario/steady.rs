//! The scenario `steady`: an open loop that measures latency at a fixed rate.

use std::net::SocketAddr;

use clap::Args;

use super::load::{LineCountArgs, RoomArgs, SendArgs};
use super::repeat::{RepeatArgs, Repetition};
use crate::args::{CommonArgs, Rate};
use crate::plan::{Arrivals, Pacing, Plan};

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
    /// Rate of lines in each room: 5/s, 0.5/s, 300/m
    #[arg(long, default_value = "5/s", value_name = "RATE")]
    pub rate: Rate,
    /// Rate of lines in all rooms together, instead of --rate
    #[arg(long, value_name = "RATE", conflicts_with = "rate")]
    pub total_rate: Option<Rate>,
    /// Times of the lines
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
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
        let plan = self.line_count.apply(self.sending.apply(self.rooms.plan(common, target)));
        let millilines_per_second = self.rate_per_room().millilines_per_second;
        Plan { pacing: Pacing::Open { millilines_per_second }, arrivals: self.arrivals, ..plan }
    }

    /// Returns the rate of each room.
    #[must_use]
    pub fn rate_per_room(&self) -> Rate {
        self.total_rate.map_or(self.rate, |total| total.per_room(self.rooms.rooms))
    }
}
