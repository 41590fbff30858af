//! The scenario `reconnect`: all members are cut at once and come back.

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

/// `steady` until all connections are cut at once, as by a broken network or a restarted proxy. Each member comes back after
/// a random time. The cut happens when all lines sent before have arrived; lines that are planned while a room has no sender
/// are withheld and counted.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest reconnect --spawn --connections 2000 --rooms 100 --every 10s --duration 40s")]
pub struct ReconnectArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times.
    #[command(flatten)]
    pub sending: SendArgs,
    /// The rate of the lines.
    #[command(flatten)]
    pub rate: RateArgs,
    /// Part of each room's members that is cut; senders are cut last
    #[arg(long, default_value = "100%", value_name = "PERCENT")]
    pub share: Percentage,
    /// Cut again and again at this interval, from the start of the measured window on [default: once, after a third of it]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub every: Option<Duration>,
    /// Longest absence; absences are uniformly distributed
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub jitter: Duration,
    /// Cut by a reset (RST) instead of an orderly close (FIN)
    #[arg(long)]
    pub reset: bool,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl ReconnectArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("reconnect", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let plan = self.rate.apply(self.sending.apply(self.rooms.plan(common, target)));
        let departures = Departures::Cuts {
            share: self.share.fraction(),
            first: self.every.unwrap_or(self.sending.duration / 3),
            every: self.every,
            jitter: self.jitter,
            reset: self.reset,
        };
        Plan { departures, ..plan }
    }
}
