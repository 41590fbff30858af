//! Server state: what the whole server tells its operator, beside the counters.

use crate::net::BoundAddress;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Returns how many log records were dropped since the start.
type LogDrops = Box<dyn Fn() -> u64 + Send + Sync>;

/// The listeners, and how far the start of the server is.
pub(super) struct ServerState {
    /// The addresses of the listeners, by the index under which their connections are counted.
    pub(super) listeners: Box<[BoundAddress]>,
    /// The most connections at a time.
    pub(super) max_connections: usize,
    /// True once all listeners accept connections. Relaxed: it publishes no other memory.
    is_accepting: AtomicBool,
    log_drops: OnceLock<LogDrops>,
}

/// Why a server takes no new clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The listeners do not accept connections yet.
    #[error("starting: the listeners do not accept connections yet")]
    Starting,
    /// An operator drains the server, or it is shutting down.
    #[error("draining: the server takes no new connection")]
    Draining,
    /// At least 90 % of the memory ceiling are in use; holds the percentage.
    #[error("upgrading: a new process takes the server over")]
    Upgrading,
    /// So much of the memory ceiling is in use, in percent.
    #[error("memory: {0} % of the ceiling are in use, and no connection is admitted")]
    Memory(u64),
}

impl ServerState {
    /// Returns the state of a server that accepts no connection yet.
    pub(super) fn new(listeners: Box<[BoundAddress]>, max_connections: usize) -> Self {
        Self { listeners, max_connections, is_accepting: AtomicBool::new(false), log_drops: OnceLock::new() }
    }

    /// Notes that all listeners accept connections.
    pub(super) fn set_accepting(&self) {
        self.is_accepting.store(true, Ordering::Relaxed);
    }

    /// Returns whether all listeners accept connections.
    pub(super) fn is_accepting(&self) -> bool {
        self.is_accepting.load(Ordering::Relaxed)
    }

    /// Sets the source of the number of dropped log records. Only the first call has an effect.
    pub(super) fn set_log_drops(&self, log_drops: LogDrops) {
        let _ = self.log_drops.set(log_drops);
    }

    /// Returns how many log records were dropped; 0 where that is not known.
    pub(super) fn log_lines_dropped(&self) -> u64 {
        self.log_drops.get().map_or(0, |log_drops| log_drops())
    }
}

impl fmt::Debug for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = f.debug_struct("ServerState");
        state.field("listeners", &self.listeners).field("is_accepting", &self.is_accepting).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_log_records_are_zero_until_their_source_is_set() {
        let state = ServerState::new(Box::default(), 1);
        assert_eq!(state.log_lines_dropped(), 0);
        state.set_log_drops(Box::new(|| 7));
        state.set_log_drops(Box::new(|| 8));
        assert_eq!(state.log_lines_dropped(), 7, "the first source stays");
    }
}
