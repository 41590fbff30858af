//! The command line: one subcommand for each scenario, with its own defaults.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::args::CommonArgs;
use crate::plan::UsageError;

mod churn;
mod compare;
mod flood;
mod honoured;
mod idle;
mod load;
mod rate;
mod reconnect;
mod repeat;
mod servers;
mod slow;
mod steady;
mod step;
mod storm;
mod zoo;

pub use churn::ChurnArgs;
pub use compare::{CompareArgs, DEFAULT_SEED, Percentage, WorseningArgs};
pub use flood::FloodArgs;
pub use idle::IdleArgs;
pub use load::{LineCountArgs, RoomArgs, SendArgs};
pub use rate::RateArgs;
pub use reconnect::ReconnectArgs;
pub use repeat::{MakePlan, RepeatArgs, Repetition};
pub use slow::SlowArgs;
pub use steady::SteadyArgs;
pub use step::{Raise, StepArgs};
pub use storm::StormArgs;
pub use zoo::ZooArgs;

/// Opens thousands of chat connections and checks that every line arrives once and in order
///
/// Without a subcommand, `steady` runs with its defaults.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, subcommand_required = true)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub scenario: Scenario,
    /// The options that all scenarios share.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli {
    /// Parses a command line. Ends the program after `--help`, `--version` and what the parser refuses.
    ///
    /// # Errors
    /// Names an option that the subcommand does not honour, or two options that contradict each other.
    pub fn parse_command_line(arguments: Vec<OsString>) -> Result<Self, UsageError> {
        let matches = Self::command().get_matches_from(arguments);
        honoured::check_options(&matches)?;
        servers::check_options(&matches)?;
        Ok(Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
    }
}

const EXIT_CODES: &str = "\
Examples:
  loadtest --spawn                      `steady` with a server that is started for the run
  loadtest flood --spawn --json a.json  throughput of one busy room
  loadtest compare a.json b.json        compare two results

Exit codes: 0 good; 1 lines were lost, duplicated, misordered or corrupt, or an attack of `zoo` had an effect;
2 wrong usage;
3 the run failed, or the generator was the bottleneck, or a file cannot be written; 4 a condition of --fail-if holds,\nor a figure is worse than --fail-if-slower allows;
130 and 143 a signal stopped the run.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Send at a fixed rate, and measure latency
    Steady(SteadyArgs),
    /// Send as many lines as --in-flight allows, and measure throughput
    Flood(FloodArgs),
    /// Raise the rate or the connections step by step, until a step is not good
    Step(StepArgs),
    /// Join all connections at once, then leave with all but two of each room at once
    Storm(StormArgs),
    /// Send at a fixed rate while members come and go
    Churn(ChurnArgs),
    /// Send at a fixed rate, cut all connections at once, and measure how they come back
    Reconnect(ReconnectArgs),
    /// Send at a fixed rate while some members read slowly
    Slow(SlowArgs),
    /// Open quiet connections, and measure the memory of each
    Idle(IdleArgs),
    /// Attack a server with bad clients, and measure what good ones notice
    Zoo(ZooArgs),
    /// Measure bare writes without a server: the highest throughput that this machine allows
    Limit(LimitArgs),
    /// Compare results of --json: two, or several on each side
    Compare(CompareArgs),
    /// Render results of --json as a Markdown table
    Markdown(MarkdownArgs),
    /// Wait for a coordinator on another machine, and generate a part of its load
    Worker(WorkerArgs),
    /// Generate load for another process, over pipes
    #[command(name = crate::worker_pool::SUBCOMMAND, hide = true)]
    ChildWorker,
    /// Attack a server for another process, over pipes
    #[command(name = crate::attack::SUBCOMMAND, hide = true)]
    Attack,
}

impl Scenario {
    /// Returns the scenario's repetition, where its options ask for one.
    #[must_use]
    pub fn repetition(&self) -> Option<Repetition<'_>> {
        let repetition = match self {
            Self::Steady(args) => args.repetition(),
            Self::Flood(args) => args.repetition(),
            Self::Storm(args) => args.repetition(),
            Self::Churn(args) => args.repetition(),
            Self::Reconnect(args) => args.repetition(),
            Self::Slow(args) => args.repetition(),
            Self::Idle(args) => args.repetition(),
            _ => return None,
        };
        repetition.args.is_requested().then_some(repetition)
    }
}

/// The options of `worker`.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest worker --listen 0.0.0.0:7000 --token SECRET")]
pub struct WorkerArgs {
    /// Address and port to wait on; an address that other machines reach needs --token
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: String,
}

/// The options of `limit`.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest limit --sockets 1000 --lines 32")]
pub struct LimitArgs {
    /// Sockets to write to, in turn
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub sockets: usize,
    /// Lines in each write
    #[arg(long, default_value_t = 32, value_name = "K")]
    pub lines: usize,
    /// Bytes of each line
    #[arg(long, default_value_t = 78, value_name = "BYTES")]
    pub size: usize,
    /// Length of the measurement
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub duration: Duration,
}

/// The options of `markdown`.
#[derive(Args, Debug)]
#[command(after_help = "Example: loadtest markdown redis-1.json redis-2.json roomcast-1.json roomcast-2.json")]
pub struct MarkdownArgs {
    /// Results; NAME-1.json and NAME-2.json are two rounds of the row NAME
    #[arg(required = true, value_name = "FILE")]
    pub results: Vec<PathBuf>,
}
