//! Command line: arguments into settings, logging, signals of the operating system, and what the operator reads.
//!
//! The program's process lives here: exit codes, stdout and stderr. Nothing here serves a connection.

mod admin_args;
mod admin_hooks;
mod admission_args;
mod args;
mod config_args;
mod config_file;
mod ctl;
mod ctl_tables;
#[cfg(test)]
mod example_config;
mod log_args;
mod logging;
mod metrics_args;
mod motd_file;
mod os_signals;
mod parse;
mod report;
mod show_config;
mod tls_args;
mod values;

use logging::Log;
use parse::{Request, Serving};
use roomcast::limits::memory::memory_of_one_peer;
use roomcast::{RESERVED_FILES, Server, StartError};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process::ExitCode;

/// The polls of tasks after which a busy worker asks the system for events. The runtime's own interval is 61 polls, by
/// which busy connections would delay the input of all others.
const EVENT_INTERVAL: u32 = 8;

/// Runs the program, or sends a command to a running one; returns its exit code: 0 after a graceful end, 2 for wrong
/// arguments or a file of theirs, 1 for any other failure.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before the server's own arguments are read: its variables need not be right for a command to it.
    if arguments.get(1).is_some_and(|first| first == ctl::WORD) {
        return ctl::main(&arguments[1..]);
    }
    let serving = match parse::parse(&arguments) {
        Ok(Request::Serve(serving)) => serving,
        Ok(Request::Print(text)) => {
            report::print(&text);
            return ExitCode::SUCCESS;
        }
        Err(error) => return report::usage_error(&error),
    };
    // Kept until the end: its drop writes what is left of the log.
    let log = Log::start(serving.settings.log, serving.is_verbose);
    match run(&serving, arguments, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("{error:#}"));
            let is_mistake = matches!(error.downcast_ref(), Some(StartError::Certificate(_)));
            if is_mistake { ExitCode::from(report::MISTAKE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(serving: &Serving, arguments: Vec<OsString>, log: &Log) -> anyhow::Result<()> {
    let Serving { settings, is_verbose, has_file } = serving;
    let connections = max_connections(settings.network.max_connections);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.network.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = runtime.event_interval(EVENT_INTERVAL).enable_all().build()?;
    let bounds = is_verbose.then(|| settings.bounds(connections));
    runtime.block_on(async {
        let (signals, reload) = os_signals::listen(*has_file)?;
        let mut server = Server::bind(settings, connections)?;
        let drops = log.drops();
        server.count_log_drops(move || drops.count() as u64);
        let memory =
            (server.stats().memory().ceiling(), memory_of_one_peer(settings.live.backlog, settings.live.max_line));
        report::greet(&server.addresses(), server.metrics_address(), bounds.as_deref(), memory);
        let handle = server.handle(log.live(), move || parse::read_settings(&arguments));
        server.set_admin_hooks(admin_hooks::admin_hooks(handle.clone(), log.live()));
        if let Some(reload) = reload {
            tokio::spawn(reload.reload_at_each(handle));
        }
        tokio::spawn(log.drops().report_now_and_then());
        server.run(signals.first()).await;
        anyhow::Ok(())
    })
}

/// Raises the limit of open files as far as it goes; returns how many connections there may be.
fn max_connections(wanted: Option<NonZeroUsize>) -> usize {
    let files =
        rlimit::increase_nofile_limit(u64::MAX).map_or(1024, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let most = files.saturating_sub(RESERVED_FILES).max(1);
    match wanted.map(usize::from) {
        Some(wanted) if wanted > most => {
            report::complain(&format!(
                "--max-connections {wanted} is cut to {most}: only {files} files may be open, raise it with ulimit -n {}",
                wanted.saturating_add(RESERVED_FILES)
            ));
            most
        }
        Some(wanted) => wanted,
        None => most,
    }
}
