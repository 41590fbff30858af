//! The settings in force as a configuration file: every key with its value and its origin.

use super::config_file::{ConfigFile, is_key, is_switch, key_of};
use super::values::default_of;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use roomcast::Settings;
use roomcast::config::DEFAULT_PORT;
use roomcast::config::units::show_duration;
use std::fmt::Write;

/// The column at which the origins begin, if the value leaves it free.
const ORIGIN_COLUMN: usize = 40;

/// The sources of the settings.
pub(super) struct Shown<'a> {
    pub(super) command: &'a Command,
    pub(super) matches: &'a ArgMatches,
    pub(super) file: Option<&'a ConfigFile>,
}

impl Shown<'_> {
    /// Returns the settings as the text of a configuration file that makes the same settings. Each value has a comment with
    /// its origin: the default, a place in the file, a variable or a flag.
    pub(super) fn render(&self, settings: &Settings) -> String {
        let mut text = format!("# roomcast {}: every setting and its origin\n", env!("CARGO_PKG_VERSION"));
        for arg in self.command.get_arguments().filter(|arg| is_key(arg.get_id().as_str())) {
            let key = key_of(arg.get_id().as_str());
            let (value, origin) = self.value(arg, settings);
            let assignment = match value {
                Some(value) => format!("{key} = {value}"),
                None => format!("#{key} ="),
            };
            let _ = writeln!(text, "{assignment:ORIGIN_COLUMN$} # {origin}");
        }
        text
    }

    /// Returns an argument's value in TOML, if it has one, and its origin.
    fn value(&self, arg: &Arg, settings: &Settings) -> (Option<String>, String) {
        let id = arg.get_id().as_str();
        let source = self.matches.value_source(id);
        let is_verbose = self.matches.value_source("verbose") == Some(ValueSource::CommandLine);
        if id == "log_level" && is_verbose && source != Some(ValueSource::CommandLine) {
            return (Some(toml_string(settings.log.level.as_str())), "flag -v".to_owned());
        }
        let origin = match source {
            Some(ValueSource::CommandLine) if arg.is_positional() => "argument".to_owned(),
            Some(ValueSource::CommandLine) => "flag".to_owned(),
            Some(ValueSource::EnvVariable) => {
                format!("variable {}", arg.get_env().unwrap_or_default().to_string_lossy())
            }
            Some(_) => self.file.and_then(|file| file.place(id)).unwrap_or_default(),
            None => return self.default_value(arg, settings),
        };
        let raw = self.matches.get_raw(id).into_iter().flatten();
        // A value that is no UTF-8 has no form in TOML.
        match raw.map(|value| value.to_str()).collect::<Option<Vec<&str>>>() {
            Some(values) => (Some(toml_values(arg, &values)), origin),
            None => (None, format!("{origin}, no UTF-8")),
        }
    }

    /// Returns the value of an argument that is not given, and its origin.
    fn default_value(&self, arg: &Arg, settings: &Settings) -> (Option<String>, String) {
        let id = arg.get_id().as_str();
        // The port is served where no listener is given. Proxies are trusted where a listener takes their headers.
        let unused = match id {
            "port" if self.matches.value_source("listen").is_some() => Some("not served".to_owned()),
            // A port that is set takes the place of the sockets that a service manager passes, and the default does not.
            "port" if !settings.network.is_listen_given => {
                Some(format!("default: {DEFAULT_PORT}, unless sockets are passed"))
            }
            "trust" if !settings.network.takes_proxy_headers() => Some("no listener with ?proxy".to_owned()),
            _ => None,
        };
        match (in_force(id, settings), unused) {
            (_, Some(unused)) => (None, unused),
            (Some(value), None) => (Some(toml_values(arg, &[&value])), "default".to_owned()),
            (None, None) => (None, described_default(arg).unwrap_or_else(|| "not set".to_owned())),
        }
    }
}

/// Returns the value in force of an argument that is not given, as its flag takes it. It may follow from other settings, so
/// the settings in force say it.
pub(super) fn in_force(id: &str, settings: &Settings) -> Option<String> {
    match id {
        "plain" => Some((!settings.live.commands).to_string()),
        "allow_duplicate_names" => Some(settings.rooms.allow_duplicate_names.to_string()),
        "cluster_name" => Some(settings.cluster.name.to_string()),
        "cluster_order" => Some(settings.cluster.order.name().to_owned()),
        "cluster_replicas" => Some(settings.cluster.replicas.to_string()),
        "cluster_required" => Some(settings.cluster.required.to_string()),
        "history_for" => Some(show_duration(settings.cluster.history_for)),
        "idle_timeout" => Some(show_duration(settings.live.idle_timeout)),
        // A list of values is a value of the flag, too.
        _ => default_of(id, settings),
    }
}

/// Returns how the help describes a default that is no value: `[default: one for each core]`.
fn described_default(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, default) = help.split_once("[default")?;
    let text = format!("default{}", default.split_once(']')?.0);
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns the values of an argument in TOML.
pub(super) fn toml_values(arg: &Arg, values: &[&str]) -> String {
    if matches!(arg.get_action(), ArgAction::Append) {
        let parts = values.iter().flat_map(|value| match arg.get_value_delimiter() {
            Some(delimiter) => value.split(delimiter).collect(),
            None => vec![*value],
        });
        return format!("[{}]", parts.map(toml_string).collect::<Vec<_>>().join(", "));
    }
    match values {
        [value] if is_whole_number(value) => (*value).to_owned(),
        ["on" | "true"] if is_switch(arg) => "true".to_owned(),
        ["off" | "false"] if is_switch(arg) => "false".to_owned(),
        values => toml_string(values.last().copied().unwrap_or_default()),
    }
}

/// Returns whether a text is a whole number in the form in which TOML would show it again.
fn is_whole_number(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}

/// Returns a text as a basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Request, parse};
    use super::*;
    use std::ffi::OsString;
    use std::fs;
    use std::path::PathBuf;

    /// A file of its own in the folder for temporary files, which is removed at the end.
    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("roomcast-show-{name}-{}", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn request(arguments: &[&str]) -> Request {
        let arguments: Vec<OsString> = ["roomcast"].iter().chain(arguments).map(Into::into).collect();
        parse(&arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    fn settings(arguments: &[&str]) -> Settings {
        let Request::Serve(serving) = request(arguments) else { panic!("{arguments:?} print something") };
        serving.settings
    }

    fn shown(arguments: &[&str]) -> String {
        let Request::Print(text) = request(&[arguments, &["--show-config"]].concat()) else {
            panic!("{arguments:?} print nothing")
        };
        text
    }

    /// Returns the line of a key, with single blanks.
    fn line_of(text: &str, key: &str) -> String {
        let begins = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{key} ="));
        let line = text.lines().find(begins).unwrap_or_else(|| panic!("no {key} in {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_value_is_shown_with_its_origin() {
        let file = TemporaryFile::new(
            "origin",
            "# limits\nbacklog = \"3MiB\"\n  exempt = [\"10.0.0.0/8\", \"::1\"]\nplain = true\n",
        );
        let text = shown(&["4000", "--config", file.path(), "--burst", "7", "--bind", "::1", "-v"]);
        for (key, line) in [
            ("port", "port = 4000 # argument".to_owned()),
            ("bind", "bind = [\"::1\"] # flag".to_owned()),
            ("burst", "burst = 7 # flag".to_owned()),
            ("backlog", format!("backlog = \"3MiB\" # {}:2:1", file.path())),
            ("exempt", format!("exempt = [\"10.0.0.0/8\", \"::1\"] # {}:3:3", file.path())),
            ("plain", format!("plain = true # {}:4:1", file.path())),
            ("rate", "rate = 100 # default".to_owned()),
            ("idle-timeout", "idle-timeout = \"0s\" # default".to_owned()),
            ("bell", "bell = true # default".to_owned()),
            ("allow-duplicate-names", "allow-duplicate-names = false # default".to_owned()),
            ("workers", "#workers = # default: one for each core".to_owned()),
            ("listen", "#listen = # not set".to_owned()),
            ("log-level", "log-level = \"info\" # flag -v".to_owned()),
        ] {
            assert_eq!(line_of(&text, key), line);
        }
    }

    #[test]
    fn flag_comes_before_the_file() {
        let file = TemporaryFile::new("flag", "rate = 7\nplain = true\nexempt = 'none'\nlog-level = 'debug'\n");
        let arguments = ["--config", file.path(), "--rate=9", "--plain=false", "--exempt=unix", "-v"];
        let text = shown(&arguments);
        assert_eq!(line_of(&text, "rate"), "rate = 9 # flag");
        assert_eq!(line_of(&text, "plain"), "plain = false # flag");
        assert_eq!(line_of(&text, "exempt"), "exempt = [\"unix\"] # flag");
        assert_eq!(line_of(&text, "log-level"), "log-level = \"info\" # flag -v");
        let settings = settings(&arguments);
        assert_eq!((settings.live.rate, settings.live.commands), (9, true));
        assert_eq!(settings.network.exempt.to_string(), "unix");
    }

    #[test]
    fn default_that_follows_another_setting_is_shown_as_it_is_in_force() {
        let text = shown(&["--dead-timeout", "3s", "--max-line", "2MiB"]);
        assert_eq!(line_of(&text, "stall-timeout"), "stall-timeout = \"3s\" # default");
        assert_eq!(line_of(&text, "byte-burst"), "byte-burst = \"2097153B\" # default");
    }

    #[test]
    fn shown_text_makes_the_same_settings() {
        let motd = TemporaryFile::new("motd \\ \"one\"", "be kind");
        let cases: [&[&str]; 6] = [
            &[],
            &["4000", "--bind", "127.0.0.1", "--bind", "::1"],
            &["--listen", "tcp://127.0.0.1:0", "--listen", "unix:/tmp/a b", "--socket-mode", "0600", "--workers", "3"],
            &[
                "--dead-timeout",
                "3s",
                "--max-line",
                "2MiB",
                "--backlog",
                "0",
                "--idle-timeout",
                "0",
                "--memory",
                "4GiB",
            ],
            &["--plain", "--bell", "off", "--allow-duplicate-names", "--exempt", "none", "--byte-rate", "64KiB/s"],
            &["--motd", motd.path(), "-vv", "--log-format", "json", "--max-connections", "10", "--replay", "7"],
        ];
        for arguments in cases {
            let text = shown(arguments);
            let file = TemporaryFile::new("round", &text);
            assert_eq!(settings(&["--config", file.path()]), settings(arguments), "{text}");
            let again = shown(&["--config", file.path()]);
            let values = |text: &str| {
                text.lines().map(|line| line.split(" # ").next().unwrap().trim_end().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(values(&again), values(&text));
        }
    }

    #[test]
    fn text_is_quoted_for_toml() {
        assert_eq!(toml_string("a\"b\\c\n\u{7F}é"), "\"a\\\"b\\\\c\\u000A\\u007Fé\"");
    }
}
