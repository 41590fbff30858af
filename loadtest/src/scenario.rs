//! The scenarios: each a subcommand with its own defaults, and the plan that it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::args::CommonArgs;

mod flood;
mod idle;
mod load;
mod steady;
mod step;
mod storm;

pub use flood::FloodArgs;
pub use idle::IdleArgs;
pub use load::{LineCountArgs, RoomArgs, SendArgs};
pub use steady::SteadyArgs;
pub use step::{Raise, StepArgs};
pub use storm::StormArgs;

/// Opens thousands of chat connections, and checks that every line arrives once and in order.
///
/// Without a scenario: a modest `steady`.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub scenario: Scenario,
    /// What all scenarios share.
    #[command(flatten)]
    pub common: CommonArgs,
}

const EXIT_CODES: &str = "\
Examples:
  loadtest --spawn                      a modest `steady` against a server of its own
  loadtest flood --spawn --json a.json  the throughput of one busy room
  loadtest compare a.json b.json        two results side by side

Exit codes: 0 good; 1 something was lost, came twice or out of order; 2 wrong usage;
3 it could not be measured, or the generator itself was the bottleneck.";

/// A scenario.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Rooms that talk at a fixed pace: latency, and whether all arrives
    Steady(SteadyArgs),
    /// As many lines as go through with so many in flight: what a busy room can do
    Flood(FloodArgs),
    /// A higher rate, or more connections, step by step, until it is too much
    Step(StepArgs),
    /// Everybody joins at once, then everybody leaves
    Storm(StormArgs),
    /// Quiet connections: memory for each
    Idle(IdleArgs),
    /// No server: what this machine can write at all
    Limit(LimitArgs),
    /// Two results of --json side by side
    Compare(CompareArgs),
    /// Results of --json as a Markdown table
    Markdown(MarkdownArgs),
    /// Load on behalf of another process, over pipes
    #[command(name = crate::worker_pool::SUBCOMMAND, hide = true)]
    Worker,
}

/// Bare writes.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest limit --sockets 1000 --lines 32")]
pub struct LimitArgs {
    /// Sockets to write to in turn
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub sockets: usize,
    /// Lines in each write
    #[arg(long, default_value_t = 32, value_name = "K")]
    pub lines: usize,
    /// Bytes of each line
    #[arg(long, default_value_t = 78, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
}

/// Two results.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest compare before.json after.json")]
pub struct CompareArgs {
    /// The first result: what the second is measured by
    pub first: PathBuf,
    /// The second result
    pub second: PathBuf,
}

/// Some results.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest markdown redis-1.json redis-2.json roomcast-1.json roomcast-2.json")]
pub struct MarkdownArgs {
    /// Results; NAME-1.json and NAME-2.json are two rounds of one row
    #[arg(required = true, value_name = "FILE")]
    pub results: Vec<PathBuf>,
}
