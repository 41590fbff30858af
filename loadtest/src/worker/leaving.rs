//! Out of the rooms: all at once, until the server has ended every connection.

use super::{Phase, Worker};
use crate::clock::now;

impl Worker<'_> {
    /// Says goodbye on every connection.
    pub(super) fn start_leaving(&mut self) {
        self.stop_sending();
        self.phase = Phase::Leaving;
        self.last_receive = now();
        self.report.leaving = (now(), now());
        self.finish_counters();
        for connection in self.connections.iter_mut().flatten() {
            connection.shutdown_write();
        }
    }

    /// Done when the server has ended all connections, or keeps some for longer than the plan waits.
    pub(super) fn check_left(&mut self) {
        let (ended, opened) = (self.ended, self.opened);
        if ended == opened {
            self.phase = Phase::Done;
        } else if self.timed_out() {
            let (target, patience) = (self.share.plan.target, humantime::format_duration(self.share.plan.patience));
            let kept = opened - ended;
            self.fail(format!("{target} kept {kept} of {opened} connections open for {patience} after their goodbye"));
        }
    }
}
