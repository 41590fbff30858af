//! Log settings: which records are written and in which form, and the values in force, which change at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use tracing::callsite::rebuild_interest_cache;
use tracing::level_filters::LevelFilter;

/// The least important records that are written; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// No record.
    Off,
    /// Failures of the server itself.
    Error,
    /// Conditions that an operator has to know.
    #[default]
    Warn,
    /// Each connection.
    Info,
    /// Each join.
    Debug,
    /// Each delivery pass.
    Trace,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The settings of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important records that are written.
    pub level: LogLevel,
    /// Their form.
    pub format: LogFormat,
}

/// The settings of the log in force now: the log's writer reads them for each record.
///
/// All accesses are relaxed: a record that is written at the moment of a change may follow either value.
#[derive(Debug)]
pub struct LiveLog {
    /// The place of the level in [`LogLevel::ALL`].
    level: AtomicU8,
    /// The place of the format in [`LogFormat::ALL`].
    format: AtomicU8,
}

impl LogLevel {
    /// The names, as `--log-level` takes them, from the fewest records to the most.
    pub const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Every level, in the order of [`LogLevel::NAMES`].
    const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Returns the name that `--log-level` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Returns the level as a bound for the records of `tracing`.
    #[must_use]
    pub fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl LogFormat {
    /// The names, as `--log-format` takes them.
    pub const NAMES: [&str; 2] = ["text", "json"];

    /// Every format, in the order of [`LogFormat::NAMES`].
    const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Returns the name that `--log-format` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == name);
        known.ok_or_else(|| format!("one of {} is wanted", Self::NAMES.join(", ")))
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == name);
        known.ok_or_else(|| "text or json is wanted".to_owned())
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LiveLog {
    /// Puts `settings` in force.
    #[must_use]
    pub fn new(LogSettings { level, format }: LogSettings) -> Self {
        Self { level: AtomicU8::new(level as u8), format: AtomicU8::new(format as u8) }
    }

    /// Returns the settings in force.
    #[must_use]
    pub fn get(&self) -> LogSettings {
        let level = usize::from(self.level.load(Ordering::Relaxed));
        let format = usize::from(self.format.load(Ordering::Relaxed));
        LogSettings { level: LogLevel::ALL[level], format: LogFormat::ALL[format] }
    }

    /// Puts another level in force for all records from now on; the form stays.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
        // Each place in the code that logs has cached whether its records are wanted.
        rebuild_interest_cache();
    }

    /// Puts other settings in force for all records from now on.
    pub fn replace(&self, LogSettings { level, format }: LogSettings) {
        self.format.store(format as u8, Ordering::Relaxed);
        self.set_level(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_formats_are_read_and_shown_alike() {
        for name in LogLevel::NAMES {
            assert_eq!(name.parse::<LogLevel>().unwrap().to_string(), name);
        }
        for name in LogFormat::NAMES {
            assert_eq!(name.parse::<LogFormat>().unwrap().as_str(), name);
        }
        assert_eq!("loud".parse::<LogLevel>().unwrap_err(), "one of off, error, warn, info, debug, trace is wanted");
        assert_eq!("xml".parse::<LogFormat>().unwrap_err(), "text or json is wanted");
    }

    #[test]
    fn replaced_settings_are_read_back_for_each_level_and_format() {
        let live = LiveLog::new(LogSettings::default());
        assert_eq!(live.get(), LogSettings { level: LogLevel::Warn, format: LogFormat::Text });
        for level in LogLevel::ALL {
            for format in LogFormat::ALL {
                live.replace(LogSettings { level, format });
                assert_eq!(live.get(), LogSettings { level, format });
            }
        }
    }

    #[test]
    fn each_level_includes_the_levels_before_it() {
        assert!(LogLevel::ALL.is_sorted() && LogLevel::ALL.map(LogLevel::filter).is_sorted());
    }
}
