//! Gap notices: servers that share a room tell their members how many lines of another server are missing.
//!
//! A server counts join and leave notices as lines, too. A gap that is told before the first line or after the last one
//! thus consists of notices. Between these, a member must miss as many lines as it is told. Missing join notices, too,
//! explain told lines, since a server may find their gap only at the next line.

use super::Room;
use crate::cursor::MemberState;
use crate::metrics::Metrics;

/// The lines that a room's members were told as missing while none of them can have been a sender's line.
#[derive(Debug, Default)]
pub(super) struct ToldNotices {
    /// Lines told before the first line was sent.
    joins: u64,
    /// Lines told after the final counts.
    leaves: u64,
    /// Whether the final counts have been added.
    is_final: bool,
}

impl Room {
    /// Records that a member was told of missing lines. They are no longer in flight to it.
    pub(super) fn on_gap_notice(&mut self, member: usize, lines: u64, metrics: &mut Metrics) {
        metrics.counters.gap_notices += 1;
        metrics.counters.told_missing = metrics.counters.told_missing.saturating_add(lines);
        let told = match (self.told.is_final, self.total_sent) {
            (true, _) => &mut self.told.leaves,
            (false, 0) => &mut self.told.joins,
            (false, _) => &mut self.cursors[member].told,
        };
        *told = told.saturating_add(lines);
        if self.total_sent > 0 && self.is_read_immediately(member) {
            self.recompute_floor(self.order_number(member));
        }
    }

    /// Returns whether a member was told of missing lines while lines were sent.
    pub(crate) fn has_gaps(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.told > 0)
    }

    /// Returns the missing deliveries of a member that it was told of, and the lines that it was told of and has received.
    pub(super) fn split_told(&self, member: usize, missing: u64) -> (u64, u64) {
        let cursor = &self.cursors[member];
        let told = cursor.told.min(missing);
        // The missing deliveries of a member that has left are not known.
        (told, if cursor.state == MemberState::Joined { cursor.told - told } else { 0 })
    }

    /// Adds the lines that members were told as missing and received: `excess` of all members together, less the join notices
    /// that have not arrived. Returns the number of missing join notices that were told.
    pub(super) fn add_gap_counts(&mut self, excess: u64, metrics: &mut Metrics) -> u64 {
        self.told.is_final = true;
        let missing = self.missing_join_notices();
        metrics.counters.untrue_gaps += excess.saturating_sub(missing + self.membership.optional_joins_awaited());
        missing.min(self.told.joins.saturating_add(excess))
    }

    /// Returns the part of the lost leave notices of a step of leaving that gap notices told.
    pub(super) fn take_told_leaves(&mut self, lost: u64) -> u64 {
        let told = self.told.leaves.min(lost);
        self.told.leaves -= told;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{announce_joins, feed, final_counters, room, send_lines};
    use super::super::{LeaveStep, Room};
    use super::*;
    use crate::metrics::Counters;
    use crate::protocol::ProtocolKind;

    /// Returns the notice of a gap.
    fn gap(lines: u64) -> Vec<u8> {
        match lines {
            1 => b"*** 1 line from node n2 is missing\n".to_vec(),
            _ => format!("*** {lines} lines from node n2 are missing\n").into_bytes(),
        }
    }

    /// Runs a room of three members that joined with all notices and miss the third and fourth of six lines. Each is told of
    /// so many missing lines in their place, or of none. Returns whether the room was complete, and the counters.
    fn run_with_gap(told: Option<u64>) -> (bool, Counters) {
        let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
        announce_joins(&mut room, &mut metrics);
        let lines = send_lines(&mut room, 6);
        let notice = told.map(gap).unwrap_or_default();
        for member in 0..3 {
            feed(&mut room, member, &[&lines[0], &lines[1], &notice, &lines[4], &lines[5]], &mut metrics);
        }
        let expected_in_flight = 2_u64.saturating_sub(told.unwrap_or(0));
        assert_eq!(room.in_flight() as u64, expected_in_flight, "told lines are not in flight: {told:?}");
        (room.is_complete(), final_counters(&mut room, metrics))
    }

    #[test]
    fn told_gap_is_counted_and_is_no_loss() {
        let (is_complete, counters) = run_with_gap(Some(2));
        assert!(is_complete);
        assert_eq!((counters.gap_notices, counters.told_missing, counters.untrue_gaps), (3, 6, 0), "{counters:?}");
        assert_eq!((counters.delivered + counters.told_missing, counters.lost), (counters.expected, 0), "{counters:?}");
        assert_eq!((counters.misordered, counters.duplicated, counters.corrupt), (0, 0, 0), "{counters:?}");
    }

    #[test]
    fn missing_line_that_is_not_told_is_lost() {
        for (told, lost) in [(None, 6), (Some(1), 3)] {
            let (is_complete, counters) = run_with_gap(told);
            assert_eq!((is_complete, counters.lost, counters.untrue_gaps), (false, lost, 0), "{counters:?}");
        }
    }

    #[test]
    fn line_that_is_told_as_missing_and_arrives_is_untrue() {
        let (is_complete, counters) = run_with_gap(Some(5));
        assert_eq!((is_complete, counters.lost, counters.untrue_gaps), (true, 0, 9), "{counters:?}");
    }

    #[test]
    fn gap_before_the_first_line_consists_of_join_notices() {
        let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
        for member in 0..2 {
            let notice = format!("{} has joined\n", room.member_name(member)).into_bytes();
            feed(&mut room, member, &[&notice], &mut metrics);
        }
        feed(&mut room, 0, &[&gap(1)], &mut metrics);
        let lines = send_lines(&mut room, 2);
        (0..2).for_each(|member| feed(&mut room, member, &[&lines[0], &lines[1]], &mut metrics));
        let counters = final_counters(&mut room, metrics);
        assert_eq!((counters.join_notices, counters.join_notices_expected), (2, 2), "{counters:?}");
        assert_eq!((counters.told_missing, counters.untrue_gaps, counters.lost), (1, 0, 0), "{counters:?}");
    }

    #[test]
    fn gap_while_members_leave_consists_of_leave_notices() {
        let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
        announce_joins(&mut room, &mut metrics);
        room.add_final_counts(false, &mut metrics);
        room.start_leave_step(LeaveStep::One, &mut metrics);
        let notice = format!("{} has left\n", room.member_name(2)).into_bytes();
        feed(&mut room, 0, &[&notice], &mut metrics);
        feed(&mut room, 1, &[&gap(1)], &mut metrics);
        room.add_leave_counts(&mut metrics);
        let counters = metrics.counters;
        assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (1, 0), "{counters:?}");
        assert_eq!((counters.told_missing, counters.untrue_gaps), (1, 0), "{counters:?}");
    }

    #[test]
    fn split_notices_are_counted_and_are_no_fault() {
        let (mut room, mut metrics): (Room, Metrics) = (room(2, ProtocolKind::Line), Metrics::default());
        for notice in [&b"*** this room is on n1 only for now\n"[..], b"*** the room is whole again\n", b"*** hello\n"]
        {
            assert_eq!(room.receive(1, notice, 2000, &mut metrics).fault, None);
        }
        assert_eq!((metrics.counters.split_notices, metrics.counters.corrupt), (2, 0));
    }
}
