//! The settings in groups, the one table of their defaults, and the check for contradictions.

use crate::config::units::{show_duration, show_memory, show_size};
use crate::config::{
    ActivationError, AllowedOrigin, ClusterSettings, ListenAddress, ListenUrl, LogSettings, MetricsSettings,
    ModerationSettings, Motd, PeerNetworks, TlsFiles,
};
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

/// The port that is served when none is given.
pub const DEFAULT_PORT: u16 = 1234;

/// The shortest bound of a line that lets every JOIN line through, in bytes: the word, two names of 20 bytes,
/// two blanks and a CR.
const MIN_MAX_LINE: usize = 47;

/// The least memory ceiling that serves some connections, in bytes.
const MIN_MEMORY: usize = 1 << 20;

/// All settings of a server. [`Settings::default`] is the one table of defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Listeners and threads: a restart alone can change them.
    pub network: NetworkSettings,
    /// Settings of each room: a restart alone can change them.
    pub rooms: RoomSettings,
    /// Settings that can be swapped while the server runs.
    pub live: LiveSettings,
    /// The message that each member sees after its JOIN line; `None` for no message.
    pub motd: Option<Motd>,
    /// The operators' socket and the bans.
    pub moderation: ModerationSettings,
    /// The log's level and form, which can be swapped while the server runs, too.
    pub log: LogSettings,
    /// The listener for metrics and health checks.
    pub metrics: MetricsSettings,
    /// The servers that share their rooms with this one.
    pub cluster: ClusterSettings,
}

/// Listeners, threads and the bound on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// One listener each.
    pub listen: Vec<ListenUrl>,
    /// Whether the listeners, the port or an interface were given. False: sockets that the service manager passes take the
    /// place of the default listener.
    pub is_listen_given: bool,
    /// The permission bits of the files of Unix listeners; `None` leaves what the umask gives.
    pub socket_mode: Option<u32>,
    /// The certificate and the key of `tls://` listeners; `None` without such a listener.
    pub tls: Option<TlsFiles>,
    /// The web pages that may open WebSocket connections, beside the server's own.
    pub allow_origin: Vec<AllowedOrigin>,
    /// Threads that serve connections; `None`: one for each core.
    pub workers: Option<u16>,
    /// The most connections at a time; `None`: what the limit of open files allows, less
    /// [`NetworkSettings::reserved_files`].
    pub max_connections: Option<NonZeroUsize>,
    /// The most connections of one address (IPv6: of one /64) at a time; 0 for no limit.
    pub max_per_address: usize,
    /// Connections a second that one address may open; 0 for no limit.
    pub connect_rate: u32,
    /// Connections that one address may open at once before `connect_rate` refuses more.
    pub connect_burst: NonZeroU32,
    /// The peers to which the bounds on connections of one address do not apply.
    pub exempt: PeerNetworks,
    /// The proxies whose PROXY header is believed on listeners that take one.
    pub trust: PeerNetworks,
    /// The ceiling of all queues, histories, unfinished lines and kernel buffers together, in bytes; `None`: a quarter
    /// of the memory of the machine or of the process's cgroup, whichever is smaller.
    pub memory: Option<NonZeroU64>,
}

/// The settings of each room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// The bound of a room's inbox, in bytes of lines that are not yet passed on; `usize::MAX` for no limit.
    pub inbox_bytes: usize,
    /// Lines that a room remembers; 0 for none. 64 KiB bound them, too.
    pub history_lines: usize,
    /// Lines of these that a joiner is shown.
    pub replay_lines: usize,
    /// Whether several members of a room may have one name.
    pub allow_duplicate_names: bool,
    /// The most rooms at a time; 0 for no limit.
    pub max_rooms: usize,
}

/// Settings that can be swapped while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// The longest line, in bytes before its LF.
    pub max_line: usize,
    /// How long a connection may take for its JOIN line; zero for no limit.
    pub login_timeout: Duration,
    /// Lines a second that a connection may send; 0 for no limit, also of the work of commands and membership changes.
    pub rate: u32,
    /// Lines that a connection may send at once before `rate` delays it.
    pub burst: NonZeroU32,
    /// Bytes a second that a connection may send; 0 for no limit.
    pub byte_rate: u32,
    /// Bytes that a connection may send at once before `byte_rate` delays it.
    pub byte_burst: NonZeroU32,
    /// The bound of a peer's backlog, in bytes of lines that it has not read; `usize::MAX` for no limit.
    pub backlog: usize,
    /// The treatment of lines beyond the backlog.
    pub slow_reader: SlowReader,
    /// How long a peer with a backlog may take no byte of it; zero for no limit.
    pub stall_timeout: Duration,
    /// How long a member may send nothing; zero for no limit.
    pub idle_timeout: Duration,
    /// How long a peer's machine may not answer; zero for no limit.
    pub dead_timeout: Duration,
    /// Whether lines that begin like a command are commands; false: every line is chat.
    pub commands: bool,
    /// How long the end of the server may take, for what peers have not read yet.
    pub drain: Duration,
    /// Whether the input line rings the terminal's bell for its member's own name and for whispers.
    pub bell: bool,
}

/// The treatment of lines for which a slow reader's backlog has no capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlowReader {
    /// They are dropped and counted; the peer is told how many, where they are missing.
    Skip,
    /// The peer is closed, with a reason.
    Kick,
}

/// Settings that contradict each other. Shown, the error names both and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// More lines to replay than a room remembers.
    #[error("--replay {replay} is more than --history {history}: lower --replay or raise --history")]
    Replay {
        /// Lines to replay.
        replay: usize,
        /// Lines that a room remembers.
        history: usize,
    },
    /// The kernel closes a stalled peer before the server would.
    #[error(
        "--stall-timeout {} is longer than --dead-timeout {}, after which the system closes a peer that reads \
         nothing: lower the first or raise the second", show_duration(*stall), show_duration(*dead)
    )]
    Stall {
        /// How long a peer may take no byte.
        stall: Duration,
        /// How long the system waits.
        dead: Duration,
    },
    /// A line does not fit the bytes that may be sent at once.
    #[error(
        "--byte-burst {} is too small for a line of --max-line {} and its end: raise --byte-burst or lower --max-line",
        show_size(*.burst as usize), show_size(*.max_line)
    )]
    ByteBurst {
        /// Bytes that may be sent at once.
        burst: u32,
        /// The longest line.
        max_line: usize,
    },
    /// One queue may hold more than all of them together.
    #[error(
        "--memory {} is less than {flag} {}, which one of many may use: raise --memory or lower {flag}",
        show_memory(*.memory), show_size(*.size)
    )]
    Memory {
        /// The ceiling of all queues together.
        memory: u64,
        /// The flag of the queue.
        flag: &'static str,
        /// The bound of the queue.
        size: usize,
    },
    /// No connection fits the memory ceiling.
    #[error("--memory {} is too small: at least {} is wanted", show_memory(*.0), show_size(MIN_MEMORY))]
    LittleMemory(u64),
    /// `none` beside other networks; holds the flag.
    #[error("{0} none goes alone: leave none out, or the networks beside it")]
    NoneIsNotAlone(&'static str),
    /// Trusted proxies, and no listener that takes a PROXY header.
    #[error("--trust goes with a listener that takes a PROXY header: add --listen tcp://ADDR:PORT?proxy=v1v2")]
    Trust,
    /// Sockets of the service manager do not fit the listeners.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// A JOIN line does not fit.
    #[error("--max-line {0} is too small for a JOIN line: at least {MIN_MAX_LINE} is wanted")]
    MaxLine(usize),
    /// Two ways to say where to listen.
    #[error("--listen and {0} contradict each other: write --listen tcp://ADDR:PORT alone")]
    Listen(&'static str),
    /// A mode for files that no listener makes.
    #[error("--socket-mode goes with a Unix listener: add --listen unix:PATH")]
    SocketMode,
    /// A certificate without its key, or a key without its certificate: the flag that is given, and the one that is missing.
    #[error("{0} goes with {1}: add {1} FILE, or leave {0} out")]
    TlsFile(&'static str, &'static str),
    /// A setting of a cluster without one: the flag that is given.
    #[error("{0} goes with --cluster: add --cluster nats://HOST:PORT, or leave {0} out")]
    NoCluster(&'static str),
    /// A setting of the lines that NATS keeps, where it keeps none: the flag that is given.
    #[error("{0} goes with --history-for: add --history-for 7d, or leave {0} out")]
    NoHistoryFor(&'static str),
    /// Lines that NATS keeps, and no room that shows them.
    #[error("--history-for and --history 0 contradict each other: raise --history, or leave --history-for out")]
    NoHistory,
    /// A server of a cluster without a name.
    #[error("--cluster wants a name of this server that no other one has: add --node NAME")]
    NoNode,
    /// Members of one name, in a cluster.
    #[error(
        "--allow-duplicate-names and --cluster contradict each other: names are unique in a cluster; leave one out"
    )]
    DuplicateNamesInCluster,
    /// Origins of web pages without a web listener.
    #[error("--allow-origin goes with a web listener: add --listen ws://ADDR:PORT or wss://ADDR:PORT")]
    AllowOrigin,
    /// Lines that are never commands, and a page that runs commands: holds the web listener.
    #[error(
        "--plain and --listen {0} contradict each other: the page needs commands; leave --plain out, or listen at tcp:// \
         or tls:// alone"
    )]
    PlainWeb(ListenAddress),
    /// A TLS listener without a certificate.
    #[error("--listen {0} wants a certificate and its key: add --tls-cert FILE and --tls-key FILE")]
    NoCertificate(ListenAddress),
    /// A certificate that no listener uses.
    #[error("--tls-cert and --tls-key go with a TLS listener: add --listen tls://ADDR:PORT, wss://ADDR:PORT or fd:tls")]
    NoTlsListener,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp { ip: None, port: DEFAULT_PORT }.into()],
            is_listen_given: false,
            socket_mode: None,
            tls: None,
            allow_origin: Vec::new(),
            workers: None,
            max_connections: None,
            max_per_address: 50,
            connect_rate: 20,
            connect_burst: NonZeroU32::MIN.saturating_add(99),
            exempt: PeerNetworks::default(),
            trust: PeerNetworks::default(),
            memory: None,
        }
    }
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { inbox_bytes: 1 << 20, history_lines: 100, replay_lines: 0, allow_duplicate_names: false, max_rooms: 0 }
    }
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            max_line: 20_000,
            login_timeout: Duration::from_secs(30),
            rate: 100,
            burst: NonZeroU32::MIN.saturating_add(999),
            byte_rate: 128 << 10,
            byte_burst: NonZeroU32::MIN.saturating_add((1 << 20) - 1),
            backlog: 1 << 20,
            slow_reader: SlowReader::Skip,
            stall_timeout: Duration::from_secs(60),
            idle_timeout: Duration::ZERO,
            dead_timeout: Duration::from_secs(60),
            commands: true,
            drain: Duration::from_secs(5),
            bell: true,
        }
    }
}

impl Settings {
    /// Returns the settings if no two of them contradict each other.
    ///
    /// # Errors
    /// [`SettingsError`] for the first contradiction found.
    pub fn validate(self) -> Result<Self, SettingsError> {
        let (rooms, live) = (&self.rooms, &self.live);
        if rooms.replay_lines > rooms.history_lines {
            return Err(SettingsError::Replay { replay: rooms.replay_lines, history: rooms.history_lines });
        }
        if live.stall_timeout > live.dead_timeout && !live.dead_timeout.is_zero() {
            return Err(SettingsError::Stall { stall: live.stall_timeout, dead: live.dead_timeout });
        }
        if live.max_line < MIN_MAX_LINE {
            return Err(SettingsError::MaxLine(live.max_line));
        }
        if live.byte_rate > 0 && live.byte_burst.get() as usize <= live.max_line {
            return Err(SettingsError::ByteBurst { burst: live.byte_burst.get(), max_line: live.max_line });
        }
        if let Some(memory) = self.network.memory.map(u64::from) {
            let queues = [("--max-line", live.max_line), ("--backlog", live.backlog), ("--inbox", rooms.inbox_bytes)];
            let larger = queues.into_iter().find(|(_, size)| *size != usize::MAX && *size as u64 > memory);
            if let Some((flag, size)) = larger {
                return Err(SettingsError::Memory { memory, flag, size });
            }
            if memory < MIN_MEMORY as u64 {
                return Err(SettingsError::LittleMemory(memory));
            }
        }
        let has_unix_listener = self.network.listen.iter().any(|url| matches!(url.address, ListenAddress::Unix(_)));
        if self.network.socket_mode.is_some() && !has_unix_listener {
            return Err(SettingsError::SocketMode);
        }
        if self.cluster.is_on() && self.cluster.node.is_none() {
            return Err(SettingsError::NoNode);
        }
        if self.cluster.keeps_history() && self.rooms.history_lines == 0 {
            return Err(SettingsError::NoHistory);
        }
        if self.cluster.is_on() && self.rooms.allow_duplicate_names {
            return Err(SettingsError::DuplicateNamesInCluster);
        }
        if !self.network.allow_origin.is_empty() && !self.network.listen.iter().any(|url| url.address.is_web()) {
            return Err(SettingsError::AllowOrigin);
        }
        let web_listener = self.network.listen.iter().find(|url| url.address.is_web());
        if let Some(url) = web_listener.filter(|_| !self.live.commands) {
            return Err(SettingsError::PlainWeb(url.address.clone()));
        }
        let tls_listener = self.network.listen.iter().find(|url| url.address.is_tls());
        match (tls_listener, &self.network.tls) {
            (Some(url), None) => Err(SettingsError::NoCertificate(url.address.clone())),
            (None, Some(_)) => Err(SettingsError::NoTlsListener),
            _ => Ok(self),
        }
    }
}

impl SlowReader {
    /// The names of both, as `--slow-reader` takes them.
    pub const NAMES: [&str; 2] = ["skip", "kick"];

    /// Returns the name that `--slow-reader` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl FromStr for SlowReader {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Skip, Self::Kick].into_iter().find(|known| known.as_str() == name);
        known.ok_or_else(|| "skip or kick is wanted".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_do_not_contradict_each_other() {
        assert_eq!(Settings::default().validate(), Ok(Settings::default()));
    }

    #[test]
    fn a_contradiction_is_named_with_both_values_and_the_way_out() {
        let told = error(|settings| settings.rooms.replay_lines = 200);
        assert_eq!(told, "--replay 200 is more than --history 100: lower --replay or raise --history");
        let told = error(|settings| settings.live.dead_timeout = Duration::from_secs(3));
        assert!(told.starts_with("--stall-timeout 1m is longer than --dead-timeout 3s"), "{told}");
        let told = error(|settings| settings.live.max_line = 46);
        assert!(told.starts_with("--max-line 46 is too small for a JOIN line"), "{told}");
        let told = error(|settings| settings.live.max_line = 1 << 20);
        assert!(told.starts_with("--byte-burst 1MiB is too small for a line of --max-line 1MiB and its end"), "{told}");
        let told = error(|settings| settings.network.memory = NonZeroU64::new(1 << 19));
        assert!(told.starts_with("--memory 512.0KiB is less than --backlog 1MiB"), "{told}");
        let told = error(|settings| settings.network.socket_mode = Some(0o660));
        assert!(told.starts_with("--socket-mode goes with a Unix listener"), "{told}");
        let told = error(|settings| settings.network.listen.push("tls://:6697".parse().unwrap()));
        assert_eq!(
            told,
            "--listen tls://:6697 wants a certificate and its key: add --tls-cert FILE and --tls-key FILE"
        );
        let told = error(|settings| {
            settings.live.commands = false;
            settings.network.listen.push("ws://:8080".parse().unwrap());
        });
        assert!(told.starts_with("--plain and --listen ws://:8080 contradict each other"), "{told}");
        let files = TlsFiles { certificate: "cert.pem".into(), key: "key.pem".into() };
        let told = error(|settings| settings.network.tls = Some(files));
        assert_eq!(
            told,
            "--tls-cert and --tls-key go with a TLS listener: add --listen tls://ADDR:PORT, wss://ADDR:PORT or fd:tls"
        );
    }

    #[test]
    fn the_longest_join_line_fits_the_smallest_bound() {
        let longest = format!("JOIN {} {}\r", "r".repeat(20), "u".repeat(20));
        assert_eq!(longest.len(), MIN_MAX_LINE);
    }

    #[test]
    fn lifted_bound_contradicts_no_other() {
        let mut settings = Settings::default();
        (settings.live.backlog, settings.rooms.inbox_bytes) = (usize::MAX, usize::MAX);
        settings.network.memory = NonZeroU64::new(1 << 20);
        (settings.live.dead_timeout, settings.live.byte_rate) = (Duration::ZERO, 0);
        settings.live.max_line = 1 << 20;
        assert_eq!(settings.clone().validate(), Ok(settings));
    }
}
