//! Every bound and setting: its name, unit, default and reason.

use clap::builder::BoolishValueParser;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Open files kept back from connections: listeners, the runtime's own, standard streams, and
/// connections that are told `server is full` before they are closed.
pub const RESERVED_FILES: usize = 64;

/// What a server does, and where it stops doing it. Each field is a flag and a variable
/// `ROOMCAST_…`; the flag wins.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The TCP port to serve; 0 picks a free one and prints it
    #[arg(default_value_t = 1234, env = "ROOMCAST_PORT")]
    pub port: u16,

    /// An address to listen on, repeatable [default: every interface, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS", env = "ROOMCAST_BIND", value_delimiter = ',')]
    pub bind: Vec<IpAddr>,

    /// Threads that serve connections [default: one for each core]
    #[arg(long, value_name = "N", env = "ROOMCAST_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// The longest line that may be sent, in bytes; a longer one closes its sender
    #[arg(long, value_name = "SIZE", default_value = "20000", env = "ROOMCAST_MAX_LINE", value_parser = size)]
    pub max_line: usize,

    /// How long a connection may take for its JOIN line
    #[arg(long, value_name = "TIME", default_value = "30s", env = "ROOMCAST_LOGIN_TIMEOUT", value_parser = time)]
    pub login_timeout: Duration,

    /// The most connections; more are told that the server is full [default: what the limit of
    /// open files allows, less 64]
    #[arg(long, value_name = "N", env = "ROOMCAST_MAX_CONNECTIONS")]
    pub max_connections: Option<NonZeroUsize>,

    /// Lines a second that a connection may send; more are delayed, none is lost; 0 = no limit
    #[arg(long, value_name = "LINES", default_value_t = 1000, env = "ROOMCAST_RATE")]
    pub rate: u32,

    /// Lines that a connection may send at once before --rate holds it back
    #[arg(long, value_name = "LINES", default_value = "2000", env = "ROOMCAST_BURST")]
    pub burst: NonZeroU32,

    /// The most that is kept for a peer that reads too slowly, in bytes of lines
    #[arg(long, value_name = "SIZE", default_value = "1MiB", env = "ROOMCAST_BACKLOG", value_parser = size)]
    pub backlog: usize,

    /// What a peer gets whose backlog is full: new lines are skipped and it is told how many, or
    /// it is closed
    #[arg(long, value_enum, default_value = "skip", env = "ROOMCAST_SLOW_READER")]
    pub slow_reader: SlowReader,

    /// How long a peer with a backlog may take no byte of it before it is closed
    #[arg(long, value_name = "TIME", default_value = "60s", env = "ROOMCAST_STALL_TIMEOUT", value_parser = time)]
    pub stall_timeout: Duration,

    /// How long a peer's machine may not answer before the peer is closed; also the longest
    /// --stall-timeout
    #[arg(long, value_name = "TIME", default_value = "60s", env = "ROOMCAST_DEAD_TIMEOUT", value_parser = dead_time)]
    pub dead_timeout: Duration,

    /// The most that waits to be passed on in a room, in bytes of lines; its senders are read
    /// more slowly then
    #[arg(long, value_name = "SIZE", default_value = "1MiB", env = "ROOMCAST_INBOX", value_parser = size)]
    pub inbox: usize,

    /// The last lines that a room remembers, for /last; at most 64KiB of them; 0 = none
    #[arg(long, value_name = "LINES", default_value_t = 100, env = "ROOMCAST_HISTORY")]
    pub history: u16,

    /// Lines of these that whoever joins is shown at once
    #[arg(long, value_name = "LINES", default_value_t = 0, env = "ROOMCAST_REPLAY")]
    pub replay: u16,

    /// Take every line as it is: without commands
    #[arg(long, env = "ROOMCAST_PLAIN", value_parser = BoolishValueParser::new())]
    pub plain: bool,

    /// How long the server may take to end, for what peers have not read yet; 0s = at once
    #[arg(long, value_name = "TIME", default_value = "5s", env = "ROOMCAST_DRAIN", value_parser = any_time)]
    pub drain: Duration,

    /// Let a room have several users of one name
    #[arg(long, env = "ROOMCAST_ALLOW_DUPLICATE_NAMES", value_parser = BoolishValueParser::new())]
    pub allow_duplicate_names: bool,
}

/// What becomes of the lines that a slow reader's backlog has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SlowReader {
    /// They are dropped and counted; the peer is told how many, where they are missing.
    Skip,
    /// The peer is closed, with a reason.
    Kick,
}

impl Default for Config {
    /// The defaults of the flags, whatever the environment says.
    fn default() -> Self {
        Self {
            port: 1234,
            bind: Vec::new(),
            workers: None,
            max_line: 20_000,
            login_timeout: Duration::from_secs(30),
            max_connections: None,
            rate: 1000,
            burst: NonZeroU32::MIN.saturating_add(1999),
            backlog: 1 << 20,
            slow_reader: SlowReader::Skip,
            stall_timeout: Duration::from_secs(60),
            dead_timeout: Duration::from_secs(60),
            inbox: 1 << 20,
            history: 100,
            replay: 0,
            plain: false,
            drain: Duration::from_secs(5),
            allow_duplicate_names: false,
        }
    }
}

impl Config {
    /// Settles what can't be had together; what was changed, for the operator.
    pub fn reconcile(&mut self) -> Option<String> {
        if self.stall_timeout <= self.dead_timeout {
            return None;
        }
        let (stall, dead) = (show_time(self.stall_timeout), show_time(self.dead_timeout));
        self.stall_timeout = self.dead_timeout;
        Some(format!(
            "--stall-timeout {stall} is cut to --dead-timeout {dead}, after which the system ends a peer that reads \
             nothing: raise that, too"
        ))
    }

    /// The bounds in force, on one line, for the operator; `connections` is how many there may be.
    #[must_use]
    pub fn bounds(&self, connections: usize) -> String {
        let rate = match self.rate {
            0 => "rate unlimited".to_owned(),
            rate => format!("rate {rate}/s burst {}", self.burst),
        };
        let slow = match self.slow_reader {
            SlowReader::Skip => "skip",
            SlowReader::Kick => "kick",
        };
        let names = if self.allow_duplicate_names { ", duplicate names allowed" } else { "" };
        let plain = if self.plain { ", no commands" } else { "" };
        let replay = match self.replay {
            0 => String::new(),
            lines => format!(" and {lines} replayed"),
        };
        format!(
            "bounds: {connections} connections, line {}, login {}, {rate}, backlog {} then {slow}, stall {}, dead {}, \
             inbox {} a room, history {} lines a room{replay}, drain {}{names}{plain}",
            show_size(self.max_line),
            show_time(self.login_timeout),
            show_size(self.backlog),
            show_time(self.stall_timeout),
            show_time(self.dead_timeout),
            show_size(self.inbox),
            self.history,
            show_time(self.drain),
        )
    }
}

/// Parses `20000`, `64KiB` or `1MB`: at least 1 and at most 1 GiB.
fn size(text: &str) -> Result<usize, String> {
    const MOST: u64 = 1 << 30;
    let bytes = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
    let size = bytes.filter(|bytes| (1..=MOST).contains(bytes)).and_then(|bytes| usize::try_from(bytes).ok());
    size.ok_or_else(|| "a size from 1 to 1GiB is wanted, as 20000, 64KiB or 1MiB".to_owned())
}

/// Parses `500ms`, `30s` or `1min 30s`; zero would mean "at once", which no user of it wants.
fn time(text: &str) -> Result<Duration, String> {
    any_time(text).ok().filter(|time| !time.is_zero()).ok_or_else(|| "a time is wanted, as 500ms, 30s or 1h".to_owned())
}

/// Parses a time that the kernel can wait for an answer: `TCP_KEEPIDLE` is at most 32,767 s.
fn dead_time(text: &str) -> Result<Duration, String> {
    time(text)
        .ok()
        .filter(|time| time.as_secs() <= 9 * 3600)
        .ok_or_else(|| "a time up to 9h is wanted, as 30s".to_owned())
}

/// Parses a time that may be zero. Clocks can't count for ever: at most ten years.
fn any_time(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let time = humantime::parse_duration(text).ok().filter(|time| *time <= MOST);
    time.ok_or_else(|| "a time is wanted, as 0s, 500ms, 30s or 1h".to_owned())
}

fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

fn show_size(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_flags_have_the_documented_defaults() {
        let flags = Flags::try_parse_from(["roomcast"]).unwrap().config;
        assert_eq!(format!("{flags:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        assert_eq!(size("20000"), Ok(20_000));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        assert!(size("0").is_err() && size("2GiB").is_err() && size("many").is_err());
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(time("0s").is_err() && time("30").is_err() && time("500000000000years").is_err());
        assert_eq!(any_time("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn nobody_may_stall_for_longer_than_the_system_waits() {
        let mut config = Config { dead_timeout: Duration::from_secs(3), ..Config::default() };
        assert!(config.reconcile().unwrap().starts_with("--stall-timeout 1m is cut to --dead-timeout 3s"));
        assert_eq!(config.stall_timeout, Duration::from_secs(3));
        assert_eq!(config.reconcile(), None);
    }

    #[test]
    fn the_bounds_are_one_line_that_names_each() {
        assert_eq!(
            Config::default().bounds(19_936),
            "bounds: 19936 connections, line 20000B, login 30s, rate 1000/s burst 2000, backlog 1MiB then skip, \
             stall 1m, dead 1m, inbox 1MiB a room, history 100 lines a room, drain 5s"
        );
    }
}
