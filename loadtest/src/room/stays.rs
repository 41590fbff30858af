//! The check of notices while members leave and come back: what each member received during a stay is compared with the
//! joins and leaves, and with the room's common order of notices.
//!
//! A notice is true if its subject has begun the join or leave and no notice has announced it before. The first member that
//! receives a true notice gives it its place in the common order. Every other member that is in the room at this place has to
//! receive it, too.

use std::collections::{BTreeMap, VecDeque};

use super::notice_log::{Notice, NoticeEntry, NoticeKind, NoticeLog};

/// The current stay of a member, and its joins and leaves that are not announced.
#[derive(Debug, Default)]
struct Stay {
    /// Whether the member receives notices, or is about to join and may receive them soon.
    active: bool,
    /// Whether the member has joined, and has not begun to leave.
    inside: bool,
    /// The number of the first notice after the member's own join.
    base: usize,
    /// The number of the notice that the member has to receive next.
    next: usize,
    /// Notices that the member did not receive although it received a later one.
    missed: BTreeMap<usize, Notice>,
    /// The member's joins and leaves that no notice has announced, each with the end of the log when it began.
    unannounced: VecDeque<(NoticeKind, usize)>,
    /// The number of the notice of the member's last join.
    own_join: Option<usize>,
    /// Whether a leave was announced although the generator knows of none. The server may have closed the connection.
    left_early: bool,
    /// Join requests whose connections the server closed without a refusal and without the notice of the join. The server
    /// may announce such a join to others, and has to announce the leave then, too.
    unanswered_joins: u32,
}

impl Stay {
    /// Returns whether a notice with the number `number` is that of an unanswered join, or of the leave that followed it. The
    /// opposite notice is to come then: the leave, or the join that the first notice was taken for.
    fn accept_unanswered(&mut self, kind: NoticeKind, number: usize) -> bool {
        if self.unanswered_joins == 0 || (kind == NoticeKind::Leave && self.own_join.is_none()) {
            return false;
        }
        self.unanswered_joins -= 1;
        let following = if kind == NoticeKind::Join { NoticeKind::Leave } else { NoticeKind::Join };
        self.unannounced.push_front((following, number + 1));
        true
    }
}

/// The relation of a received notice to the joins, the leaves and the common order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    /// The notice with this number, which the member had to receive.
    Expected(usize),
    /// A notice that arrived after a later one of the same subject.
    Late,
    /// A notice of a join or leave that did not happen, or that the member has received before.
    Untrue,
}

/// The number of notices that members should have received and did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LostNotices {
    /// Join notices.
    pub(super) joins: u64,
    /// Leave notices.
    pub(super) leaves: u64,
}

/// The stays of all members of a room, which have all joined at the start.
#[derive(Debug)]
pub(super) struct Stays {
    log: NoticeLog,
    stays: Vec<Stay>,
}

impl Stays {
    /// Returns the stays of members that are in the room.
    pub(super) fn new(members: usize) -> Self {
        let stay = || Stay { active: true, inside: true, ..Stay::default() };
        Self { log: NoticeLog::default(), stays: std::iter::repeat_with(stay).take(members).collect() }
    }

    /// Returns the number of the next notice.
    pub(super) fn end(&self) -> usize {
        self.log.end()
    }

    /// Records that a member is about to connect again. The log keeps all notices from now on for it.
    pub(super) fn start_return(&mut self, member: usize) {
        let end = self.log.end();
        let stay = &mut self.stays[member];
        (stay.active, stay.base, stay.next, stay.own_join) = (true, end, end, None);
        stay.missed.clear();
    }

    /// Records that a member's join request is about to be sent.
    pub(super) fn on_join_request(&mut self, member: usize) {
        self.stays[member].unannounced.push_back((NoticeKind::Join, self.log.end()));
    }

    /// Records that a member's connection was refused or closed before the notice of its own join arrived. A join that
    /// others were told of is followed by a leave.
    pub(super) fn cancel_return(&mut self, member: usize, was_refused: bool) {
        let end = self.log.end();
        let stay = &mut self.stays[member];
        (stay.active, stay.inside) = (false, false);
        if stay.own_join.is_some() {
            stay.unannounced.push_back((NoticeKind::Leave, end));
        } else if stay.unannounced.back().is_some_and(|(kind, _)| *kind == NoticeKind::Join) {
            stay.unannounced.pop_back();
            stay.unanswered_joins += u32::from(!was_refused);
        }
    }

    /// Records that a stay is over which no other member has shown.
    pub(super) fn abandon_stay(&mut self, member: usize) {
        self.append_unannounced_of(member);
        let stay = &mut self.stays[member];
        (stay.active, stay.inside) = (false, false);
    }

    /// Records that a member is about to leave, or that the server has closed its connection.
    pub(super) fn start_leave(&mut self, member: usize) {
        let stay = &mut self.stays[member];
        stay.inside = false;
        if !std::mem::take(&mut stay.left_early) {
            stay.unannounced.push_back((NoticeKind::Leave, self.log.end()));
        }
    }

    /// Returns the number of the notice of a member's last join and the lines before it, where another member has shown
    /// both.
    pub(super) fn own_join(&self, member: usize) -> Option<(usize, usize)> {
        let number = self.stays[member].own_join?;
        Some((number, self.log.get(number)?.line?))
    }

    /// Returns whether a join or leave of a member is not announced.
    pub(super) fn has_unannounced(&self, member: usize) -> bool {
        !self.stays[member].unannounced.is_empty()
    }

    /// Returns the number of the notice of a member's last join.
    pub(super) fn own_join_number(&self, member: usize) -> Option<usize> {
        self.stays[member].own_join
    }

    /// Gives the join of a member its place in the order, after `line` lines: no other member can show it. Returns the
    /// number of its notice.
    pub(super) fn announce_own_join(&mut self, member: usize, line: usize) -> usize {
        let notice = Notice { kind: NoticeKind::Join, subject: member };
        self.announce(notice, Some(line)).unwrap_or_else(|| self.stays[member].own_join.unwrap_or(self.log.end()))
    }

    /// Starts a member's stay after the notice of its own join.
    pub(super) fn start_stay(&mut self, member: usize, own_join: usize) {
        let stay = &mut self.stays[member];
        (stay.base, stay.next, stay.inside) = (own_join + 1, own_join + 1, true);
    }

    /// Ends a member's stay, in which it had to receive the notices before `end`. Returns the ones that it did not receive.
    pub(super) fn end_stay(&mut self, member: usize, end: usize) -> LostNotices {
        let lost = self.count_lost(member, end);
        let stay = &mut self.stays[member];
        stay.active = false;
        stay.missed.clear();
        lost
    }

    /// Counts the notices that a member has not received: those before `end`, and those before a notice that it has received.
    pub(super) fn count_lost(&self, member: usize, end: usize) -> LostNotices {
        let stay = &self.stays[member];
        let owed = |entry: &NoticeEntry| entry.since >= stay.base;
        let unread = self.log.entries_from(stay.next).take_while(|(number, _)| *number < end);
        let unread = unread.filter(|(_, entry)| owed(entry)).map(|(_, entry)| entry.notice.kind);
        let missed = stay.missed.values().map(|notice| notice.kind);
        missed.chain(unread).fold(LostNotices::default(), |lost, kind| match kind {
            NoticeKind::Join => LostNotices { joins: lost.joins + 1, ..lost },
            NoticeKind::Leave => LostNotices { leaves: lost.leaves + 1, ..lost },
        })
    }

    /// Records a notice that a member received after `line` lines, where their number is exact.
    pub(super) fn receive(&mut self, receiver: usize, notice: Notice, line: Option<usize>) -> Receipt {
        let next = self.stays[receiver].next;
        let ahead = self.log.entries_from(next).find(|(_, entry)| entry.notice == notice).map(|(number, _)| number);
        if ahead.is_none()
            && let Some(number) = self.take_missed(receiver, notice)
        {
            return if self.has_passed_later(receiver, number) { Receipt::Late } else { Receipt::Expected(number) };
        }
        let Some(number) = ahead.or_else(|| self.announce(notice, line)) else { return Receipt::Untrue };
        let stay = &mut self.stays[receiver];
        for (number, entry) in self.log.entries_from(next).take_while(|(passed, _)| *passed < number) {
            if entry.since >= stay.base {
                stay.missed.insert(number, entry.notice);
            }
        }
        stay.next = number + 1;
        if self.log.needs_discard() {
            let active = self.stays.iter().filter(|stay| stay.active).map(|stay| stay.next);
            self.log.discard_before(active.min().unwrap_or(self.log.end()));
        }
        Receipt::Expected(number)
    }

    /// Removes a notice from those that a member has missed. Returns its number, if it is one of them.
    fn take_missed(&mut self, member: usize, notice: Notice) -> Option<usize> {
        let missed = &mut self.stays[member].missed;
        let number = missed.iter().find(|(_, missed)| **missed == notice).map(|(number, _)| *number)?;
        missed.remove(&number);
        Some(number)
    }

    /// Returns whether a member has received a later notice of the subject of a notice. The order of the notices of different
    /// subjects is not checked: a member that misses one may be the first to show the next one.
    fn has_passed_later(&self, member: usize, number: usize) -> bool {
        let stay = &self.stays[member];
        let subject = self.log.get(number).map(|entry| entry.notice.subject);
        let later = self.log.entries_from(number + 1).take_while(|(later, _)| *later < stay.next);
        later
            .into_iter()
            .any(|(later, entry)| Some(entry.notice.subject) == subject && !stay.missed.contains_key(&later))
    }

    /// Records how many lines a member received before a notice. Returns by how much the known number has grown where the
    /// notice is that of its subject's last join.
    pub(super) fn raise_line(&mut self, number: usize, notice: Notice, line: usize) -> usize {
        let grown = self.log.raise_line(number, line);
        if self.stays[notice.subject].own_join == Some(number) { grown } else { 0 }
    }

    /// Appends a true notice, after those of earlier joins and leaves of its subject that no member has received. Returns its
    /// number; `None` for an untrue notice.
    fn announce(&mut self, notice: Notice, line: Option<usize>) -> Option<usize> {
        let stay = &mut self.stays[notice.subject];
        if stay.unannounced.iter().any(|(kind, _)| *kind == notice.kind) {
            while let Some((kind, since)) = self.stays[notice.subject].unannounced.pop_front() {
                if kind == notice.kind {
                    break;
                }
                self.append(Notice { kind, ..notice }, None, since);
            }
        } else if notice.kind == NoticeKind::Leave && stay.inside && !stay.left_early {
            stay.left_early = true;
        } else if stay.accept_unanswered(notice.kind, self.log.end()) {
            let number = self.log.end();
            self.append(notice, line, number);
            // The current connection has another join.
            self.stays[notice.subject].own_join = None;
            return Some(number);
        } else {
            return None;
        }
        // Every member that is in the room at this place has to receive it.
        let number = self.log.end();
        self.append(notice, line, number);
        Some(number)
    }

    fn append(&mut self, notice: Notice, line: Option<usize>, since: usize) {
        if notice.kind == NoticeKind::Join {
            self.stays[notice.subject].own_join = Some(self.log.end());
        }
        self.log.push(NoticeEntry { notice, line, since });
    }

    /// Appends the notices that no member has received up to now to the log. Members that were in the room before the join or
    /// leave began had to receive them.
    pub(super) fn append_unannounced(&mut self) {
        for subject in 0..self.stays.len() {
            self.append_unannounced_of(subject);
        }
    }

    /// Appends the notices of one subject that no member has received up to now.
    pub(super) fn append_unannounced_of(&mut self, subject: usize) {
        while let Some((kind, since)) = self.stays[subject].unannounced.pop_front() {
            self.append(Notice { kind, subject }, None, since);
        }
    }

    /// Returns the number of members that were announced as having left and are still in the room.
    pub(super) fn count_untrue_leaves(&self) -> u64 {
        self.stays.iter().filter(|stay| stay.left_early).count() as u64
    }

    /// Returns whether every join and leave is announced to each of `members`.
    pub(super) fn is_complete(&self, mut members: impl Iterator<Item = usize>) -> bool {
        let end = self.log.end();
        self.stays.iter().all(|stay| stay.unannounced.is_empty())
            && members.all(|member| self.stays[member].next == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn join(subject: usize) -> Notice {
        Notice { kind: NoticeKind::Join, subject }
    }

    const fn leave(subject: usize) -> Notice {
        Notice { kind: NoticeKind::Leave, subject }
    }

    /// Lets a member leave and come back, and the receivers be told of both.
    fn absence(stays: &mut Stays, member: usize, receivers: &[usize]) {
        stays.start_leave(member);
        for receiver in receivers {
            stays.receive(*receiver, leave(member), Some(0));
        }
        stays.end_stay(member, 0);
        stays.start_return(member);
        stays.on_join_request(member);
        for receiver in receivers {
            stays.receive(*receiver, join(member), Some(0));
        }
        let (number, _) = stays.own_join(member).unwrap();
        stays.start_stay(member, number);
    }

    #[test]
    fn each_notice_is_expected_once_at_its_place() {
        let mut stays = Stays::new(3);
        stays.start_leave(2);
        assert_eq!(stays.receive(0, leave(2), Some(7)), Receipt::Expected(0));
        assert_eq!(stays.receive(0, leave(2), Some(7)), Receipt::Untrue, "the notice is repeated");
        assert_eq!(stays.receive(0, join(2), Some(7)), Receipt::Untrue, "the member has not asked to join");
        assert!(!stays.is_complete([0, 1].into_iter()));
        assert_eq!(stays.receive(1, leave(2), Some(7)), Receipt::Expected(0));
        assert!(stays.is_complete([0, 1].into_iter()));
        stays.end_stay(2, 0);
        stays.start_return(2);
        stays.on_join_request(2);
        assert_eq!(stays.own_join(2), None);
        assert_eq!(stays.receive(1, join(2), Some(9)), Receipt::Expected(1));
        assert_eq!(stays.own_join(2), Some((1, 9)));
        assert_eq!(stays.receive(1, join(2), Some(9)), Receipt::Untrue, "the notice is repeated");
        assert_eq!(stays.count_lost(0, stays.end()), LostNotices { joins: 1, leaves: 0 });
    }

    #[test]
    fn notice_that_a_member_missed_is_lost_and_late_when_it_comes() {
        let mut stays = Stays::new(3);
        absence(&mut stays, 2, &[0]);
        assert_eq!(stays.receive(1, join(2), Some(0)), Receipt::Expected(1));
        assert_eq!(stays.count_lost(1, stays.end()), LostNotices { joins: 0, leaves: 1 });
        assert_eq!(stays.receive(1, leave(2), Some(0)), Receipt::Late);
        assert_eq!(stays.count_lost(1, stays.end()), LostNotices::default());
    }

    #[test]
    fn notice_that_a_leaver_missed_before_a_later_one_is_lost() {
        let mut stays = Stays::new(3);
        let end = stays.end();
        stays.start_leave(1);
        absence(&mut stays, 2, &[0]);
        assert_eq!(stays.receive(1, join(2), Some(0)), Receipt::Expected(1));
        assert_eq!(stays.end_stay(1, end), LostNotices { joins: 0, leaves: 1 });
    }

    #[test]
    fn leave_that_no_member_was_told_of_is_lost_for_those_that_were_there() {
        let mut stays = Stays::new(4);
        stays.start_leave(2);
        absence(&mut stays, 3, &[0, 1]);
        stays.end_stay(2, 0);
        stays.start_return(2);
        stays.on_join_request(2);
        for receiver in [0, 1, 3] {
            stays.receive(receiver, join(2), Some(0));
        }
        let lost = [0, 1, 3].map(|member| stays.count_lost(member, stays.end()).leaves);
        assert_eq!(lost, [1, 1, 0], "member 3 came back after the leave began");
    }

    #[test]
    fn join_that_no_member_was_told_of_is_lost_when_its_leave_is_announced() {
        let mut stays = Stays::new(2);
        stays.start_leave(1);
        stays.receive(0, leave(1), Some(0));
        stays.end_stay(1, 0);
        stays.start_return(1);
        stays.on_join_request(1);
        stays.start_leave(1);
        assert_eq!(stays.receive(0, leave(1), Some(5)), Receipt::Expected(2));
        assert_eq!(stays.count_lost(0, stays.end()), LostNotices { joins: 1, leaves: 0 });
    }

    #[test]
    fn refused_join_is_not_announced() {
        let mut stays = Stays::new(2);
        stays.start_leave(1);
        stays.receive(0, leave(1), Some(0));
        for _ in 0..2 {
            stays.start_return(1);
            stays.on_join_request(1);
            stays.cancel_return(1, true);
        }
        assert_eq!(stays.receive(0, join(1), Some(0)), Receipt::Untrue);
        stays.append_unannounced();
        assert_eq!(stays.count_lost(0, stays.end()), LostNotices::default());
    }

    /// Returns the stays of two members, of which the second one has left and its next connection was closed by the server
    /// without an answer. `announced` says whether the first member has been told of that join before the close.
    fn with_unanswered_join(announced: bool) -> Stays {
        let mut stays = Stays::new(2);
        stays.start_leave(1);
        stays.receive(0, leave(1), Some(0));
        stays.start_return(1);
        stays.on_join_request(1);
        if announced {
            assert_eq!(stays.receive(0, join(1), Some(0)), Receipt::Expected(1));
        }
        stays.cancel_return(1, false);
        stays
    }

    #[test]
    fn join_that_the_server_did_not_confirm_is_true_with_its_leave() {
        for announced in [true, false] {
            let mut stays = with_unanswered_join(announced);
            if !announced {
                assert!(stays.is_complete([0].into_iter()), "the join need not be announced");
                assert_eq!(stays.receive(0, join(1), Some(0)), Receipt::Expected(1));
            }
            assert!(!stays.is_complete([0].into_iter()), "the leave has to be announced");
            assert_eq!(stays.receive(0, leave(1), Some(0)), Receipt::Expected(2));
            assert!(stays.is_complete([0].into_iter()));
            for notice in [leave(1), join(1)] {
                assert_eq!(stays.receive(0, notice, Some(0)), Receipt::Untrue, "the notice is repeated");
            }
        }
    }

    #[test]
    fn position_of_a_return_after_an_unanswered_join_is_that_of_its_own_join() {
        for first_notices in [0, 1, 2] {
            let mut stays = with_unanswered_join(false);
            let notices = [join(1), leave(1), join(1)];
            let receive = |stays: &mut Stays, range: std::ops::Range<usize>| {
                for (at, notice) in range.clone().zip(&notices[range]) {
                    assert_eq!(stays.receive(0, *notice, Some(at)), Receipt::Expected(at + 1));
                }
            };
            receive(&mut stays, 0..first_notices);
            stays.start_return(1);
            stays.on_join_request(1);
            receive(&mut stays, first_notices..3);
            assert_eq!(stays.own_join(1), Some((3, 2)), "{first_notices}");
            assert!(stays.is_complete([0].into_iter()));
        }
    }

    #[test]
    fn early_leave_is_untrue_unless_the_connection_ends() {
        let mut stays = Stays::new(3);
        assert_eq!(stays.receive(0, leave(1), Some(0)), Receipt::Expected(0));
        assert_eq!(stays.count_untrue_leaves(), 1);
        stays.start_leave(1);
        assert_eq!(stays.count_untrue_leaves(), 0);
        assert_eq!(stays.receive(2, leave(1), Some(0)), Receipt::Expected(0));
        assert!(stays.is_complete([0, 2].into_iter()));
    }

    #[test]
    fn log_is_bounded_while_members_come_and_go() {
        let mut stays = Stays::new(3);
        for _ in 0..10_000 {
            absence(&mut stays, 2, &[0, 1]);
        }
        assert_eq!(stays.end(), 20_000);
        assert!(stays.log.entries_from(0).count() < 200, "the log keeps notices that all members have received");
        assert_eq!(stays.count_lost(0, stays.end()), LostNotices::default());
    }
}
