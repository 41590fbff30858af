//! The `loadtest` program.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use loadtest::scenario::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse_from(with_default(std::env::args_os().collect()));
    match loadtest::app::run(&cli) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            match error.downcast_ref::<loadtest::plan::Impossible>() {
                Some(_) => 2.into(),
                None => 3.into(),
            }
        }
    }
}

/// Without a scenario it is `steady`: put in where options alone, or nothing, were given.
fn with_default(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let asks = |argument: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|word| argument == word);
    let first = arguments.get(1);
    if first.is_none_or(|first| first.to_string_lossy().starts_with('-') && !asks(first)) {
        arguments.insert(1, "steady".into());
    }
    arguments
}
