//! Server state: what the whole server tells its operator, beside the counters.

use crate::cluster::Shared;
use crate::net::BoundAddress;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Returns how many log records were dropped since the start.
type LogDrops = Box<dyn Fn() -> u64 + Send + Sync>;

/// The listeners of the server, and the source of a figure that the program has.
pub(super) struct ServerState {
    /// The addresses of the listeners, by the index under which their connections are counted.
    pub(super) listeners: Box<[BoundAddress]>,
    /// The listeners as metrics name them, each differently.
    pub(super) labels: Box<[String]>,
    /// The most connections at a time.
    pub(super) max_connections: usize,
    /// The state of the cluster, if the server is part of one.
    pub(super) cluster: Option<Arc<Shared>>,
    log_drops: OnceLock<LogDrops>,
}

impl ServerState {
    /// Returns the state of a server with these listeners.
    pub(super) fn new(listeners: Box<[BoundAddress]>, max_connections: usize, cluster: Option<Arc<Shared>>) -> Self {
        let labels = unique_labels(listeners.iter().map(ToString::to_string));
        Self { listeners, labels, max_connections, cluster, log_drops: OnceLock::new() }
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
        state.field("listeners", &self.labels).finish_non_exhaustive()
    }
}

/// Returns the labels, with a number after each one that an earlier listener has: systemd may pass several sockets of one name
/// or address, and a series that comes twice makes Prometheus refuse all.
fn unique_labels(labels: impl Iterator<Item = String>) -> Box<[String]> {
    let mut unique: Vec<String> = Vec::new();
    for label in labels {
        let numbered = (2..).map(|number| format!("{label}#{number}"));
        let candidates = std::iter::once(label.clone()).chain(numbered);
        unique.extend(candidates.into_iter().find(|candidate| !unique.contains(candidate)));
    }
    unique.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_one_name_have_labels_of_their_own() {
        let labels = |labels: &[&str]| unique_labels(labels.iter().map(|label| (*label).to_owned()));
        let (a, b) = ("fd:unix", "tcp://127.0.0.1:1");
        assert_eq!(*labels(&[a, b, a, b, a]), [a, b, "fd:unix#2", "tcp://127.0.0.1:1#2", "fd:unix#3"]);
        assert_eq!(*labels(&["fd:a", "fd:a#2", "fd:a"]), ["fd:a", "fd:a#2", "fd:a#3"]);
    }

    #[test]
    fn dropped_log_records_are_zero_until_their_source_is_set() {
        let state = ServerState::new(Box::default(), 1, None);
        assert_eq!(state.log_lines_dropped(), 0);
        state.set_log_drops(Box::new(|| 7));
        state.set_log_drops(Box::new(|| 8));
        assert_eq!(state.log_lines_dropped(), 7, "the first source stays");
    }
}
