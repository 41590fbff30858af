//! The `roomcast` program: arguments, logging, signals and the exit code; nothing else.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
