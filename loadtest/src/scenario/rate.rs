//! The options of an open loop.

use clap::Args;

use crate::args::Rate;
use crate::plan::{Arrivals, Pacing, Plan};

/// The rate of an open loop's lines, and their times.
#[derive(Args, Clone, Debug)]
pub struct RateArgs {
    /// Rate of lines in each room: 5/s, 0.5/s, 300/m
    #[arg(long, default_value = "5/s", value_name = "RATE")]
    pub rate: Rate,
    /// Rate of lines in all rooms together, instead of --rate
    #[arg(long, value_name = "RATE", conflicts_with = "rate")]
    pub total_rate: Option<Rate>,
    /// Times of the lines
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
}

impl RateArgs {
    /// Returns the rate of each of `rooms` rooms.
    #[must_use]
    pub fn per_room(&self, rooms: usize) -> Rate {
        self.total_rate.map_or(self.rate, |total| total.per_room(rooms))
    }

    /// Returns a plan with this rate.
    pub(super) fn apply(&self, plan: Plan) -> Plan {
        let millilines_per_second = self.per_room(plan.rooms).millilines_per_second;
        Plan { pacing: Pacing::Open { millilines_per_second }, arrivals: self.arrivals, ..plan }
    }
}
