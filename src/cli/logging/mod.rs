//! Logging: where log records go, in which form, and that no reader of them can stop the server.
//!
//! | event | level | fields |
//! |---|---|---|
//! | `opened` | info | `connection`, `address` |
//! | `refused` | info | `connection`, `address`, `reason` |
//! | `closed` | info | `connection`, `address`, `room`, `name`, `reason`, `lines_in`, `lines_out`, `lines_dropped` |
//! | `admitted` | debug | `connection`, `address`, `room`, `name` |
//! | `pass` | trace | `room`, `operations`, `lines`, `writes` |
//! | `operator` | warn | `action`, `target`, `connection`, `closed`, `time`, `reason`, `by`, `error` |
//! | `settings reloaded`, `shutting down` | info | the second one `rooms` |
//! | a setting needs a restart | warn | `setting` |
//! | `settings not reloaded: …` | error | `reason`: file, line, column and mistake |
//! | `log records were dropped …` | warn | `dropped`: all since the start |
//! | a connection or a room that failed | error | `connection` and `address`, or `room`; `cause` |
//! | other failures | debug, warn, error | `error` and more |
//!
//! In JSON the fields `ts`, `level` and `event` stand before these. `connection` is the number of the connection, the same in all
//! its records and never used twice; `address` is `IP:PORT` or `unix`. `room` and `name` have 1 to 20 printable ASCII
//! characters, and a record holds no other text that a user sent.

mod drops;
mod record;
mod subscriber;

pub(super) use drops::Drops;

use crossbeam_utils::atomic::AtomicCell;
use roomcast::config::{LiveLog, LogLevel, LogSettings};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use subscriber::LogSubscriber;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

/// Records that may wait to be written where few are expected. The writer's own default is for busy logs, and takes 4 MiB
/// at the start.
const FEW_RECORDS: usize = 4096;

/// How long the end of the process waits for the records that are left: longer than the writer's own limits.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The process's log. Its drop writes what is left.
pub(super) struct Log {
    live: Arc<LiveLog>,
    drops: Arc<Drops>,
    /// Ends the writer's thread; `None` once it has ended.
    guard: AtomicCell<Option<WorkerGuard>>,
}

impl Log {
    /// Starts the log, on stdout or on stderr.
    ///
    /// A thread of its own writes the records, and drops and counts what it can't write in time: a pipe that is full or
    /// closed must not stop the server.
    pub(super) fn start(settings: LogSettings, on_stdout: bool) -> Self {
        let live = Arc::new(LiveLog::new(settings));
        let queue = NonBlockingBuilder::default();
        let queue = if settings.level <= LogLevel::Warn { queue.buffered_lines_limit(FEW_RECORDS) } else { queue };
        let ((writer, guard), is_terminal) = if on_stdout {
            (queue.finish(io::stdout()), io::stdout().is_terminal())
        } else {
            (queue.finish(io::stderr()), io::stderr().is_terminal())
        };
        let drops = Arc::new(Drops::new(writer.error_counter()));
        // Setting it fails if the process has a log already: then that one is used.
        let _ = tracing::subscriber::set_global_default(LogSubscriber::new(Arc::clone(&live), writer, is_terminal));
        Self { live, drops, guard: AtomicCell::new(Some(guard)) }
    }

    /// Returns the level and the form in force, which can be changed.
    pub(super) fn live(&self) -> Arc<LiveLog> {
        Arc::clone(&self.live)
    }

    /// Returns the count of records that the writer dropped.
    pub(super) fn drops(&self) -> Arc<Drops> {
        Arc::clone(&self.drops)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Log {
    /// Writes what is left. Records that come later are dropped.
    pub(super) fn finish(&self) {
        self.drops.report();
        let guard = self.guard.take();
        // The guard prints to stdout if the queue is full. Where stdout is the pipe that is not read, that takes for ever.
        let (ended, end) = channel();
        let ending = thread::Builder::new().spawn(move || {
            drop(guard);
            let _ = ended.send(());
        });
        if ending.is_ok() {
            // After the timeout the process ends without the rest.
            let _ = end.recv_timeout(END_TIMEOUT);
        }
    }
}
