//! The scenario `flood`: a closed loop that finds the highest throughput.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::load::{LineCountArgs, RoomArgs, SendArgs};
use super::repeat::{RepeatArgs, Repetition};
use crate::args::CommonArgs;
use crate::plan::{Pacing, Plan};

/// Closed loop: each room keeps --in-flight lines in flight. A line is in flight until every member that is read
/// immediately has received it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest flood --spawn --connections 2000 --rooms 200 --in-flight 4")]
#[command(mut_arg("connections", |arg| arg.default_value("200")))]
#[command(mut_arg("rooms", |arg| arg.default_value("1")))]
#[command(mut_arg("duration", |arg| arg.default_value("5s")))]
pub struct FloodArgs {
    /// The connections and rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The senders and times.
    #[command(flatten)]
    pub sending: SendArgs,
    /// The number of lines, where one is given.
    #[command(flatten)]
    pub line_count: LineCountArgs,
    /// Lines in flight in each room: a higher number raises throughput, a lower number lowers latency
    #[arg(long, default_value_t = 32, value_name = "W")]
    pub in_flight: usize,
    /// Interval at which most members are read. A rotating sample of each room is read immediately: its members pace
    /// the load, and only their latency is measured. 0s reads and measures every member immediately, which costs the
    /// generator more CPU
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub read_every: Duration,
    /// The repetition, and the other server.
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

impl FloodArgs {
    /// Returns the scenario, which runs once or as often as the options say.
    #[must_use]
    pub fn repetition(&self) -> Repetition<'_> {
        Repetition::new("flood", &self.repeat, |common, target| self.plan(common, target))
    }

    /// Returns the plan that these options describe.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr) -> Plan {
        let plan = self.line_count.apply(self.sending.apply(self.rooms.plan(common, target)));
        Plan { pacing: Pacing::Closed { window: self.in_flight }, read_every: self.read_every, ..plan }
    }
}
