//! Drops: log records that the writer could not take in time are counted and reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use tracing_appender::non_blocking::ErrorCounter;

/// The time between two reports of new drops.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The records that were dropped since the start.
pub(in crate::cli) struct Drops {
    counter: ErrorCounter,
    /// The drops that the log has told. Relaxed: a report that is made twice tells the same.
    reported: AtomicUsize,
}

impl Drops {
    pub(super) fn new(counter: ErrorCounter) -> Self {
        Self { counter, reported: AtomicUsize::new(0) }
    }

    /// Returns how many records were dropped since the start.
    pub(in crate::cli) fn count(&self) -> usize {
        self.counter.dropped_lines()
    }

    /// Logs how many records were dropped since the start, if that is more than the log has told.
    pub(super) fn report(&self) {
        let dropped = self.count();
        if dropped > self.reported.load(Ordering::Relaxed) {
            warn!(dropped, "log records were dropped since the start: the log is not read fast enough");
            // Otherwise the report itself may have been dropped, and the next one tells it.
            if self.count() == dropped {
                self.reported.store(dropped, Ordering::Relaxed);
            }
        }
    }

    /// Reports new drops now and then, for ever.
    pub(in crate::cli) async fn report_now_and_then(self: Arc<Self>) {
        let mut interval = interval(REPORT_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.report();
        }
    }
}
