//! Out of the rooms: all at once, until the server has ended every connection.

use super::{Phase, Worker};
use crate::clock::now;

impl Worker<'_> {
    /// Says goodbye on every connection.
    pub(super) fn begin_leaving(&mut self) {
        self.stop_talking();
        self.phase = Phase::Leaving;
        self.heard = now();
        self.report.leaving = (now(), now());
        self.account();
        for connection in self.connections.iter_mut().flatten() {
            connection.end();
        }
    }

    /// Done when the server has ended all connections, or keeps some for longer than the plan waits.
    pub(super) fn look_whether_left(&mut self) {
        let (ended, opened) = (self.ended, self.opened);
        if ended == opened {
            self.phase = Phase::Done;
        } else if self.out_of_patience() {
            let (target, patience) = (self.share.plan.target, humantime::format_duration(self.share.plan.patience));
            let kept = opened - ended;
            self.fail(format!("{target} kept {kept} of {opened} connections open for {patience} after their goodbye"));
        }
    }
}
