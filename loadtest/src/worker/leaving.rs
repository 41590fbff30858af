//! Out of the rooms: all at once, until the server has ended every connection.

use super::{Phase, Worker};
use crate::clock::now;

impl Worker<'_> {
    /// Says goodbye on every connection.
    pub(super) fn begin_leaving(&mut self) {
        self.phase = Phase::Leaving;
        self.heard = now();
        self.report.leaving = (now(), now());
        self.account();
        for connection in self.connections.iter_mut().flatten() {
            connection.end();
        }
    }

    /// Done when the server has ended all connections, or does nothing more about them.
    pub(super) fn look_whether_left(&mut self) {
        if self.ended == self.opened || self.out_of_patience() {
            self.phase = Phase::Done;
        }
    }
}
