//! Values: how the values of flags are parsed, and how the help shows their defaults.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use roomcast::config::units::{show_duration, show_size};
use roomcast::config::{ClusterOrder, DEFAULT_PORT, LogFormat, LogLevel, Settings, SlowReader};

/// How a switch is written: off and on.
const SWITCH: [&str; 2] = ["off", "on"];

/// Returns how the help shows the default of an argument; `None` where the help's text says it, or there is none.
pub(super) fn default_of(id: &str, Settings { network, rooms, live, log, cluster, .. }: &Settings) -> Option<String> {
    Some(match id {
        "port" => DEFAULT_PORT.to_string(),
        "max_per_address" => network.max_per_address.to_string(),
        "connect_rate" => network.connect_rate.to_string(),
        "connect_burst" => network.connect_burst.to_string(),
        "exempt" => network.exempt.to_string(),
        "trust" => network.trust.to_string(),
        "max_line" => live.max_line.to_string(),
        "login_timeout" => show_duration(live.login_timeout),
        "rate" => live.rate.to_string(),
        "burst" => live.burst.to_string(),
        "byte_rate" => show_size(live.byte_rate as usize) + "/s",
        "byte_burst" => show_size(live.byte_burst.get() as usize),
        "backlog" => show_size(live.backlog),
        "slow_reader" => live.slow_reader.as_str().to_owned(),
        "stall_timeout" => show_duration(live.stall_timeout),
        "idle_timeout" => "never".to_owned(),
        "dead_timeout" => show_duration(live.dead_timeout),
        "drain" => show_duration(live.drain),
        "bell" => SWITCH[usize::from(live.bell)].to_owned(),
        "max_rooms" => rooms.max_rooms.to_string(),
        "inbox" => show_size(rooms.inbox_bytes),
        "history" => rooms.history_lines.to_string(),
        "replay" => rooms.replay_lines.to_string(),
        "history_for" => show_duration(cluster.history_for),
        "history_size" => show_size(usize::try_from(cluster.history_size.get()).unwrap_or(usize::MAX)),
        "log_level" => log.level.to_string(),
        "log_format" => log.format.as_str().to_owned(),
        _ => return None,
    })
}

/// Reads a file mode in octal, also with the `0o` of a number in a configuration file.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permission bits in octal are wanted, as 0660".to_owned())
}

pub(super) fn slow_reader_parser() -> impl TypedValueParser<Value = SlowReader> {
    PossibleValuesParser::new(SlowReader::NAMES).try_map(|name| name.parse::<SlowReader>())
}

pub(super) fn cluster_order_parser() -> impl TypedValueParser<Value = ClusterOrder> {
    PossibleValuesParser::new(ClusterOrder::NAMES)
        .map(|name| if name == ClusterOrder::Total.name() { ClusterOrder::Total } else { ClusterOrder::Sender })
}

pub(super) fn log_level_parser() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LogLevel::NAMES).try_map(|name| name.parse::<LogLevel>())
}

pub(super) fn log_format_parser() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::NAMES).try_map(|name| name.parse::<LogFormat>())
}

/// Reads `on` or `off`.
pub(super) fn switch_parser() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(SWITCH).map(|name| name == SWITCH[1])
}
