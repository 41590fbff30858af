//! The phase of leaving: shuts the connections down in steps, and waits until the server has closed them.

use super::{Phase, Worker};
use crate::clock::now;
use crate::room::{LeaveStep, Room};

impl Worker<'_> {
    /// Starts the phase of leaving. The members leave in steps where the run has ended as planned. Otherwise the server
    /// may have more to do than the patience allows for, and all members leave at once.
    pub(super) fn start_leaving(&mut self) {
        let as_planned = self.phase == Phase::Idle;
        self.stop_sending();
        self.resume_reading();
        self.enter(Phase::Leaving);
        self.report.leaving = (now(), now());
        self.finish_counters();
        // Members that are absent after an early end have no connection to close.
        self.ended = self.opened - self.connections.iter().flatten().count();
        self.start_leave_step(if as_planned { LeaveStep::One } else { LeaveStep::Rest });
    }

    /// Shuts the sending side of every connection down that leaves in a step.
    fn start_leave_step(&mut self, step: LeaveStep) {
        self.leave_step = step;
        self.last_progress = now();
        for room in &mut self.rooms {
            let members = room.start_leave_step(step, &mut self.report.metrics);
            let indices = room.connections.start + members.start..room.connections.start + members.end;
            for connection in self.connections[indices].iter_mut().flatten() {
                connection.shutdown_write();
            }
        }
    }

    /// Starts the next step when all leave notices of the current one have arrived. Finishes when the server has closed
    /// all connections, or has not closed some within the plan's patience.
    pub(super) fn check_left(&mut self) {
        if self.leave_step != LeaveStep::Rest {
            return self.check_leave_notices();
        }
        let (ended, opened) = (self.ended, self.opened);
        if ended == opened {
            self.phase = Phase::Done;
        } else if self.timed_out() {
            let (target, patience) =
                (self.share.plan.server_list(), humantime::format_duration(self.share.plan.patience));
            let kept = opened - ended;
            self.fail(format!("{target} kept {kept} of {opened} connections open for {patience} after their sending side was shut down"));
        }
    }

    /// Ends a step of leaving when its leave notices have arrived, or none arrives within the plan's patience.
    fn check_leave_notices(&mut self) {
        let announced = self.rooms.iter().all(Room::all_leaves_announced);
        if !announced && !self.timed_out() {
            return;
        }
        for room in &mut self.rooms {
            room.add_leave_counts(&mut self.report.metrics);
        }
        let next_is_last = !announced || self.leave_step == LeaveStep::AllButOne;
        self.start_leave_step(if next_is_last { LeaveStep::Rest } else { LeaveStep::AllButOne });
    }
}
