//! The final counts of a room: deliveries before the members leave, and leave notices while they leave.

use std::ops::Range;

use super::Room;
use crate::cursor::MemberState;
use crate::metrics::Metrics;
use crate::slowest::LatencySum;

/// A step of leaving. The members of a room leave in steps so that leave notices are expected at known members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LeaveStep {
    /// The last member leaves. All other members have to receive its leave notice.
    #[default]
    One,
    /// All members but the first one leave at once. The first one has to receive their leave notices.
    AllButOne,
    /// All members leave that are still in the room.
    Rest,
}

impl LeaveStep {
    /// Returns the members that leave in this step.
    fn members(self, room_size: usize) -> Range<usize> {
        let last = room_size.saturating_sub(1);
        match self {
            Self::One => last.max(1)..room_size,
            Self::AllButOne => 1.min(last)..last,
            Self::Rest => 0..room_size,
        }
    }
}

impl Room {
    /// Returns whether every line has arrived at every member that has not left, or was told as
    /// missing, or was announced as skipped to a slow one.
    pub(crate) fn is_complete(&self) -> bool {
        let has_all = |member: usize| match self.slow.get(&member) {
            Some(slow) => self.slow_member_is_complete(member, slow),
            None => {
                self.expected_deliveries(member)
                    <= self.cursors[member].delivered.saturating_add(self.cursors[member].told)
            }
        };
        (0..self.cursors.len()).all(has_all) && self.returns_are_complete() && self.closes_are_announced()
    }

    /// Returns the number of deliveries that a member should have received when all have arrived.
    fn expected_deliveries(&self, member: usize) -> u64 {
        match self.cursors[member].state {
            MemberState::Left | MemberState::Joining => self.cursors[member].delivered,
            MemberState::Joined if self.protocol.echoes_to_sender() => {
                self.lines_sent().saturating_sub(self.cursors[member].base)
            }
            MemberState::Joined => self.lines_sent() - u64::from(self.sent.get(member).copied().unwrap_or(0)),
        }
    }

    /// Adds the room's expected, lost and in-flight deliveries and its slowest members, before the members leave.
    /// Missing deliveries are lost, except in a run that stopped early: then they may have been in transit.
    pub(crate) fn add_final_counts(&mut self, stopped_early: bool, metrics: &mut Metrics) {
        metrics.counters.sent += self.lines_sent();
        let lost_notices = self.finish_departures(stopped_early, metrics);
        let (mut untrue_skips, mut untrue_gaps) = (0, 0);
        for (member, cursor) in self.cursors.iter().enumerate().filter(|(member, _)| !self.is_slow(*member)) {
            let expected = self.expected_deliveries(member);
            metrics.counters.expected += expected;
            let missing = expected.saturating_sub(cursor.delivered);
            let (told, excess) = self.split_told(member, missing);
            let missing = missing - told;
            untrue_gaps += excess;
            *(if stopped_early { &mut metrics.counters.in_flight } else { &mut metrics.counters.lost }) += missing;
            // Lines from before the join, as the other members show it, stand at another place of the order.
            metrics.counters.add_misplaced_in_room(cursor.delivered.saturating_sub(expected));
            if cursor.state == MemberState::Joined {
                untrue_skips += cursor.skipped.saturating_sub(missing);
            }
        }
        let told_joins = self.add_gap_counts(untrue_gaps, metrics);
        self.add_notice_counts(told_joins, metrics);
        // A server may announce join notices as skipped, too.
        metrics.counters.untrue_skips += untrue_skips.saturating_sub(self.missing_join_notices() + lost_notices);
        self.add_slow_counts(stopped_early, metrics);
        self.add_latencies(metrics);
    }

    /// Returns the number of expected join notices that have not arrived.
    pub(super) fn missing_join_notices(&self) -> u64 {
        if self.protocol.announces_joins() { self.membership.missing_join_notices() } else { 0 }
    }

    /// Adds the expected join notices but for those that were told as missing, and the untrue notices.
    fn add_notice_counts(&mut self, told_joins: u64, metrics: &mut Metrics) {
        if self.protocol.announces_joins() {
            metrics.counters.join_notices_expected += self.membership.expected_join_notices() - told_joins;
            metrics.counters.untrue_notices += self.membership.count_unordered_joins();
        }
        metrics.counters.untrue_notices += self.membership.take_untrue_leaves();
    }

    /// Adds the members and the room to the slowest ones. Members that read slowly do not count among these.
    fn add_latencies(&self, metrics: &mut Metrics) {
        let mut sum = LatencySum::default();
        for (member, cursor) in self.cursors.iter().enumerate().filter(|(member, _)| !self.is_slow(*member)) {
            sum.add(&cursor.latency);
            metrics.counters.sampled_members += u64::from(cursor.sampled);
            cursor.latency.figures(self.number, Some(member)).into_iter().for_each(|slow| metrics.slowest.insert(slow));
        }
        metrics.counters.members += self.cursors.len() as u64;
        sum.figures(self.number, None).into_iter().for_each(|slow| metrics.slowest.insert(slow));
    }

    /// Starts a step of leaving. Returns the members whose sending side is to be shut down now.
    pub(crate) fn start_leave_step(&mut self, step: LeaveStep, metrics: &mut Metrics) -> Range<usize> {
        metrics.counters.untrue_notices += self.membership.take_untrue_leaves();
        let members = step.members(self.cursors.len());
        self.membership.start_leaving(members.clone());
        members
    }

    /// Returns whether the leave notices of the current step have arrived, or the protocol has none.
    pub(crate) fn all_leaves_announced(&self) -> bool {
        !self.protocol.announces_joins() || self.membership.all_leaves_announced()
    }

    /// Adds the expected and lost leave notices of the current step but for those that were told as missing.
    pub(crate) fn add_leave_counts(&mut self, metrics: &mut Metrics) {
        if self.protocol.announces_joins() {
            let (expected, lost) = self.membership.leave_notice_counts();
            let told = self.take_told_leaves(lost);
            metrics.counters.leave_notices_expected += expected - told;
            metrics.counters.leave_notices_lost += lost - told;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_leaves_in_a_step() {
        let members = |size: usize| {
            [LeaveStep::One, LeaveStep::AllButOne, LeaveStep::Rest].map(|step| step.members(size).collect::<Vec<_>>())
        };
        assert_eq!(members(1), [vec![], vec![], vec![0]]);
        assert_eq!(members(2), [vec![1], vec![], vec![0, 1]]);
        assert_eq!(members(4), [vec![3], vec![1, 2], vec![0, 1, 2, 3]]);
    }
}
