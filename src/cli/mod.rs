//! Command line: arguments into settings, logging, signals of the operating system, and what the operator reads.
//!
//! The program's process lives here: exit codes, stdout and stderr. Nothing here serves a connection.

mod admission_args;
mod args;
mod logging;
mod motd_file;
mod os_signals;
mod proxy_args;
mod report;
mod service_manager;
mod values;

use args::ArgsError;
use roomcast::config::NetworkSettings;
use roomcast::limits::memory::memory_of_one_peer;
use roomcast::{ActivatedSockets, Server, Settings};
use service_manager::ServiceManager;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::warn;

/// The polls of tasks after which a busy worker asks the system for events. The runtime's own interval is 61 polls, by
/// which busy connections would delay the input of all others.
const EVENT_INTERVAL: u32 = 8;

/// Runs the program; returns its exit code: 0 after a graceful end, 2 for wrong arguments, 1 for any other failure.
pub(crate) fn main() -> ExitCode {
    // Before the first thread starts: this changes the process's variables.
    let activated = match ActivatedSockets::from_env() {
        Ok(activated) => activated,
        Err(error) => {
            report::complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let (settings, verbosity) = match args::parse() {
        Ok(parsed) => parsed,
        Err(error) => return report::usage_error(&error),
    };
    let settings = match settings.with_activated_sockets(&activated.names()) {
        Ok(settings) => settings,
        Err(error) => return report::usage_error(&ArgsError::Settings(error.into())),
    };
    // Kept until the end: its drop writes what is left of the log.
    let _log = logging::start(verbosity);
    match run(&settings, activated, verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings, activated: ActivatedSockets, verbosity: u8) -> anyhow::Result<()> {
    let connections = max_connections(&settings.network);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.network.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = runtime.event_interval(EVENT_INTERVAL).enable_all().build()?;
    let bounds = (verbosity > 0).then(|| settings.bounds(connections));
    runtime.block_on(async {
        let signals = os_signals::listen()?;
        let server = Server::bind_with(settings, connections, activated)?;
        let memory =
            (server.stats().memory().ceiling(), memory_of_one_peer(settings.live.backlog, settings.live.max_line));
        report::greet(&server.listeners(), bounds.as_deref(), memory);
        let manager = start_reporting(&server);
        server
            .run(async {
                signals.first().await;
                if let Some(manager) = manager {
                    manager.notify_stopping();
                }
            })
            .await;
        anyhow::Ok(())
    })
}

/// Tells the service manager, if there is one, that the server listens, and starts the task that reports how it is.
fn start_reporting(server: &Server) -> Option<Arc<ServiceManager>> {
    let manager = ServiceManager::from_env().unwrap_or_else(|error| {
        warn!(%error, "can't reach the service manager that NOTIFY_SOCKET names");
        None
    });
    let manager = Arc::new(manager?);
    let (stats, probe) = (server.stats(), server.probe());
    manager.notify_ready(&stats);
    let reporter = Arc::clone(&manager);
    // The task goes on during the shutdown, and ends with the runtime.
    tokio::spawn(async move { reporter.report(stats, probe).await });
    Some(manager)
}

/// Raises the limit of open files as far as it goes; returns how many connections there may be.
fn max_connections(network: &NetworkSettings) -> usize {
    let files =
        rlimit::increase_nofile_limit(u64::MAX).map_or(1024, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let reserved = network.reserved_files();
    let most = files.saturating_sub(reserved).max(1);
    match network.max_connections.map(usize::from) {
        Some(wanted) if wanted > most => {
            report::complain(&format!(
                "--max-connections {wanted} is cut to {most}: only {files} files may be open, raise it with ulimit -n {}",
                wanted.saturating_add(reserved)
            ));
            most
        }
        Some(wanted) => wanted,
        None => most,
    }
}
