//! The options of `zoo`: good clients beside bad ones.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::load::RoomArgs;
use crate::args::{CommonArgs, Rate};
use crate::plan::{Pacing, Plan, Stop};

/// Good clients talk at a fixed rate while bad ones attack, one kind at a time and then all together.
///
/// Two servers are started alike, with their default bounds. Each kind attacks the server of the good clients, and then
/// the other one (the control), which shows what the attack costs on this machine without touching their server.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: loadtest zoo --kinds who,deaf --each 3s")]
pub struct ZooArgs {
    /// The good clients and their rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// Rate of the good clients' lines in each room
    #[arg(long, default_value = "5/s", value_name = "RATE")]
    pub rate: Rate,
    /// Bytes of a good line's text
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub size: usize,
    /// Length of each phase: the calm one, and two for each kind
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub each: Duration,
    /// Kinds to run, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub kinds: Vec<String>,
    /// List the kinds, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Seed of the bad clients' random bytes
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Highest number of measurements of a kind: one that is only slow is measured again, and the median counts
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub rounds: u32,
    /// Latency below which differences of the 99th percentile count as noise
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub floor: Duration,
    /// Time after an attack within which its descriptors, rooms and members must be gone
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub settle: Duration,
    /// Run all kinds together for this time in place of one at a time, with all of them connecting again at an interval
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub soak: Option<Duration>,
    /// Write the plot as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write zoo.md, zoo.json and zoo.svg (with --soak: zoo-soak.…) to a directory
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
}

impl ZooArgs {
    /// Returns the plan of the good clients for a phase of some length on a server. Nothing is sent before the measured
    /// window, so that the window contains the beginning of the attack.
    #[must_use]
    pub fn plan(&self, common: &CommonArgs, target: SocketAddr, length: Duration) -> Plan {
        let pacing = Pacing::Open { millilines_per_second: self.rate.millilines_per_second };
        let plan = self.rooms.plan(common, target);
        Plan { senders: 1, size: self.size.into(), pacing, stop: Stop::After(length), ..plan }
    }
}
