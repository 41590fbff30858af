//! The options that all scenarios share, and how a rate is written.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::protocol::ProtocolKind;

/// Where the load goes, with what, and where the figures go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "For every scenario")]
pub struct CommonArgs {
    /// The server: an address and a port
    #[arg(long, default_value = "127.0.0.1:1234", value_name = "HOST:PORT", global = true)]
    pub target: String,
    /// Start the release server on a free port of this machine, and stop it at the end
    #[arg(long, global = true, conflicts_with_all = ["target", "pid", "protocol"])]
    pub spawn: bool,
    /// The server's program for --spawn [default: `roomcast` beside this program, else it is built]
    #[arg(long, value_name = "PATH", global = true)]
    pub server: Option<PathBuf>,
    /// One more argument for the spawned server; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, global = true)]
    pub server_arg: Vec<String>,
    /// The server's process on this machine, to measure its CPU and memory [with --spawn: known]
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t, global = true)]
    pub protocol: ProtocolKind,
    /// Threads of load in each process, each with whole rooms
    #[arg(long, default_value_t = 1, value_name = "N", global = true)]
    pub threads: usize,
    /// Processes of load: each may open as many connections as the system lets one process open files
    #[arg(long, default_value_t = 1, value_name = "N", global = true)]
    pub processes: usize,
    /// Local addresses 127.0.0.1 to 127.0.0.N to connect from when the server is at 127.x.x.x: each has its own ports
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250), global = true)]
    pub sources: u8,
    /// The number of the first room, so that two loads on one server have rooms of their own
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16), global = true)]
    pub first_room: u16,
    /// Connections that may be on their way into their rooms at once, per thread
    #[arg(long, default_value_t = 128, value_name = "N", global = true)]
    pub connecting: usize,
    /// How long the server may stay silent before what is missing counts as lost
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME", global = true)]
    pub patience: Duration,
    /// Write every figure, parameter and version to a file
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
    /// Write one self-contained HTML page with plots
    #[arg(long, value_name = "FILE", global = true)]
    pub report: Option<PathBuf>,
}

/// Lines per second, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Lines per 1000 seconds.
    pub millilines_per_second: u64,
}

impl FromStr for Rate {
    type Err = String;

    /// Reads `5/s`, `0.5/s`, `300/m` or just `5`, which is `5/s`.
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
            return Err("a rate is between 0 and 1000000000/s".into());
        }
        // A duration is the one conversion from fractions that the standard library rounds and checks.
        let each = Duration::try_from_secs_f64(number / seconds).map_err(|error| error.to_string())?;
        Ok(Self { millilines_per_second: u64::try_from(each.as_millis()).unwrap_or(u64::MAX) })
    }
}

impl Rate {
    /// A room's part of a rate for all rooms; at least a line in 1000 seconds.
    #[must_use]
    pub fn per_room(self, rooms: usize) -> Self {
        Self { millilines_per_second: (self.millilines_per_second / rooms.max(1) as u64).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        let millilines = |text: &str| text.parse::<Rate>().map(|rate| rate.millilines_per_second);
        assert_eq!(millilines("5/s"), Ok(5000));
        assert_eq!(millilines("0.5/s"), Ok(500));
        assert_eq!(millilines("300/m"), Ok(5000));
        assert_eq!(millilines("7"), Ok(7000));
        assert!(millilines("fast").is_err() && millilines("5/d").is_err() && millilines("-1").is_err());
    }
}
