//! Parsing: arguments, variables and the configuration file into settings, at the start and at each reload.

use super::args::Args;
use super::config_args::ConfigArgs;
use super::config_file::{ConfigFile, FileError};
use super::motd_file::read_motd;
use super::report::one_line;
use super::show_config::Shown;
use super::values::default_of;
use clap::builder::StyledStr;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use roomcast::{Settings, TlsAcceptor};
use std::ffi::OsString;
use std::fmt;

/// The request that the arguments make.
#[derive(Debug)]
pub(super) enum Request {
    /// To serve.
    Serve(Box<Serving>),
    /// To print this and exit.
    Print(String),
}

/// The settings to serve with.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) settings: Settings,
    /// Whether `-v` is given: the log goes to stdout, and the bounds are printed.
    pub(super) is_verbose: bool,
    /// Whether the settings come from a configuration file, too, so that they can be read again.
    pub(super) has_file: bool,
}

/// Why the arguments make no settings.
#[derive(Debug)]
pub(super) enum ArgsError {
    /// A flag or its value is wrong; also the request for help or the version.
    Clap(clap::Error),
    /// The configuration file is wrong: the first mistake, or each one where the file is to be checked.
    File(Vec<FileError>),
    /// Two settings contradict each other, or a file that they name can't be used. One line, which names the places of the
    /// settings that come from the configuration file.
    Settings(String),
}

impl Serving {
    /// Adds the sockets that the service manager has passed, by their names.
    ///
    /// # Errors
    /// [`ArgsError::Settings`] if they do not fit the listeners.
    pub(super) fn with_activated_sockets(mut self: Box<Self>, names: &[String]) -> Result<Box<Self>, ArgsError> {
        self.settings =
            self.settings.with_activated_sockets(names).map_err(|error| ArgsError::Settings(error.to_string()))?;
        Ok(self)
    }
}

/// Reads the arguments, whose first one is the program's name, the variables of the process, and the configuration file.
///
/// # Errors
/// [`ArgsError`], also for `--help` and `--version`.
pub(super) fn parse(arguments: &[OsString]) -> Result<Request, ArgsError> {
    let command = command();
    let matches = command.clone().try_get_matches_from(arguments).map_err(ArgsError::Clap)?;
    let Args { config, log, .. } = Args::from_arg_matches(&matches).map_err(ArgsError::Clap)?;
    let ConfigArgs { config: path, check_config, show_config } = config;
    let file = path.as_ref().map(|path| ConfigFile::read(path, &command)).transpose().map_err(|mut errors| {
        errors.truncate(if check_config { errors.len() } else { 1 });
        ArgsError::File(errors)
    })?;
    let matches = match &file {
        Some(file) => file.set_defaults(command.clone()).try_get_matches_from(arguments).map_err(ArgsError::Clap)?,
        None => matches,
    };
    let settings = settings_of(&matches, file.as_ref())?;
    if check_config {
        let missing = || ArgsError::Settings("--check-config has no file to check: add --config FILE".to_owned());
        let path = path.ok_or_else(missing)?;
        check_certificate(&settings, &matches, file.as_ref())?;
        return Ok(Request::Print(format!("{}: ok\n", path.display())));
    }
    if show_config {
        return Ok(Request::Print(
            Shown { command: &command, matches: &matches, file: file.as_ref() }.render(&settings),
        ));
    }
    Ok(Request::Serve(Box::new(Serving { settings, is_verbose: log.is_verbose(), has_file: file.is_some() })))
}

/// Reads the settings again, for a reload.
///
/// # Errors
/// One line that names the mistake and its place.
pub(super) fn read_settings(arguments: &[OsString]) -> Result<Settings, String> {
    match parse(arguments).map_err(|error| error.to_string())? {
        Request::Serve(serving) => Ok(serving.settings),
        Request::Print(_) => Err("the arguments ask for no server".to_owned()),
    }
}

/// Returns the settings that arguments, variables and the configuration file say now, as a configuration file.
///
/// # Errors
/// One line that names the mistake and its place.
pub(super) fn shown_settings(arguments: &[OsString]) -> Result<String, String> {
    let arguments: Vec<OsString> = arguments.iter().cloned().chain(["--show-config".into()]).collect();
    match parse(&arguments).map_err(|error| error.to_string())? {
        Request::Print(text) => Ok(text),
        Request::Serve(_) => Err("the settings can't be shown: this is a bug".to_owned()),
    }
}

/// Returns the settings that the matches make, checked, with the message of the day.
fn settings_of(matches: &ArgMatches, file: Option<&ConfigFile>) -> Result<Settings, ArgsError> {
    let args = Args::from_arg_matches(matches).map_err(ArgsError::Clap)?;
    let (motd, admin) = (args.motd(), args.admin.clone());
    let level_is_flag = matches.value_source("log_level") == Some(ValueSource::CommandLine);
    let settings = args.into_settings(level_is_flag).and_then(Settings::validate);
    let mut settings = settings.map_err(|error| {
        let message = error.to_string();
        ArgsError::Settings(with_places(&message, named_arguments(&message), matches, file))
    })?;
    let motd = motd.map(read_motd).transpose().map_err(|error| {
        ArgsError::Settings(with_places(&error.to_string(), vec!["motd".to_owned()], matches, file))
    })?;
    settings.motd = motd;
    settings.moderation = admin.into_settings().map_err(|error| {
        ArgsError::Settings(with_places(&error.to_string(), vec!["bans".to_owned()], matches, file))
    })?;
    Ok(settings)
}

/// Checks that the files of the TLS certificate can be used. At the start the server reads them when it binds.
fn check_certificate(settings: &Settings, matches: &ArgMatches, file: Option<&ConfigFile>) -> Result<(), ArgsError> {
    let checked = settings.network.tls.as_ref().map(TlsAcceptor::prepare).transpose();
    checked.map(drop).map_err(|error| {
        let ids = ["tls_cert", "tls_key"].map(str::to_owned).to_vec();
        ArgsError::Settings(with_places(&error.to_string(), ids, matches, file))
    })
}

/// Returns the ids of the arguments that a message about settings names by their flags or variables, in its order.
fn named_arguments(message: &str) -> Vec<String> {
    let words = message.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    let ids = words.filter_map(|word| {
        let flag = word.strip_prefix("--").map(|flag| flag.replace('-', "_"));
        flag.or_else(|| word.strip_prefix("ROOMCAST_").map(str::to_lowercase))
    });
    ids.fold(Vec::new(), |mut named, id| {
        if !named.contains(&id) {
            named.push(id);
        }
        named
    })
}

/// Returns a message about arguments with the places of those that the configuration file sets: the first place before it,
/// the others after it.
fn with_places(message: &str, ids: Vec<String>, matches: &ArgMatches, file: Option<&ConfigFile>) -> String {
    let of_file = ids.into_iter().filter(|id| {
        let is_argument = matches.ids().any(|known| known.as_str() == id);
        is_argument && matches.value_source(id) == Some(ValueSource::DefaultValue)
    });
    let mut places = of_file.filter_map(|id| Some((file?.place(&id)?, id)));
    let Some((first, _)) = places.next() else { return message.to_owned() };
    let others: Vec<String> = places.map(|(place, id)| format!("--{} at {place}", id.replace('_', "-"))).collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("{first}: {message}{others}")
}

/// Returns the command with each default in its help. A variable that is empty counts as unset.
pub(super) fn command() -> Command {
    let defaults = Settings::default();
    super::ctl::add_to(Args::command()).mut_args(move |arg| {
        let is_empty = arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        // No variable has an empty name, so this one is unset.
        let arg = if is_empty { arg.env("").hide_env(true) } else { arg };
        match (default_of(arg.get_id().as_str(), &defaults), arg.get_help()) {
            (Some(default), Some(help)) => {
                let help = StyledStr::from(format!("{help} [default: {default}]"));
                arg.help(help)
            }
            _ => arg,
        }
    })
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clap(error) => f.write_str(&one_line(&error.to_string())),
            Self::File(errors) => {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Settings(message) => f.write_str(message),
        }
    }
}
