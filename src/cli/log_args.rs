//! Arguments of the log: what is logged, and in which form.

use super::values::{log_format_parser, log_level_parser};
use roomcast::config::{LogFormat, LogLevel, LogSettings};

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Log to stdout: -v connections, -vv joins, too, -vvv every delivery pass; also prints the bounds in force. The flag
    /// --log-level sets another level for the log on stdout
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    /// The records that are logged, to stderr unless -v is given: warn is what an operator has to know, info adds
    /// connections, debug joins, trace every delivery pass
    #[arg(long, value_name = "off|error|warn|info|debug|trace", env = "ROOMCAST_LOG_LEVEL",
          value_parser = log_level_parser(), hide_possible_values = true)]
    log_level: Option<LogLevel>,

    /// The form of the log: lines for people, or a JSON object a line
    #[arg(long, value_name = "text|json", env = "ROOMCAST_LOG_FORMAT", value_parser = log_format_parser(),
          hide_possible_values = true)]
    log_format: Option<LogFormat>,
}

impl LogArgs {
    /// Returns whether `-v` is given.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Returns the settings of the log. `-v` is a flag: it comes before a level that is no flag, and after one that is.
    pub(super) fn into_settings(self, level_is_flag: bool) -> LogSettings {
        let default = LogSettings::default();
        let verbose = match self.verbose {
            0 => None,
            1 => Some(LogLevel::Info),
            2 => Some(LogLevel::Debug),
            _ => Some(LogLevel::Trace),
        };
        let level = if level_is_flag { self.log_level.or(verbose) } else { verbose.or(self.log_level) };
        LogSettings { level: level.unwrap_or(default.level), format: self.log_format.unwrap_or(default.format) }
    }
}
