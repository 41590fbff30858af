//! Members that read slowly: the lines that such a member misses are compared with those that skip notices announce.
//!
//! A server counts each line of a room as a line, join and leave notices included, and announces skipped lines where they
//! are missing. So the notices between two lines of a member must announce as many lines as the room has between them. A leave
//! notice has no known place among the lines: lines that are announced beyond the missing ones must be leave notices that
//! the member misses. These exist where the server has closed a member. All join notices arrive before the first line, while
//! slow members read at once.

use super::Room;
use crate::cursor::MemberState;
use crate::metrics::Metrics;

/// The lines that a slow member has missed, and those that it was told of.
#[derive(Debug, Default)]
pub(super) struct SlowMember {
    /// Lines announced as skipped since the member's last line.
    announced: u64,
    /// Lines missing between two received ones, as far as the notices between these announced them.
    skipped: u64,
    /// Lines missing between two received ones beyond those that the notices between these announced.
    unannounced: u64,
    /// The number of skip notices.
    notices: u64,
    /// The text with which the server announced that it closes the connection.
    close_reason: Option<String>,
}

impl SlowMember {
    /// Records a skip notice.
    pub(super) fn on_notice(&mut self, lines: u64) {
        self.announced = self.announced.saturating_add(lines);
        self.notices += 1;
    }

    /// Returns the lines announced since the last line, and starts anew.
    pub(super) fn take_announced(&mut self) -> u64 {
        std::mem::take(&mut self.announced)
    }

    /// Records that `missing` lines are missing between two lines, between which notices announced `announced` lines.
    pub(super) fn record_gap(&mut self, missing: u64, announced: u64) {
        let skipped = missing.min(announced);
        self.skipped += skipped;
        self.unannounced += missing - skipped;
    }

    /// Records that a line has arrived after a later one: it counted as missing.
    pub(super) fn on_late_line(&mut self) {
        let missing = if self.unannounced > 0 { &mut self.unannounced } else { &mut self.skipped };
        *missing = missing.saturating_sub(1);
    }
}

/// The deliveries and leave notices of a slow member that are missing, and the lines that notices announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// Deliveries that the sent lines should cause.
    expected: u64,
    /// Deliveries that arrived.
    delivered: u64,
    /// Deliveries that are missing where notices announced them.
    skipped: u64,
    /// Lines that gap notices told as missing.
    told: u64,
    /// Lines that all skip notices announced.
    announced: u64,
    /// Leave notices that are missing.
    missing_leaves: u64,
}

impl Account {
    /// Returns the missing deliveries that no notice announced.
    fn lost(self) -> u64 {
        self.expected.saturating_sub(self.delivered + self.skipped).saturating_sub(self.told)
    }

    /// Returns the missing leave notices that skip notices announced.
    fn skipped_leaves(self) -> u64 {
        self.missing_leaves.min(self.announced.saturating_sub(self.skipped))
    }

    /// Returns the announced lines that are not missing.
    fn untrue(self) -> u64 {
        self.announced.saturating_sub(self.skipped + self.skipped_leaves())
    }

    /// Returns whether every line and leave notice has arrived or was announced as skipped.
    fn is_closed(self) -> bool {
        self.lost() == 0 && self.skipped_leaves() == self.missing_leaves
    }
}

impl Room {
    /// Returns whether a member reads slowly.
    pub(crate) fn is_slow(&self, member: usize) -> bool {
        self.slow.contains_key(&member)
    }

    /// Returns whether the server may close a member: it reads slowly, and is in its room.
    pub(crate) fn may_be_closed(&self, member: usize) -> bool {
        self.is_slow(member) && self.cursors[member].state == MemberState::Joined
    }

    /// Records why the server closes a slow member.
    pub(super) fn on_close_reason(&mut self, member: usize, reason: String) {
        if let Some(slow) = self.slow.get_mut(&member) {
            slow.close_reason.get_or_insert(reason);
        }
    }

    /// Records the lines that are missing before a line of a member, between which notices announced `announced` lines.
    pub(super) fn record_gap(&mut self, member: usize, missing: usize, announced: u64) {
        if let Some(slow) = self.slow.get_mut(&member) {
            slow.record_gap(missing as u64, announced);
        }
    }

    /// Returns the lines announced as skipped to a slow member since its last line, and starts anew.
    pub(super) fn take_announced(&mut self, member: usize) -> u64 {
        self.slow.get_mut(&member).map_or(0, SlowMember::take_announced)
    }

    /// Returns the text with which the server closed a slow member, which is in its room or has left it.
    pub(crate) fn take_close_reason(&mut self, member: usize) -> Option<String> {
        let unexplained = self.take_unexplained_refusal(member).then(|| "ERROR".to_owned());
        self.slow.get_mut(&member)?.close_reason.take().or(unexplained)
    }

    fn account(&self, member: usize, slow: &SlowMember) -> Account {
        let cursor = &self.cursors[member];
        // No line has arrived after the last notices, so they announce lines at the end of the log.
        let skipped =
            slow.skipped + slow.announced.min(self.order(member).log.lines().saturating_sub(cursor.line) as u64);
        let expected = match cursor.state {
            MemberState::Joined => self.lines_sent(),
            // The server has closed the connection: the lines after the last one are not expected.
            MemberState::Joining | MemberState::Left => cursor.delivered + skipped + slow.unannounced,
        };
        let missing_leaves = self.membership.missing_leaves(member);
        let (delivered, announced, told) = (cursor.delivered, cursor.skipped, cursor.told);
        Account { expected, delivered, skipped, told, announced, missing_leaves }
    }

    /// Returns whether a slow member has received every line, or was told of it, or has left its room. A member whose
    /// connection the server has announced to close has to leave.
    pub(super) fn slow_member_is_complete(&self, member: usize, slow: &SlowMember) -> bool {
        self.cursors[member].state == MemberState::Left
            || (slow.close_reason.is_none() && self.account(member, slow).is_closed())
    }

    /// Returns whether all members that read at once were told of the members that the server has closed.
    pub(super) fn closes_are_announced(&self) -> bool {
        self.slow.is_empty() || self.count_missing_leaves() == 0
    }

    fn count_missing_leaves(&self) -> u64 {
        let fast = (0..self.cursors.len()).filter(|&member| !self.is_slow(member));
        let joined = fast.filter(|&member| self.cursors[member].state == MemberState::Joined);
        joined.map(|member| self.membership.missing_leaves(member)).sum()
    }

    /// Adds the deliveries of the slow members, and the leave notices of members that the server has closed which others miss.
    pub(super) fn add_slow_counts(&self, stopped_early: bool, metrics: &mut Metrics) {
        if self.slow.is_empty() {
            return;
        }
        let counters = &mut metrics.counters;
        let mut lost_leaves = self.count_missing_leaves();
        for (&member, slow) in &self.slow {
            let account = self.account(member, slow);
            counters.slow_members += 1;
            counters.slow_delivered += account.delivered;
            counters.slow_skipped += account.skipped;
            counters.slow_skip_notices += slow.notices;
            counters.slow_leaves_skipped += account.skipped_leaves();
            counters.expected += account.expected;
            counters.untrue_skips += account.untrue();
            *(if stopped_early { &mut counters.in_flight } else { &mut counters.lost }) += account.lost();
            if self.cursors[member].state == MemberState::Joined {
                // The server has announced a close, and has not closed.
                counters.errors += u64::from(slow.close_reason.is_some());
                lost_leaves += account.missing_leaves - account.skipped_leaves();
            }
        }
        if !stopped_early {
            counters.leave_notices_expected += lost_leaves;
            counters.leave_notices_lost += lost_leaves;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::send_lines;
    use super::super::{LeaveStep, RoomConfig};
    use super::*;
    use crate::metrics::Counters;
    use crate::protocol::ProtocolKind;
    use crate::slow_readers::{ReadRate, SlowReaders};

    /// The slow members of the room of six.
    const SLOW: [usize; 2] = [3, 5];

    /// Returns a room of six members, of which the first two send and two read slowly.
    fn slow_room() -> Room {
        let readers = SlowReaders { share: 0.34, rate: ReadRate { bytes_per_second: 1000 } };
        let mut room = Room::new(RoomConfig {
            number: 3,
            first: 0,
            connections: 0..6,
            senders: 2,
            size: 40.into(),
            seed: 1,
            epoch: 1000,
            protocol: ProtocolKind::Line.protocol(),
            deferred_reads: false,
            servers: 1,
            has_total_order: false,
            slow_readers: Some(readers),
        });
        (0..6).for_each(|member| _ = room.mark_joined(member));
        assert_eq!(room.slow.keys().copied().collect::<Vec<_>>(), SLOW);
        room
    }

    /// Feeds the lines of a script to a member: `a-c` are lines, a digit is a notice of so many skipped lines, and `L` is the
    /// leave notice of member 3.
    fn feed(room: &mut Room, member: usize, lines: &[Vec<u8>], script: &str, metrics: &mut Metrics) {
        for letter in script.bytes() {
            let bytes = match letter {
                b'L' => format!("{} has left\n", room.member_name(SLOW[0])).into_bytes(),
                b'0'..=b'9' => format!("*** {} lines skipped\n", letter - b'0').into_bytes(),
                _ => lines[usize::from(letter - b'a')].clone(),
            };
            // A slow read ends at any byte.
            for part in bytes.chunks(7) {
                room.receive(member, part, 2000, metrics);
            }
        }
    }

    /// Runs a room of eight lines: the last member receives `slow`, and all others receive every line, the slow member first
    /// where `leads` is set. Returns whether the room was complete, and the counters.
    fn run(slow: &str, leads: bool) -> (bool, Counters) {
        let (mut room, mut metrics) = (slow_room(), Metrics::default());
        metrics.set_window(0, (0, u64::MAX));
        let lines = send_lines(&mut room, 8);
        if leads {
            feed(&mut room, SLOW[1], &lines, slow, &mut metrics);
        }
        (0..5).for_each(|member| feed(&mut room, member, &lines, "abcdefgh", &mut metrics));
        if !leads {
            feed(&mut room, SLOW[1], &lines, slow, &mut metrics);
        }
        let complete = room.is_complete();
        room.add_final_counts(false, &mut metrics);
        assert_eq!(metrics.latency.percentiles().count, 32, "the latency is that of the fast members");
        assert_eq!(metrics.counters.misordered + metrics.counters.corrupt, 0, "{slow}: {:?}", metrics.counters);
        (complete, metrics.counters)
    }

    #[test]
    fn announced_lines_are_compared_with_missing_ones_in_their_place() {
        // Complete; skipped, lost and untrue lines.
        for (script, expected) in [
            ("abcdefgh", (true, [0, 0, 0])),
            ("ab3fgh", (true, [3, 0, 0])),
            ("a12efgh", (true, [3, 0, 0])),
            ("2cdefg1", (true, [3, 0, 0])),
            ("8", (true, [8, 0, 0])),
            // The line after a gap is the next one of its sender.
            ("a1cdefgh", (true, [1, 0, 0])),
            ("ab2ef1h", (true, [3, 0, 0])),
            ("ab2fgh", (false, [2, 1, 0])),
            ("abfgh", (false, [0, 3, 0])),
            ("ab4fgh", (true, [3, 0, 1])),
            ("ab3cdefgh", (true, [0, 0, 3])),
            ("abcdefgh2", (true, [0, 0, 2])),
            // The numbers are right as a whole, and wrong in each place.
            ("a3deg1h", (false, [2, 1, 2])),
            ("ab3cdgh", (false, [0, 2, 3])),
            ("abcde", (false, [0, 3, 0])),
        ] {
            for leads in [false, true] {
                let (complete, counters) = run(script, leads);
                let found = [counters.slow_skipped, counters.lost, counters.untrue_skips];
                assert_eq!((complete, found), expected, "{script}, first to receive: {leads}: {counters:?}");
                assert_eq!(counters.expected, counters.delivered + counters.slow_skipped + counters.lost, "{script}");
            }
        }
    }

    #[test]
    fn repeated_and_exchanged_lines_of_a_slow_member_are_counted() {
        let counts = |counters: &Counters| [counters.duplicated, counters.misordered_room, counters.lost];
        let (mut room, mut metrics) = (slow_room(), Metrics::default());
        let lines = send_lines(&mut room, 6);
        (0..5).for_each(|member| feed(&mut room, member, &lines, "abcdef", &mut metrics));
        feed(&mut room, SLOW[1], &lines, "a1cceebdf", &mut metrics);
        room.add_final_counts(false, &mut metrics);
        assert_eq!(counts(&metrics.counters), [2, 2, 0], "{:?}", metrics.counters);
        assert_eq!((metrics.counters.untrue_skips, metrics.counters.slow_skipped), (1, 0), "no line is missing");
    }

    /// Closes slow member 3 after two of four lines. The others receive `fast` and `slow`.
    fn run_with_close(fast: &str, slow: &str) -> (bool, Counters) {
        let (mut room, mut metrics) = (slow_room(), Metrics::default());
        let lines = send_lines(&mut room, 4);
        feed(&mut room, SLOW[0], &lines, "ab", &mut metrics);
        for member in [0, 1, 2, 4] {
            feed(&mut room, member, &lines, fast, &mut metrics);
        }
        feed(&mut room, SLOW[1], &lines, slow, &mut metrics);
        assert!(!room.is_complete(), "a member lacks two lines");
        let reason = b"ERROR\nread faster\n";
        let received = room.receive(SLOW[0], reason, 2000, &mut metrics);
        assert_eq!(received.fault, None);
        assert_eq!(room.take_close_reason(SLOW[0]).as_deref(), Some("read faster"));
        room.mark_left(SLOW[0]);
        let complete = room.is_complete();
        room.add_final_counts(false, &mut metrics);
        room.start_leave_step(LeaveStep::One, &mut metrics);
        (complete, metrics.counters)
    }

    #[test]
    fn close_of_a_slow_member_is_announced_to_all_others() {
        // Skipped lines, lost lines, skipped leaves, lost leaves, untrue skips.
        let counts = |counters: &Counters| {
            let lines = [counters.slow_skipped, counters.lost];
            (lines, [counters.slow_leaves_skipped, counters.leave_notices_lost, counters.untrue_skips])
        };
        for (fast, slow, expected) in [
            ("abLcd", "abLcd", (true, [0, 0], [0, 0, 0])),
            ("abcdL", "ab1cd", (true, [0, 0], [1, 0, 0])),
            ("abcdL", "a4", (true, [3, 0], [1, 0, 0])),
            ("abcdL", "a5", (true, [3, 0], [1, 0, 1])),
            ("abcdL", "a3", (false, [3, 0], [0, 1, 0])),
            ("abcdL", "a3L", (true, [3, 0], [0, 0, 0])),
            ("abcd", "abcdL", (false, [0, 0], [0, 4, 0])),
        ] {
            let (complete, counters) = run_with_close(fast, slow);
            let (lines, notices) = counts(&counters);
            assert_eq!((complete, lines, notices), expected, "{fast}, {slow}: {counters:?}");
            assert_eq!((counters.errors, counters.untrue_notices), (0, 0), "{counters:?}");
        }
    }

    #[test]
    fn member_that_the_server_refuses_and_does_not_close_is_an_error() {
        let (mut room, mut metrics) = (slow_room(), Metrics::default());
        room.receive(SLOW[0], b"ERROR\nread faster\n", 2000, &mut metrics);
        assert!(!room.is_complete(), "the close is missing");
        room.receive(2, b"ERROR\n", 2000, &mut metrics);
        room.add_final_counts(false, &mut metrics);
        assert_eq!(metrics.counters.errors, 2, "one of a slow member, and one of a fast one");
    }
}
