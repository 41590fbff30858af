//! The options that repeat a scenario, and compare two servers in turns.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::compare::WorseningArgs;
use crate::args::CommonArgs;
use crate::plan::Plan;
use crate::protocol::ProtocolKind;

/// How often a scenario runs, and the server that it is compared with.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Repetition and comparison")]
pub struct RepeatArgs {
    /// Run N times, and print medians with their 95 % intervals. --json FILE.json writes FILE-1.json, FILE-2.json and so on.
    /// A server of --spawn is started for each run
    #[arg(long = "repeat", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9999))]
    pub runs: u32,
    /// Run the same on another server, too, in turns (A B B A A B B A …), and print the comparison, in which it is the second
    /// side. --json FILE.json writes against-FILE-1.json and so on
    #[arg(long, value_name = "HOST:PORT")]
    pub against: Option<String>,
    /// Like --against, with a server that is started for each of its runs with the arguments of --spawn
    #[arg(long, value_name = "PATH", conflicts_with = "against")]
    pub against_server: Option<PathBuf>,
    /// Protocol of the server of --against [default: the one of --protocol]
    #[arg(long, value_enum, value_name = "PROTOCOL", requires = "against")]
    pub against_protocol: Option<ProtocolKind>,
    /// Process ID of the server of --against on this machine, to measure its CPU time and memory
    #[arg(long, value_name = "PID", requires = "against")]
    pub against_pid: Option<u32>,
    /// The bound of a worsening.
    #[command(flatten)]
    pub bound: WorseningArgs,
}

/// Returns the plan of a scenario for a server.
pub type MakePlan<'a> = dyn Fn(&CommonArgs, SocketAddr) -> Plan + 'a;

/// A scenario that runs one plan, once or several times.
pub struct Repetition<'a> {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The number of runs, and the other server.
    pub args: &'a RepeatArgs,
    /// Returns the scenario's plan for a server.
    pub plan: Box<MakePlan<'a>>,
}

impl<'a> Repetition<'a> {
    /// Returns a scenario with its options and its plan.
    pub(super) fn new(
        scenario: &'static str,
        args: &'a RepeatArgs,
        plan: impl Fn(&CommonArgs, SocketAddr) -> Plan + 'a,
    ) -> Self {
        Self { scenario, args, plan: Box::new(plan) }
    }
}

impl RepeatArgs {
    /// Returns whether the options ask for more than one run.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.runs > 1 || self.has_second_side() || self.bound.fail_if_slower.is_some()
    }

    /// Returns whether the options name another server.
    #[must_use]
    pub fn has_second_side(&self) -> bool {
        self.against.is_some() || self.against_server.is_some()
    }
}
