//! Logging: where log records go, and that no reader of them can stop the server.

use std::io::{self, IsTerminal};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// Warnings that may wait to be written while nothing else is logged. The writer's own default is for busy logs,
/// and takes 4 MiB at the start.
const WARNINGS: usize = 1024;

/// Starts the log. Without `-v` warnings go to stderr; with it all records go to stdout.
///
/// A thread of its own writes the records, and drops what it can't write in time: a pipe that is full or closed
/// must not stop the server. The returned guard writes what is left when it is dropped; the counter counts what was dropped.
pub(super) fn start(verbosity: u8) -> (WorkerGuard, ErrorCounter) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let queue = NonBlockingBuilder::default();
    let ((writer, guard), terminal) = if verbosity == 0 {
        (queue.buffered_lines_limit(WARNINGS).finish(io::stderr()), io::stderr().is_terminal())
    } else {
        (queue.finish(io::stdout()), io::stdout().is_terminal())
    };
    let drops = writer.error_counter();
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(terminal);
    log.log_internal_errors(false).with_writer(writer).init();
    (guard, drops)
}
