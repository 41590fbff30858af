//! The scenario `slow`: rooms talk while a part of their members reads slowly.

use std::net::SocketAddr;

use clap::Args;

use super::compare::Percentage;
use super::load::{RoomArgs, SendArgs};
use super::rate::RateArgs;
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::plan::Plan;
use crate::slow_readers::{ReadRate, SlowReaders};

/// `steady` while a part of the members reads slowly. The latency is that of all other members, which must receive every line.
/// A slow member may miss lines, and must be told of as many as it misses, where it misses them. A slow member that the server
/// closes is counted. After the last line the slow members read at full speed.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example: loadtest slow --spawn --server-arg=--backlog=64KiB --connections 1000 --rooms 50 --duration 60s"
)]
#[command(mut_arg("rooms", |arg| arg.default_value("50")))]
#[command(mut_arg("rate", |arg| arg.default_value("20/s")))]
#[command(mut_arg("size", |arg| arg.default_value("500")))]
#[command(mut_arg("duration", |arg| arg.default_value("60s")))]
pub struct SlowArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times.
    #[command(flatten)]
    pub sending: SendArgs,
    /// The rate of the lines.
    #[command(flatten)]
    pub rate: RateArgs,
    /// Part of each room's members that reads slowly; senders read at once
    #[arg(long, default_value = "10%", value_name = "PERCENT")]
    pub share: Percentage,
    /// Rate at which each of these members reads, ten times a second: 4KiB/s, 500B/s
    #[arg(long, default_value = "4KiB/s", value_name = "RATE")]
    pub read_rate: ReadRate,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl SlowArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("slow", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let plan = self.rate.apply(self.sending.apply(self.rooms.plan(common, target)));
        Plan { slow_readers: Some(SlowReaders { share: self.share.fraction(), rate: self.read_rate }), ..plan }
    }
}
