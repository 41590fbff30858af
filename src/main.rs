//! The `roomcast` program: arguments, logging, signals and the exit code; nothing else.

use clap::Parser;
use clap::error::ErrorKind;
use roomcast::{Config, RESERVED_FILES, Server};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Warnings that may wait to be written when nothing else is logged. The writer's own default is
/// for busy logs, and takes 4 MiB at the start.
const WARNINGS: usize = 1024;

/// A multi-room chat server for telnet, nc and programs.
///
/// Users connect with `telnet HOST PORT`, send `JOIN <ROOMNAME> <USERNAME>`, and from then on
/// every line goes to everybody in the room. SIGINT and SIGTERM end the server gracefully, a
/// second one at once.
///
/// Times are written as 500ms, 30s or 1min, sizes as 20000, 64KiB or 1MiB.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    config: Config,

    /// Log to stdout: -v connections, -vv joins, too, -vvv every delivery pass
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Kept until the end: its drop writes what is left of the log.
    let _log = start_log(cli.verbose);
    match run(cli.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut config: Config) -> anyhow::Result<()> {
    if let Some(changed) = config.reconcile() {
        complain(&changed);
    }
    let connections = connections(&config);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = config.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = runtime.enable_all().build()?;
    let bounds = config.bounds(connections);
    runtime.block_on(async {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let server = Server::bind(config, connections)?;
        greet(&server, &bounds)?;
        server.run(ended(interrupt, terminate)).await;
        anyhow::Ok(())
    })?;
    // What did not end in time is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Raises the limit of open files as far as it goes; how many connections there may be.
fn connections(config: &Config) -> usize {
    let files =
        rlimit::increase_nofile_limit(u64::MAX).map_or(1024, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let most = files.saturating_sub(RESERVED_FILES).max(1);
    match config.max_connections.map(usize::from) {
        Some(wanted) if wanted > most => {
            complain(&format!(
                "--max-connections {wanted} is cut to {most}: only {files} files may be open, raise it with ulimit -n {}",
                wanted.saturating_add(RESERVED_FILES)
            ));
            most
        }
        Some(wanted) => wanted,
        None => most,
    }
}

/// Says where the server is, what its bounds are, and how to join.
fn greet(server: &Server, bounds: &str) -> io::Result<()> {
    let addresses = server.addresses()?;
    let version = env!("CARGO_PKG_VERSION");
    let mut lines: Vec<String> =
        addresses.iter().map(|address| format!("roomcast {version} listening on {address}\n")).collect();
    let port = addresses.first().map_or(0, SocketAddr::port);
    lines.push(format!("{bounds}\njoin with: telnet localhost {port}, then type: JOIN <ROOMNAME> <USERNAME>\n"));
    // Nobody has to read it: a closed stdout is no reason not to serve.
    let _ = io::stdout().write_all(lines.concat().as_bytes());
    Ok(())
}

/// Ready at the first SIGINT or SIGTERM; the next one ends the process at once.
async fn ended(mut interrupt: Signal, mut terminate: Signal) {
    any(&mut interrupt, &mut terminate).await;
    tokio::spawn(async move {
        let number = any(&mut interrupt, &mut terminate).await;
        std::process::exit(128 + number.as_raw_value());
    });
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    }
}

/// Warnings go to stderr, until somebody asks for more: then all goes to stdout.
///
/// A thread of its own writes them, and drops what it can't write in time: a pipe that nobody
/// reads, or that is closed, must not stop the server.
fn start_log(verbose: u8) -> WorkerGuard {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let queue = NonBlockingBuilder::default();
    let ((writer, guard), terminal) = if verbose == 0 {
        (queue.buffered_lines_limit(WARNINGS).finish(io::stderr()), io::stderr().is_terminal())
    } else {
        (queue.finish(io::stdout()), io::stdout().is_terminal())
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(terminal);
    log.log_internal_errors(false).with_writer(writer).init();
    guard
}

/// Help and version go to stdout; a mistake is one line on stderr, and exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let told: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("tip: to pass")).collect();
    let told = told.split(|line| line.starts_with("Usage:") || line.starts_with("For more")).next().unwrap_or_default();
    let told = told.join("; ").replace(":; ", ": ");
    complain(&format!("{}; see roomcast --help", told.strip_prefix("error: ").unwrap_or(&told)));
    ExitCode::from(2)
}

fn complain(text: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "roomcast: {text}");
}
