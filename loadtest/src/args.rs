//! The options that all scenarios share, and the syntax of a rate.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::histogram::Quantile;
use crate::output::condition::Condition;
use crate::protocol::ProtocolKind;
use crate::worker_hosts::{Token, WorkerHosts};

/// The server to load, the shape of the load generator, and the files for the results.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "For every scenario")]
pub struct CommonArgs {
    /// Address and port of the server
    #[arg(long, default_value = "127.0.0.1:1234", value_name = "HOST:PORT", global = true)]
    pub target: String,
    /// Addresses and ports of several servers that share their rooms, separated by commas, in place of --target: member i of
    /// room r joins server (r + i) modulo their number. Each sender's lines must arrive in its order everywhere, and all
    /// members on one server must see one order. Lines that a server tells as missing are not lost
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT", global = true)]
    pub servers: Vec<String>,
    /// With --servers: all members of a room must see one order, and not only those on the same server
    #[arg(long, global = true)]
    pub total_order: bool,
    /// Start a release build of Roomcast on a free port of this machine, and stop it after the run
    #[arg(long, global = true, conflicts_with_all = ["target", "pid", "protocol"])]
    pub spawn: bool,
    /// Program to start for --spawn [default: `roomcast` beside this program, otherwise a new build]
    #[arg(long, value_name = "PATH", global = true)]
    pub server: Option<PathBuf>,
    /// Argument for the spawned server; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, global = true)]
    pub server_arg: Vec<String>,
    /// Process ID of the server on this machine, to measure its CPU time and memory [with --spawn: known]
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// Protocol of the server
    #[arg(long, value_enum, default_value_t, global = true)]
    pub protocol: ProtocolKind,
    /// Load threads in each process or host; a room stays within one thread
    #[arg(long, default_value_t = 1, value_name = "N", global = true)]
    pub threads: usize,
    /// Load processes; each opens at most as many connections as its limit of open files allows
    #[arg(long, default_value_t = 1, value_name = "N", global = true)]
    pub processes: usize,
    /// Worker hosts that generate the load in place of this machine, separated by commas; each runs `loadtest worker`
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT", global = true)]
    pub workers: Vec<String>,
    /// Secret that worker hosts and their coordinator share; the environment variable hides it from other users
    #[arg(long, value_name = "SECRET", env = "LOADTEST_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// Number of local addresses, from 127.0.0.1 on, to connect from when the server is at 127.x.x.x; each address has
    /// its own ports
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250), global = true)]
    pub sources: u8,
    /// Number of the first room; two loads on one server need different rooms
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16), global = true)]
    pub first_room: u16,
    /// Highest number of connections that are joining at the same time, per thread
    #[arg(long, default_value_t = 128, value_name = "N", global = true)]
    pub connecting: usize,
    /// Time without progress after which missing joins, deliveries or closes count as lost: other bytes are no progress
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME", global = true)]
    pub patience: Duration,
    /// Write every figure, parameter and version to a JSON file; `-` is standard output, here and for the other files
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
    /// Write one self-contained HTML page with plots
    #[arg(long, value_name = "FILE", global = true)]
    pub report: Option<PathBuf>,
    /// Write one row of figures for each second, as comma-separated values
    #[arg(long, value_name = "FILE", global = true)]
    pub csv: Option<PathBuf>,
    /// Write the latencies of each second in the log format of HDR histograms
    #[arg(long, value_name = "FILE", global = true)]
    pub histograms: Option<PathBuf>,
    /// Percentiles of latency to show, separated by commas
    #[arg(long, value_name = "LIST", default_value = "50,90,99,99.9", global = true)]
    pub percentiles: Percentages,
    /// Exit with code 4 after a good run where this holds, as p99>50ms or lost>0; may be repeated
    #[arg(long, value_name = "CONDITION", global = true)]
    pub fail_if: Vec<Condition>,
    /// Print no table and no progress; only a verdict that is not good, to standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl CommonArgs {
    /// Returns the files that these options name, with the names of the options.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let options = [
            ("--json", &self.json),
            ("--report", &self.report),
            ("--csv", &self.csv),
            ("--histograms", &self.histograms),
        ];
        options.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect()
    }
}

/// A list of percentages: `50,99,99.9`.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentages(pub Vec<Quantile>);

impl FromStr for Percentages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl CommonArgs {
    /// Returns the worker hosts that the options name.
    #[must_use]
    pub fn worker_hosts(&self) -> WorkerHosts {
        WorkerHosts { addresses: self.workers.clone(), token: self.token() }
    }

    /// Returns the token that worker hosts and their coordinator share, where one is given.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token.as_deref().and_then(Token::new)
    }
}

/// A rate in lines per second, with a resolution of a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Lines per 1000 seconds.
    pub millilines_per_second: u64,
}

impl FromStr for Rate {
    type Err = String;

    /// Parses `5/s`, `0.5/s`, `300/m` or `5`, which means `5/s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err("a rate is like 5/s, 0.5/s or 300/m".into()),
        };
        let number: f64 = number.trim().parse().map_err(|_| "a rate is like 5/s, 0.5/s or 300/m")?;
        if !(0.0..=1e9).contains(&number) {
            return Err("a rate must be between 0 and 1000000000/s".into());
        }
        // `Duration` is the standard library's only conversion from fractions that rounds and checks the range.
        let each = Duration::try_from_secs_f64(number / seconds).map_err(|error| error.to_string())?;
        Ok(Self { millilines_per_second: u64::try_from(each.as_millis()).unwrap_or(u64::MAX) })
    }
}

impl Rate {
    /// Returns the rate of one room where `self` is the rate of all rooms; at least one line in 1000 seconds.
    #[must_use]
    pub fn per_room(self, rooms: usize) -> Self {
        Self { millilines_per_second: (self.millilines_per_second / rooms.max(1) as u64).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_separated_by_commas() {
        assert_eq!("50, 99.9".parse(), Ok(Percentages(vec!["50".parse().unwrap(), "99.9".parse().unwrap()])));
        assert!("50,,99".parse::<Percentages>().is_err() && "101".parse::<Percentages>().is_err());
    }

    #[test]
    fn rate_is_parsed_with_each_unit() {
        let millilines = |text: &str| text.parse::<Rate>().map(|rate| rate.millilines_per_second);
        assert_eq!(millilines("5/s"), Ok(5000));
        assert_eq!(millilines("0.5/s"), Ok(500));
        assert_eq!(millilines("300/m"), Ok(5000));
        assert_eq!(millilines("7"), Ok(7000));
        assert!(millilines("fast").is_err() && millilines("5/d").is_err() && millilines("-1").is_err());
    }
}
