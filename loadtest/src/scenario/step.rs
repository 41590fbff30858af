//! The scenario `step`: runs of `steady` with a rising load.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::load::{RoomArgs, SendArgs};
use crate::args::{CommonArgs, Rate};
use crate::plan::{Arrivals, Pacing, Plan};

/// The quantity that rises from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Raise {
    /// The rate of lines in each room.
    #[default]
    Rate,
    /// The number of connections, with the same number of members in each room.
    Connections,
}

/// Each step is a run of its own, paced like `steady`. The first step that is not good ends the scenario.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest step --spawn --connections 500 --rooms 5 --rate 50/s --until-p99 50ms")]
#[command(mut_arg("connections", |arg| arg.default_value("500").help("Connections in total, in the first step")))]
#[command(mut_arg("rooms", |arg| arg.default_value("5").help("Rooms in the first step")))]
#[command(mut_arg("duration", |arg| arg.default_value("3s").help("Length of each step's measured window")))]
pub struct StepArgs {
    /// Quantity that rises from step to step
    #[arg(long, value_enum, default_value_t)]
    pub raise: Raise,
    /// The connections and rooms of the first step.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times of each step.
    #[command(flatten)]
    pub sending: SendArgs,
    /// Rate of lines in each room, in the first step
    #[arg(long, default_value = "50/s", value_name = "RATE")]
    pub rate: Rate,
    /// Times of the lines
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
    /// Percentage that each step adds to the previous one
    #[arg(long, default_value_t = 60, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub more: u64,
    /// Highest 99th percentile of latency at which a step is good
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub until_p99: Duration,
    /// Highest number of steps
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub steps: usize,
}

impl StepArgs {
    /// Returns the plan of the first step.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let plan = self.sending.apply(self.rooms.plan(common, target));
        let pacing = Pacing::Open { millilines_per_second: self.rate.millilines_per_second };
        Plan { pacing, arrivals: self.arrivals, ..plan }
    }

    /// Returns the plan of the step that follows a plan.
    #[must_use]
    pub fn next_plan(&self, plan: &Plan) -> Plan {
        let percent = usize::try_from(self.more).unwrap_or(usize::MAX);
        let more = |value: usize| value.saturating_add((value.saturating_mul(percent) / 100).max(1));
        let mut next = plan.clone();
        if let (Raise::Rate, Pacing::Open { millilines_per_second: rate }) = (self.raise, plan.pacing) {
            let millilines_per_second = rate.saturating_add((rate.saturating_mul(self.more) / 100).max(1));
            next.pacing = Pacing::Open { millilines_per_second };
        } else {
            next.connections = more(plan.connections);
            // The number of members of a room stays the same.
            next.rooms = (next.connections.saturating_mul(plan.rooms) / plan.connections).max(1);
        }
        next
    }
}
