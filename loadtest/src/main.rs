//! The `loadtest` program.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use loadtest::interrupt;
use loadtest::scenario::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse_from(with_default_scenario(std::env::args_os().collect()));
    let result = interrupt::install_handlers().map_err(Into::into).and_then(|()| loadtest::app::run(&cli));
    if let Some(signal) = interrupt::caught_signal() {
        if let Err(error) = result {
            eprintln!("loadtest: {error:#}");
        }
        return signal.exit_code().into();
    }
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            match error.downcast_ref::<loadtest::plan::UsageError>() {
                Some(_) => 2.into(),
                None => 3.into(),
            }
        }
    }
}

/// Inserts the scenario `steady` where the arguments name no scenario and do not ask for help.
fn with_default_scenario(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let asks_for_help = |argument: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|word| argument == word);
    let scenarios = Cli::command();
    let scenario = |argument: &OsString| scenarios.get_subcommands().any(|scenario| argument == scenario.get_name());
    let options = arguments.get(1).is_none_or(|first| first.to_string_lossy().starts_with('-'));
    if options && !arguments.iter().skip(1).any(|argument| asks_for_help(argument) || scenario(argument)) {
        arguments.insert(1, "steady".into());
    }
    arguments
}
