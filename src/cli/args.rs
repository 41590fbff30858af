//! Arguments: every flag and variable, all optional, and how they become settings.

use super::admin_args::AdminArgs;
use super::admission_args::AdmissionArgs;
use super::cluster_args::ClusterArgs;
use super::config_args::ConfigArgs;
use super::log_args::LogArgs;
use super::metrics_args::MetricsArgs;
use super::proxy_args::ProxyArgs;
use super::tls_args::TlsArgs;
use super::values::{parse_mode, slow_reader_parser, switch_parser};
use super::web_args::WebArgs;
use clap::builder::BoolishValueParser;
use roomcast::config::units::{
    parse_byte_burst, parse_byte_rate, parse_dead_timeout, parse_duration, parse_size, parse_size_limit, parse_timeout,
};
use roomcast::config::{
    DEFAULT_PORT, ListenAddress, ListenUrl, LiveSettings, NetworkSettings, RoomSettings, Settings, SettingsError,
    SlowReader,
};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A multi-room chat server for browsers, telnet, PuTTY, nc and programs.
///
/// Users connect with `telnet HOST PORT`, send `JOIN <ROOMNAME> <USERNAME>`, and from then on every line goes to every
/// member of the room. SIGINT, SIGTERM and, without --config, SIGHUP end the server gracefully, a second one at once.
/// SIGUSR2, or roomcast ctl upgrade, starts the program anew, which goes on with all connections.
///
/// For example, with a port for programs and nc, and one for people: telnet:// turns the input line on at once.
///
/// roomcast --listen tcp://:1234 --listen telnet://:2323
///
/// The server listens on every interface unless --bind or --listen says otherwise, and without encryption except on
/// tls:// and wss:// listeners: any client that reaches the port can join and read along.
///
/// Times are written as 500ms, 30s or 1m, sizes as 20000, 64KiB or 1MiB; 0 lifts a bound. Each flag can also be set by an environment
/// variable, as ROOMCAST_MAX_LINE, or by a key in the file of --config, as max-line = 20000. A flag comes before a
/// variable, a variable before the file.
///
/// SIGHUP reads the file of --config again and changes all or nothing: --max-line, --login-timeout, --rate, --burst, --byte-rate,
/// --byte-burst, --backlog, --slow-reader, --stall-timeout, --idle-timeout, --dead-timeout, --plain, --drain, --motd, --bell,
/// --bans, --trust, --tls-cert, --tls-key, --log-level and --log-format at once; --max-line, --login-timeout, --backlog, --slow-reader,
/// --dead-timeout and the certificate for new connections alone. The log names other changed flags: they need a restart.
#[expect(clippy::doc_markdown, reason = "the help shows this text as it is")]
#[derive(Debug, clap::Parser)]
#[command(name = "roomcast", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    rooms: RoomArgs,
    #[command(flatten)]
    members: MemberArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    pub(super) admin: AdminArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[expect(clippy::doc_markdown, reason = "the help shows this text as it is")]
#[derive(Debug, clap::Args)]
struct NetworkArgs {
    /// The TCP port to serve; 0 picks a free one and prints it
    #[arg(env = "ROOMCAST_PORT")]
    port: Option<u16>,

    /// An address to serve the port on, repeatable [default: every interface, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS", env = "ROOMCAST_BIND", value_delimiter = ',')]
    bind: Vec<IpAddr>,

    /// A listener, repeatable, in place of the port and --bind: tcp://ADDR:PORT, or tcp://:PORT for every interface;
    /// telnet://ADDR:PORT for people with telnet or PuTTY: the input line is on at once; ws://ADDR:PORT for browsers: a page, and
    /// the chat over WebSocket; tls://ADDR:PORT and wss://ADDR:PORT with --tls-cert and --tls-key; unix:PATH; fd:NAME for sockets that systemd passes. With ?proxy=v1v2 (or v1, v2) each connection has to
    /// begin with a PROXY header
    #[arg(long, value_name = "URL", env = "ROOMCAST_LISTEN", value_delimiter = ',')]
    listen: Vec<ListenUrl>,

    /// The permission bits of the files of Unix listeners, as 0660 [default: what the umask gives]
    #[arg(long, value_name = "MODE", env = "ROOMCAST_SOCKET_MODE", value_parser = parse_mode)]
    socket_mode: Option<u32>,

    /// Threads that serve connections [default: one for each core]
    #[arg(long, value_name = "N", env = "ROOMCAST_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// The longest line that may be sent, in bytes; a longer one closes its sender
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_MAX_LINE", value_parser = parse_size)]
    max_line: Option<usize>,

    /// How long a connection may take for its JOIN line, all tries together; 0 = no limit
    #[arg(long, value_name = "TIME", env = "ROOMCAST_LOGIN_TIMEOUT", value_parser = parse_timeout)]
    login_timeout: Option<Duration>,

    /// Lines a second that a connection may send; more are delayed, none is lost; 0 = no limit, also of what the
    /// commands, joins and leaves of an address may make the server do
    #[arg(long, value_name = "LINES", env = "ROOMCAST_RATE")]
    rate: Option<u32>,

    /// Lines that a connection may send at once before --rate delays it
    #[arg(long, value_name = "LINES", env = "ROOMCAST_BURST")]
    burst: Option<NonZeroU32>,

    /// Bytes a second that a connection may send, as 128KiB/s; more are delayed, none is lost; 0 = no limit
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_BYTE_RATE", value_parser = parse_byte_rate)]
    byte_rate: Option<u32>,

    /// Bytes that a connection may send at once before --byte-rate delays it; more than --max-line
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_BYTE_BURST", value_parser = parse_byte_burst)]
    byte_burst: Option<NonZeroU32>,

    /// Bytes of lines that are kept for a peer that reads too slowly; 0 = no limit but --memory
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_BACKLOG", value_parser = parse_size_limit)]
    backlog: Option<usize>,

    /// The treatment of a peer whose backlog is full: skip drops new lines and tells it how many, kick closes it
    #[arg(long, value_name = "skip|kick", env = "ROOMCAST_SLOW_READER", value_parser = slow_reader_parser(),
          hide_possible_values = true)]
    slow_reader: Option<SlowReader>,

    /// How long a peer with a backlog may take no byte of it before it is closed; at most --dead-timeout;
    /// 0 = no limit
    #[arg(long, value_name = "TIME", env = "ROOMCAST_STALL_TIMEOUT", value_parser = parse_timeout)]
    stall_timeout: Option<Duration>,

    /// How long a member may send nothing before it is closed; 0 = no limit
    #[arg(long, value_name = "TIME", env = "ROOMCAST_IDLE_TIMEOUT", value_parser = parse_timeout)]
    idle_timeout: Option<Duration>,

    /// How long a peer's machine may leave sent bytes and TCP keepalive probes unanswered before the peer is closed;
    /// 0 = no limit
    #[arg(long, value_name = "TIME", env = "ROOMCAST_DEAD_TIMEOUT", value_parser = parse_dead_timeout)]
    dead_timeout: Option<Duration>,

    /// Deliver every line as chat; commands are off
    #[arg(long, env = "ROOMCAST_PLAIN", value_name = "on|off", value_parser = BoolishValueParser::new(),
          hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    plain: Option<bool>,

    /// How long a shutdown may take: at most half for lines that were received, the rest for what peers have not read;
    /// 0s = at once
    #[arg(long, value_name = "TIME", env = "ROOMCAST_DRAIN", value_parser = parse_duration)]
    drain: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct RoomArgs {
    /// The most rooms; a JOIN line that would open one more is refused; 0 = no limit
    #[arg(long, value_name = "N", env = "ROOMCAST_MAX_ROOMS")]
    max_rooms: Option<usize>,

    /// Bytes of lines that a room has not delivered yet; beyond that its senders are read more slowly; 0 = no limit but
    /// --memory
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_INBOX", value_parser = parse_size_limit)]
    inbox: Option<usize>,

    /// The last lines that a room keeps for /last, at most 64KiB of them; 0 = none
    #[arg(long, value_name = "LINES", env = "ROOMCAST_HISTORY")]
    history: Option<u16>,

    /// Lines of the history that each new member is shown; at most --history
    #[arg(long, value_name = "LINES", env = "ROOMCAST_REPLAY")]
    replay: Option<u16>,

    /// Let a room have several members of one name
    #[arg(long, env = "ROOMCAST_ALLOW_DUPLICATE_NAMES", value_name = "on|off", value_parser = BoolishValueParser::new(),
          hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_duplicate_names: Option<bool>,
}

#[derive(Debug, clap::Args)]
struct MemberArgs {
    /// A file of at most 4KiB whose lines each new member sees, each beginning with `*** `; UTF-8 text, read at the
    /// start [default: no lines]
    #[arg(long, value_name = "FILE", env = "ROOMCAST_MOTD")]
    motd: Option<PathBuf>,

    /// Whether the input line rings the terminal's bell for its member's own name and for whispers
    #[arg(long, value_name = "on|off", env = "ROOMCAST_BELL", value_parser = switch_parser(),
          hide_possible_values = true)]
    bell: Option<bool>,
}

impl Args {
    /// Returns the file of the message of the day.
    pub(super) fn motd(&self) -> Option<PathBuf> {
        self.members.motd.clone()
    }

    /// Returns the settings without those that are read from files; `level_is_flag` says whether `--log-level` is given as a flag.
    pub(super) fn into_settings(self, level_is_flag: bool) -> Result<Settings, SettingsError> {
        let network = self.admission.apply_to(self.network.into_settings()?)?;
        let network = self.proxy.apply_to(self.tls.apply_to(self.web.apply_to(network))?)?;
        let mut live = self.limits.into_settings();
        live.bell = self.members.bell.unwrap_or(live.bell);
        let (rooms, metrics) = (self.rooms.into_settings(), self.metrics.into_settings());
        let log = self.log.into_settings(level_is_flag);
        let cluster = self.cluster.into_settings()?;
        Ok(Settings { network, rooms, live, metrics, log, cluster, ..Settings::default() })
    }
}

impl NetworkArgs {
    fn into_settings(self) -> Result<NetworkSettings, SettingsError> {
        let is_listen_given = !self.listen.is_empty() || self.port.is_some() || !self.bind.is_empty();
        let listen = match (self.listen.is_empty(), self.port, self.bind.is_empty()) {
            (false, Some(_), _) => return Err(SettingsError::Listen("a port (an argument or ROOMCAST_PORT)")),
            (false, None, false) => return Err(SettingsError::Listen("--bind (or ROOMCAST_BIND)")),
            (false, None, true) => self.listen,
            (true, port, true) => vec![ListenAddress::Tcp { ip: None, port: port.unwrap_or(DEFAULT_PORT) }.into()],
            (true, port, false) => {
                let port = port.unwrap_or(DEFAULT_PORT);
                self.bind.into_iter().map(|ip| ListenAddress::Tcp { ip: Some(ip), port }.into()).collect()
            }
        };
        let Self { socket_mode, workers, .. } = self;
        Ok(NetworkSettings { listen, is_listen_given, socket_mode, workers, ..NetworkSettings::default() })
    }
}

impl LimitArgs {
    fn into_settings(self) -> LiveSettings {
        let default = LiveSettings::default();
        let dead_timeout = self.dead_timeout.unwrap_or(default.dead_timeout);
        let max_line = self.max_line.unwrap_or(default.max_line);
        // Only a burst that was asked for can be too small for a line.
        let byte_burst = default.byte_burst.max(NonZeroU32::MIN.saturating_add(u32::try_from(max_line).unwrap_or(0)));
        let stall_timeout =
            if dead_timeout.is_zero() { default.stall_timeout } else { default.stall_timeout.min(dead_timeout) };
        LiveSettings {
            max_line,
            login_timeout: self.login_timeout.unwrap_or(default.login_timeout),
            rate: self.rate.unwrap_or(default.rate),
            burst: self.burst.unwrap_or(default.burst),
            byte_rate: self.byte_rate.unwrap_or(default.byte_rate),
            byte_burst: self.byte_burst.unwrap_or(byte_burst),
            backlog: self.backlog.unwrap_or(default.backlog),
            slow_reader: self.slow_reader.unwrap_or(default.slow_reader),
            // Only a stall timeout that was asked for can contradict the dead timeout.
            stall_timeout: self.stall_timeout.unwrap_or(stall_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(default.idle_timeout),
            dead_timeout,
            commands: self.plain.map_or(default.commands, |plain| !plain),
            drain: self.drain.unwrap_or(default.drain),
            bell: default.bell,
        }
    }
}

impl RoomArgs {
    fn into_settings(self) -> RoomSettings {
        let default = RoomSettings::default();
        RoomSettings {
            inbox_bytes: self.inbox.unwrap_or(default.inbox_bytes),
            history_lines: self.history.map_or(default.history_lines, usize::from),
            replay_lines: self.replay.map_or(default.replay_lines, usize::from),
            allow_duplicate_names: self.allow_duplicate_names.unwrap_or(default.allow_duplicate_names),
            max_rooms: self.max_rooms.unwrap_or(default.max_rooms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::{ArgsError, Request, parse};
    use roomcast::config::{LogFormat, LogLevel, TlsFiles};
    use std::ffi::OsString;
    use std::num::NonZeroU64;

    fn parse_all(arguments: &[&str]) -> Result<Request, ArgsError> {
        let arguments: Vec<OsString> = ["roomcast"].iter().chain(arguments).map(Into::into).collect();
        parse(&arguments)
    }

    fn settings(arguments: &[&str]) -> Settings {
        match parse_all(arguments) {
            Ok(Request::Serve(serving)) => serving.settings,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    fn contradiction(arguments: &[&str]) -> String {
        match parse_all(arguments) {
            Err(ArgsError::Settings(message)) => message,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn no_arguments_are_the_defaults() {
        assert_eq!(settings(&[]), Settings::default());
    }

    #[test]
    fn the_port_and_bind_make_tcp_listeners() {
        let tcp = |ip: Option<&str>| -> ListenUrl {
            ListenAddress::Tcp { ip: ip.map(|ip| ip.parse().unwrap()), port: 4000 }.into()
        };
        assert_eq!(settings(&["4000"]).network.listen, [tcp(None)]);
        let both = settings(&["4000", "--bind", "127.0.0.1", "--bind", "::1"]).network.listen;
        assert_eq!(both, [tcp(Some("127.0.0.1")), tcp(Some("::1"))]);
    }

    #[test]
    fn listen_urls_stand_alone() {
        let urls = ["tcp://127.0.0.1:0", "telnet://:2323", "unix:/run/roomcast"];
        let listen = settings(&["--listen", urls[0], "--listen", urls[1], "--listen", urls[2]]).network.listen;
        assert_eq!(listen.iter().map(ToString::to_string).collect::<Vec<_>>(), urls);
        assert!(
            contradiction(&["4000", "--listen", urls[0]])
                .starts_with("--listen and a port (an argument or ROOMCAST_PORT) contradict")
        );
        assert!(
            contradiction(&["--bind", "::1", "--listen", urls[0]])
                .starts_with("--listen and --bind (or ROOMCAST_BIND) contradict")
        );
    }

    #[test]
    fn certificate_goes_with_its_key_and_a_tls_listener() {
        let (listener, files) = (["--listen", "tls://:6697"], ["--tls-cert", "c.pem", "--tls-key", "k.pem"]);
        let network = settings(&[&listener[..], &files].concat()).network;
        assert_eq!(network.listen[0].to_string(), listener[1]);
        assert_eq!(network.tls, Some(TlsFiles { certificate: "c.pem".into(), key: "k.pem".into() }));
        for (arguments, told) in [
            ([&listener[..], &files[..2]].concat(), "--tls-cert goes with --tls-key: add --tls-key FILE"),
            ([&listener[..], &files[2..]].concat(), "--tls-key goes with --tls-cert: add --tls-cert FILE"),
            (listener.to_vec(), "--listen tls://:6697 wants a certificate and its key"),
            (files.to_vec(), "--tls-cert and --tls-key go with a TLS listener"),
        ] {
            assert!(contradiction(&arguments).starts_with(told), "{arguments:?}");
        }
    }

    #[test]
    fn a_stall_timeout_that_was_not_asked_for_follows_the_dead_timeout() {
        assert_eq!(settings(&["--dead-timeout", "3s"]).live.stall_timeout, Duration::from_secs(3));
        assert_eq!(settings(&["--dead-timeout", "0"]).live.stall_timeout, Duration::from_secs(60));
        let told = contradiction(&["--dead-timeout", "3s", "--stall-timeout", "4s"]);
        assert!(told.starts_with("--stall-timeout 4s is longer than --dead-timeout 3s"), "{told}");
    }

    #[test]
    fn zero_lifts_each_bound_that_can_be_lifted() {
        let flags = ["--login-timeout", "--stall-timeout", "--idle-timeout", "--dead-timeout", "--rate", "--byte-rate"];
        let sizes = ["--backlog", "--inbox", "--memory"];
        let counts = ["--max-connections", "--max-per-address", "--connect-rate", "--max-rooms"];
        let arguments: Vec<&str> = [&flags[..], &sizes, &counts].concat().into_iter().flat_map(|f| [f, "0"]).collect();
        let Settings { network, rooms, live, .. } = settings(&arguments);
        let times = [live.login_timeout, live.stall_timeout, live.idle_timeout, live.dead_timeout];
        assert_eq!((times, live.rate, live.byte_rate), ([Duration::ZERO; 4], 0, 0));
        assert_eq!((live.backlog, rooms.inbox_bytes, rooms.max_rooms), (usize::MAX, usize::MAX, 0));
        assert_eq!((network.memory, network.max_connections), (Some(NonZeroU64::MAX), None));
        assert_eq!((network.max_per_address, network.connect_rate), (0, 0));
    }

    #[test]
    fn burst_of_bytes_that_was_not_asked_for_follows_the_longest_line() {
        let burst = |arguments: &[&str]| settings(arguments).live.byte_burst.get();
        assert_eq!((burst(&[]), burst(&["--max-line", "2MiB"])), (1 << 20, (2 << 20) + 1));
        let told = contradiction(&["--byte-burst", "20000"]);
        assert!(told.starts_with("--byte-burst 20000B is too small for a line of --max-line 20000B"), "{told}");
        assert_eq!(burst(&["--byte-burst", "20001"]), 20_001);
        assert_eq!(burst(&["--byte-burst", "1", "--byte-rate", "0"]), 1, "without a rate the burst bounds nothing");
    }

    #[test]
    fn exempt_networks_are_a_list_that_replaces_the_default() {
        let exempt = |arguments: &[&str]| settings(arguments).network.exempt.to_string();
        assert_eq!(exempt(&["--exempt", "10.0.0.0/8,unix", "--exempt", "::1"]), "10.0.0.0/8,::1/128,unix");
        assert_eq!(exempt(&["--exempt", "none"]), "none");
        assert_eq!(contradiction(&["--exempt", "none,unix"]), SettingsError::NoneIsNotAlone("--exempt").to_string());
    }

    #[test]
    fn trusted_proxies_replace_the_default_and_go_with_a_proxied_listener() {
        let proxied = ["--listen", "tcp://:0?proxy=v2", "--trust"];
        let trust = |list| settings(&[&proxied[..], &[list]].concat()).network.trust.to_string();
        assert_eq!(settings(&proxied[..2]).network.trust.to_string(), "127.0.0.0/8,::1/128,unix");
        assert_eq!((trust("10.1.0.0/16,::1"), trust("none")), ("10.1.0.0/16,::1/128".to_owned(), "none".to_owned()));
        assert_eq!(
            contradiction(&[&proxied[..], &["none,::1"]].concat()),
            SettingsError::NoneIsNotAlone("--trust").to_string()
        );
        assert_eq!(contradiction(&["--trust", "::1"]), SettingsError::Trust.to_string());
    }

    #[test]
    fn memory_beyond_a_gigabyte_is_accepted_and_less_than_a_queue_is_an_error() {
        assert_eq!(settings(&["--memory", "8GiB"]).network.memory, NonZeroU64::new(8 << 30));
        let told = contradiction(&["--memory", "1000KiB"]);
        assert!(told.starts_with("--memory 1000.0KiB is less than --backlog 1MiB, which"), "{told}");
    }

    #[test]
    fn a_switch_can_be_switched_off() {
        assert!(!settings(&["--plain"]).live.commands && !settings(&["--plain=yes"]).live.commands);
        assert!(settings(&["--plain=false"]).live.commands);
        assert_eq!(settings(&["--plain", "4000"]), settings(&["4000", "--plain"]));
    }

    #[test]
    fn metrics_are_off_unless_an_address_is_given() {
        let listen = |arguments: &[&str]| settings(arguments).metrics.listen;
        assert_eq!((listen(&[]), listen(&["--metrics", "[::1]:0"])), (None, "[::1]:0".parse().ok()));
    }

    #[test]
    fn kept_lines_go_with_a_cluster_and_a_history() {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        let cluster = ["--cluster", "nats://127.0.0.1", "--node", "n1", "--history-for", "7d"];
        let kept = settings(&[&cluster[..], &["--history-size", "3GiB", "--cluster-replicas", "3"]].concat()).cluster;
        assert_eq!((kept.history_for, kept.history_size.get(), kept.replicas), (week, 3 << 30, 3));
        assert!(
            kept.keeps_history()
                && !settings(&[&cluster[..4], &["--history-for", "0s"]].concat()).cluster.keeps_history()
        );
        assert!(
            contradiction(&["--history-for", "7d"]).starts_with("--history-for goes with --cluster: add --cluster ")
        );
        assert_eq!(settings(&["--history-for", "0s"]), settings(&[]));
        let told = contradiction(&[&cluster[..4], &["--history-size", "3GiB"]].concat());
        assert!(told.starts_with("--history-size goes with --history-for: add --history-for 7d"), "{told}");
        let told = contradiction(&[&cluster[..], &["--history", "0"]].concat());
        assert!(told.starts_with("--history-for and --history 0 contradict each other"), "{told}");
        for (flag, value) in [("--history-for", "59s"), ("--cluster-replicas", "0"), ("--cluster-replicas", "6")] {
            assert!(parse_all(&[&cluster[..4], &[flag, value]].concat()).is_err(), "{flag} {value}");
        }
    }

    #[test]
    fn the_bell_is_on_unless_it_is_switched_off() {
        assert!(settings(&[]).live.bell && settings(&["--bell", "on"]).live.bell);
        assert!(!settings(&["--bell", "off"]).live.bell && !settings(&["--bell=off"]).live.bell);
    }

    #[test]
    fn level_flag_comes_before_the_count_of_v() {
        let level = |arguments: &[&str]| settings(arguments).log.level;
        assert_eq!((level(&[]), level(&["-v"])), (LogLevel::Warn, LogLevel::Info));
        assert_eq!((level(&["-vv"]), level(&["-vvvv"])), (LogLevel::Debug, LogLevel::Trace));
        assert_eq!(
            (level(&["-vv", "--log-level", "error"]), level(&["--log-level=off"])),
            (LogLevel::Error, LogLevel::Off)
        );
        assert_eq!(settings(&["--log-format", "json"]).log.format, LogFormat::Json);
    }

    #[test]
    fn socket_modes_are_octal() {
        let unix = ["--listen", "unix:chat", "--socket-mode"];
        let mode = |mode| settings(&[&unix[..], &[mode]].concat()).network.socket_mode;
        assert_eq!((mode("0660"), mode("600"), mode("0o640")), (Some(0o660), Some(0o600), Some(0o640)));
        assert!(parse_mode("8").is_err() && parse_mode("1777").is_err());
    }
}
