//! The phase of leaving: shuts all connections down at once, and waits until the server has closed them.

use super::{Phase, Worker};
use crate::clock::now;

impl Worker<'_> {
    /// Shuts the sending side of every connection down.
    pub(super) fn start_leaving(&mut self) {
        self.stop_sending();
        self.enter(Phase::Leaving);
        self.report.leaving = (now(), now());
        self.finish_counters();
        for connection in self.connections.iter_mut().flatten() {
            connection.shutdown_write();
        }
    }

    /// Finishes when the server has closed all connections, or has not closed some within the plan's patience.
    pub(super) fn check_left(&mut self) {
        let (ended, opened) = (self.ended, self.opened);
        if ended == opened {
            self.phase = Phase::Done;
        } else if self.timed_out() {
            let (target, patience) = (self.share.plan.target, humantime::format_duration(self.share.plan.patience));
            let kept = opened - ended;
            self.fail(format!("{target} kept {kept} of {opened} connections open for {patience} after their sending side was shut down"));
        }
    }
}
