//! Command line: arguments into settings, logging, signals of the operating system, and what the operator reads.
//!
//! The program's process lives here: exit codes, stdout and stderr. Nothing here serves a connection.

mod admin_args;
mod admin_hooks;
mod admission_args;
mod args;
mod cluster_args;
mod config_args;
mod config_file;
mod ctl;
mod ctl_tables;
#[cfg(test)]
mod example_config;
#[cfg(test)]
mod generated_files;
mod log_args;
mod logging;
mod metrics_args;
mod motd_file;
mod os_signals;
mod parse;
mod proxy_args;
mod report;
mod service_manager;
mod show_config;
mod tls_args;
mod upgrade;
mod values;
mod web_args;

use logging::Log;
use parse::{Request, Serving};
use roomcast::config::NetworkSettings;
use roomcast::limits::memory::memory_of_one_peer;
use roomcast::{ActivatedSockets, Server, Settings, StartError};
use service_manager::ServiceManager;
use std::ffi::OsString;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;
use upgrade::{Offer, Upgrader};

/// The polls of tasks after which a busy worker asks the system for events. The runtime's own interval is 61 polls, by
/// which busy connections would delay the input of all others.
const EVENT_INTERVAL: u32 = 8;

/// How long the end waits for calls that block, such as the read of a file.
const RUNTIME_END_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the program, or sends a command to a running one; returns its exit code: 0 after a graceful end, 2 for wrong
/// arguments or a file of theirs, 1 for any other failure.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before the server's own arguments are read: its variables need not be right for a command to it.
    if arguments.get(1).is_some_and(|first| first == ctl::WORD) {
        return ctl::main(&arguments[1..]);
    }
    let mut offer = match Offer::from_env() {
        Ok(offer) => offer,
        Err(error) => {
            report::complain(&error);
            return ExitCode::from(report::MISTAKE);
        }
    };
    let (code, refusal) = start(&arguments, &mut offer);
    if let (Some(offer), Some(refusal)) = (&mut offer, refusal) {
        offer.refuse(&refusal);
    }
    code
}

/// Serves until the end; returns the exit code, and the reason if the program does not start.
fn start(arguments: &[OsString], offer: &mut Option<Offer>) -> (ExitCode, Option<String>) {
    // Before the first thread starts: this changes the process's variables.
    let activated = match ActivatedSockets::from_env() {
        Ok(activated) => activated,
        Err(error) => {
            report::complain(&error.to_string());
            return (ExitCode::FAILURE, Some(error.to_string()));
        }
    };
    let names = offer.as_ref().map_or_else(|| activated.names(), |offer| offer.socket_names.clone());
    let parsed = parse::parse(arguments).and_then(|request| match request {
        Request::Serve(serving) => serving.with_activated_sockets(&names).map(Ok),
        Request::Print(text) => Ok(Err(text)),
    });
    let serving = match parsed {
        Ok(Ok(serving)) => serving,
        Ok(Err(text)) => {
            report::print(&text);
            return (ExitCode::SUCCESS, Some("the arguments ask for no server".to_owned()));
        }
        Err(error) => return (report::usage_error(&error), Some(error.to_string())),
    };
    // Kept until the end: its drop writes what is left of the log.
    let log = Log::start(serving.settings.log, serving.is_verbose);
    match run(&serving, (activated, names), arguments, &log, offer) {
        Ok(()) => (ExitCode::SUCCESS, None),
        Err(error) => {
            report::complain(&format!("{error:#}"));
            let is_mistake = matches!(error.downcast_ref(), Some(StartError::Certificate(_)));
            let code = if is_mistake { ExitCode::from(report::MISTAKE) } else { ExitCode::FAILURE };
            (code, Some(format!("{error:#}")))
        }
    }
}

fn run(
    serving: &Serving,
    (activated, socket_names): (ActivatedSockets, Vec<String>),
    arguments: &[OsString],
    log: &Log,
    offer: &mut Option<Offer>,
) -> anyhow::Result<()> {
    let Serving { settings, is_verbose, has_file } = serving;
    let connections = max_connections(&settings.network);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.network.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = runtime.event_interval(EVENT_INTERVAL).enable_all().build()?;
    let bounds = is_verbose.then(|| settings.bounds(connections));
    let (owned_arguments, names_of_reads) = (arguments.to_vec(), socket_names.clone());
    let read_settings = move || {
        let settings = parse::read_settings(&owned_arguments)?;
        settings.with_activated_sockets(&names_of_reads).map_err(|error| error.to_string())
    };
    let served = runtime.block_on(async {
        let (signals, reload, upgrade) = os_signals::listen(*has_file)?;
        let mut server = match offer {
            Some(offer) => take_over(offer, &read_settings, connections)?,
            None => Server::bind_with(settings, connections, activated)?,
        };
        if settings.cluster.required {
            server.wait_for_cluster().await?;
        }
        server.wait_for_stored_lines().await;
        let drops = log.drops();
        server.count_log_drops(move || drops.count() as u64);
        if offer.is_none() {
            let memory =
                (server.stats().memory().ceiling(), memory_of_one_peer(settings.live.backlog, settings.live.max_line));
            let trust = settings.network.takes_proxy_headers().then(|| settings.network.trust.to_string());
            let bounds = bounds.as_deref();
            report::greet(&server.listeners(), server.metrics_address(), (bounds, trust.as_deref()), memory);
        }
        let handle = server.handle(log.live(), read_settings);
        if let Some(offer) = offer.take() {
            offer.accept(&server).map_err(anyhow::Error::msg)?;
        }
        let manager = start_reporting(&server);
        let handed_over = Arc::new(Notify::new());
        let started_with = (arguments.to_vec(), socket_names);
        let upgrader = Arc::new(Upgrader::new(handle.clone(), started_with, manager.clone(), Arc::clone(&handed_over)));
        let hooks = admin_hooks::admin_hooks(handle.clone(), log.live(), arguments.to_vec(), Arc::clone(&upgrader));
        server.set_admin_hooks(hooks);
        if let Some(reload) = reload {
            tokio::spawn(reload.reload_at_each(handle));
        }
        tokio::spawn(upgrader.upgrade_at_each(upgrade));
        tokio::spawn(log.drops().report_now_and_then());
        let shutdown = async {
            signals.first().await;
            if let Some(manager) = manager {
                manager.notify_stopping();
            }
        };
        let end_handed_over = async {
            handed_over.notified().await;
            log.finish();
            // Nothing of the server may be dropped: its sockets and its members are another process's.
            process::exit(0)
        };
        tokio::select! {
            () = server.run(shutdown) => {}
            () = end_handed_over => {}
        }
        anyhow::Ok(())
    });
    // A reload may wait for a file system that does not answer, and the end must not.
    runtime.shutdown_timeout(RUNTIME_END_TIMEOUT);
    served
}

/// Takes the offered server over, with the settings as the files say them now: bans may have come since the start.
fn take_over(
    offer: &mut Offer,
    read_settings: &impl Fn() -> Result<Settings, String>,
    connections: usize,
) -> anyhow::Result<Server> {
    let (state, descriptors) = offer.receive().map_err(anyhow::Error::msg)?;
    let settings = read_settings().map_err(anyhow::Error::msg)?;
    Ok(Server::take_over(&settings, connections, &state, descriptors)?)
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
