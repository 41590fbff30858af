//! The `loadtest` program.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use loadtest::interrupt;
use loadtest::output::console::print_note;
use loadtest::scenario::Cli;

fn main() -> ExitCode {
    let result = run();
    if let Some(signal) = interrupt::caught_signal() {
        if let Err(error) = result {
            print_note(&format!("loadtest: {error:#}"));
        }
        return signal.exit_code().into();
    }
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            print_note(&format!("loadtest: {error:#}"));
            match error.downcast_ref::<loadtest::plan::UsageError>() {
                Some(_) => 2.into(),
                None => 3.into(),
            }
        }
    }
}

/// Runs the command line, and returns the exit code.
fn run() -> anyhow::Result<u8> {
    let cli = Cli::parse_command_line(with_default_scenario(std::env::args_os().collect()))?;
    interrupt::install_handlers()?;
    loadtest::app::run(&cli)
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
