//! The environment of a measurement: machine, compiler, commit and command.

use loadtest::machine::Machine;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// Changes below this path are results, and not changes of the measured code.
const RESULTS: &str = ":(exclude)benches/results";

/// The environment of one run.
#[derive(Serialize)]
pub(super) struct Environment {
    machine: Machine,
    /// The server's version.
    roomcast: &'static str,
    rustc: String,
    /// The commit, with `-dirty` if the tree had changes.
    commit: String,
    /// The command that was run.
    command: String,
}

impl Environment {
    /// Returns the environment of this process.
    pub(super) fn here(bench: &str) -> Self {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let rustc = output_of(Command::new(rustc).arg("--version")).unwrap_or_else(|| "unknown".into());
        Self {
            machine: Machine::here(),
            roomcast: env!("CARGO_PKG_VERSION"),
            rustc: rustc.trim_start_matches("rustc ").to_owned(),
            commit: commit().unwrap_or_else(|| "unknown".into()),
            command: command(bench),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, cpu, kernel, .. } = &self.machine;
        let Self { roomcast, rustc, commit, command, .. } = self;
        writeln!(f, "Roomcast {roomcast} at `{commit}`, rustc {rustc}, {cores} cores ({cpu}), Linux {kernel};")?;
        write!(f, "`{command}`.")
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| output_of(Command::new("git").args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", RESULTS])?;
    Some(if changes.is_empty() { commit } else { commit + "-dirty" })
}

/// Returns the command that repeats this bench.
fn command(bench: &str) -> String {
    // An absolute directory exists only on this machine, so the command leaves it out.
    let directory = std::env::var(super::DIRECTORY).ok().filter(|directory| Path::new(directory).is_relative());
    let variable = directory.map(|directory| format!("{}={directory} ", super::DIRECTORY)).unwrap_or_default();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments = if arguments.is_empty() { String::new() } else { format!(" -- {}", arguments.join(" ")) };
    format!("{variable}cargo bench --bench {bench}{arguments}")
}

/// Returns a program's output, if it succeeds.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
