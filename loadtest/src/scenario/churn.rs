//! The scenario `churn`: rooms talk while a part of their members comes and goes.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::compare::Percentage;
use super::load::{RoomArgs, SendArgs};
use super::rate::RateArgs;
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::departures::Departures;
use crate::plan::Plan;

/// `steady` while a part of the members leaves and comes back all the time. What a member receives is checked from its own
/// join on, and each member that stays has to be told of each join and leave once.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example: loadtest churn --spawn --connections 1000 --rooms 50 --share 30% --stay 2s --duration 30s"
)]
pub struct ChurnArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times.
    #[command(flatten)]
    pub sending: SendArgs,
    /// The rate of the lines.
    #[command(flatten)]
    pub rate: RateArgs,
    /// Part of each room's members that leaves and comes back; senders stay
    #[arg(long, default_value = "30%", value_name = "PERCENT")]
    pub share: Percentage,
    /// Mean length of a stay; lengths are exponentially distributed
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub stay: Duration,
    /// Mean length of an absence; lengths are exponentially distributed
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub away: Duration,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl ChurnArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("churn", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let plan = self.rate.apply(self.sending.apply(self.rooms.plan(common, target)));
        let departures = Departures::Churn { share: self.share.fraction(), stay: self.stay, away: self.away };
        Plan { departures, ..plan }
    }
}
