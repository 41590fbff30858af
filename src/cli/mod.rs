//! Command line: arguments into settings, logging, signals of the operating system, and what the operator reads.
//!
//! The program's process lives here: exit codes, stdout and stderr. Nothing here serves a connection.

mod admission_args;
mod args;
mod logging;
mod motd_file;
mod os_signals;
mod report;
mod tls_args;
mod values;

use roomcast::limits::memory::memory_of_one_peer;
use roomcast::{RESERVED_FILES, Server, Settings, StartError};
use std::num::NonZeroUsize;
use std::process::ExitCode;

/// The polls of tasks after which a busy worker asks the system for events. The runtime's own interval is 61 polls, by
/// which busy connections would delay the input of all others.
const EVENT_INTERVAL: u32 = 8;

/// Runs the program; returns its exit code: 0 after a graceful end, 2 for wrong arguments or a file of theirs, 1 for any other failure.
pub(crate) fn main() -> ExitCode {
    let (settings, verbosity) = match args::parse() {
        Ok(parsed) => parsed,
        Err(error) => return report::usage_error(&error),
    };
    // Kept until the end: its drop writes what is left of the log.
    let _log = logging::start(verbosity);
    match run(&settings, verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("{error:#}"));
            let is_mistake = matches!(error.downcast_ref(), Some(StartError::Certificate(_)));
            if is_mistake { ExitCode::from(report::MISTAKE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(settings: &Settings, verbosity: u8) -> anyhow::Result<()> {
    let connections = max_connections(settings.network.max_connections);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.network.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = runtime.event_interval(EVENT_INTERVAL).enable_all().build()?;
    let bounds = (verbosity > 0).then(|| settings.bounds(connections));
    runtime.block_on(async {
        let signals = os_signals::listen()?;
        let server = Server::bind(settings, connections)?;
        let memory =
            (server.stats().memory().ceiling(), memory_of_one_peer(settings.live.backlog, settings.live.max_line));
        report::greet(&server.addresses(), bounds.as_deref(), memory);
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
