//! The check of join and leave notices: the notices that each member receives are compared with the joins and leaves.
//!
//! The server decides the order of joins: of two members, only the earlier one receives the later one's join notice. A
//! join whose notice the generator received before it sent another join request is the earlier one of the two.

use std::ops::Range;

/// A set of ordered pairs of members: one bit for each pair, allocated at the first insertion.
#[derive(Debug, Default)]
struct PairSet {
    /// The bits of all first members; those of each start at a new word.
    words: Vec<u64>,
    /// The number of words for each first member.
    row: usize,
}

impl PairSet {
    fn new(members: usize) -> Self {
        Self { words: Vec::new(), row: members.div_ceil(64) }
    }

    fn contains(&self, first: usize, second: usize) -> bool {
        let word = self.words.get(first * self.row + second / 64);
        word.is_some_and(|word| word & (1 << (second % 64)) != 0)
    }

    /// Inserts a pair of two of `members` members. Returns whether it was absent.
    fn insert(&mut self, members: usize, first: usize, second: usize) -> bool {
        if self.words.is_empty() {
            self.words.resize(members * self.row, 0);
        }
        let (word, bit) = (&mut self.words[first * self.row + second / 64], 1 << (second % 64));
        let absent = *word & bit == 0;
        *word |= bit;
        absent
    }
}

/// The joins and leaves of one member.
#[derive(Clone, Copy, Debug, Default)]
struct MemberRecord {
    /// The number of members whose joins were known when this member asked to join. They joined earlier.
    joined_before: u32,
    /// The member's place in the order in which the generator learned of the joins; `None` before its join.
    rank: Option<u32>,
    /// The number of valid join notices that the member received.
    join_notices: u32,
    /// Whether the member's sending side is shut down.
    leaving: bool,
    /// Whether the member's connection has ended.
    left: bool,
}

impl MemberRecord {
    /// Returns whether the member stays in its room, and thus has to receive the leave notices of others.
    fn stays(&self) -> bool {
        self.rank.is_some() && !self.leaving && !self.left
    }
}

/// The membership of a room, and what its members were told of it.
#[derive(Debug)]
pub(super) struct Membership {
    /// The joins and leaves of each member.
    members: Vec<MemberRecord>,
    /// Pairs of a receiver and a subject: the valid join notices.
    joins: PairSet,
    /// Pairs of a receiver and a subject: the leave notices.
    leaves: PairSet,
    /// The number of joins that the generator has learned of.
    joined: u32,
    /// The number of valid join notices of all members.
    join_notices: u64,
    /// The subjects of leave notices that arrived before the generator knew of the leave.
    early_leaves: Vec<usize>,
    /// The members that shut their sending side down in the current step of leaving.
    leavers: Range<usize>,
    /// Leave notices of these members that staying members have not received yet.
    leaves_awaited: usize,
}

impl Membership {
    pub(super) fn new(members: usize) -> Self {
        Self {
            members: vec![MemberRecord::default(); members],
            joins: PairSet::new(members),
            leaves: PairSet::new(members),
            joined: 0,
            join_notices: 0,
            early_leaves: Vec::new(),
            leavers: 0..0,
            leaves_awaited: 0,
        }
    }

    /// Records that the generator is about to send a member's join request.
    pub(super) fn on_join_request(&mut self, member: usize) {
        self.members[member].joined_before = self.joined;
    }

    /// Records that a member has joined.
    pub(super) fn mark_joined(&mut self, member: usize) {
        if self.members[member].rank.is_none() {
            self.members[member].rank = Some(self.joined);
            self.joined += 1;
        }
    }

    /// Records that a member's connection has ended.
    pub(super) fn mark_left(&mut self, member: usize) {
        self.members[member].left = true;
        if !self.members[member].leaving {
            self.leaves_awaited = self.count_awaited_leaves();
        }
    }

    /// Returns whether a member's sending side is shut down.
    pub(super) fn is_leaving(&self, member: usize) -> bool {
        self.members[member].leaving
    }

    /// Returns the number of expected join notices: each member receives its own and those of all later members.
    pub(super) fn expected_join_notices(&self) -> u64 {
        let members = self.members.len() as u64;
        members * (members + 1) / 2
    }

    /// Returns whether all expected join notices have arrived.
    pub(super) fn all_joins_announced(&self) -> bool {
        self.join_notices >= self.expected_join_notices()
    }

    /// Returns the number of expected join notices that have not arrived.
    pub(super) fn missing_join_notices(&self) -> u64 {
        self.expected_join_notices().saturating_sub(self.join_notices)
    }

    /// Records the join notice of a subject at a receiver. Returns whether it is valid: it is the first one, it does
    /// not precede the receiver's own, and the subject is not known to have joined before the receiver.
    pub(super) fn on_join_notice(&mut self, receiver: usize, subject: usize) -> bool {
        let (told, joined) = (self.members[receiver], self.members[subject]);
        let later = receiver == subject
            || (told.rank.is_some()
                && joined.rank.is_none_or(|rank| rank >= told.joined_before)
                && !self.joins.contains(subject, receiver));
        let valid = later && self.joins.insert(self.members.len(), receiver, subject);
        self.members[receiver].join_notices += u32::from(valid);
        self.join_notices += u64::from(valid);
        valid
    }

    /// Returns the number of members whose join notices contradict any common order of joins. In a common order, the
    /// last of n members receives 1 notice, the one before it 2, and the first one n.
    pub(super) fn count_unordered_joins(&self) -> u64 {
        if !self.all_joins_announced() {
            return 0;
        }
        let mut seen = vec![false; self.members.len() + 1];
        let repeated = |member: &&MemberRecord| std::mem::replace(&mut seen[member.join_notices as usize], true);
        self.members.iter().filter(repeated).count() as u64
    }

    /// Records the leave notice of a subject at a receiver. Returns whether it is valid as far as known: it is the
    /// first one, and the receiver is another member that has joined. [`Self::take_untrue_leaves`] checks that the
    /// subject has left, since the notice may precede the end of the subject's own connection.
    pub(super) fn on_leave_notice(&mut self, receiver: usize, subject: usize) -> bool {
        let (told, gone) = (self.members[receiver], self.members[subject]);
        let valid =
            receiver != subject && told.rank.is_some() && self.leaves.insert(self.members.len(), receiver, subject);
        if valid && !gone.leaving && !gone.left {
            self.early_leaves.push(subject);
        }
        if valid && gone.leaving && self.leavers.contains(&subject) && told.stays() {
            self.leaves_awaited = self.leaves_awaited.saturating_sub(1);
        }
        valid
    }

    /// Returns the number of leave notices so far whose subjects have not left.
    pub(super) fn take_untrue_leaves(&mut self) -> u64 {
        let early = std::mem::take(&mut self.early_leaves);
        early.into_iter().filter(|&subject| !self.members[subject].left).count() as u64
    }

    /// Starts a step of leaving: the sending sides of these members are about to be shut down.
    pub(super) fn start_leaving(&mut self, leavers: Range<usize>) {
        for member in leavers.clone() {
            self.members[member].leaving = !self.members[member].left;
        }
        self.leavers = leavers;
        self.leaves_awaited = self.count_awaited_leaves();
    }

    /// Returns whether every staying member has received the leave notices of the current step.
    pub(super) fn all_leaves_announced(&self) -> bool {
        self.leaves_awaited == 0
    }

    /// Returns the numbers of expected and of lost leave notices of the current step.
    pub(super) fn leave_notice_counts(&self) -> (u64, u64) {
        (self.expected_leaves().count() as u64, self.leaves_awaited as u64)
    }

    /// Returns the number of members whose connections the server has closed and whose leave notices a member has not
    /// received.
    pub(super) fn missing_leaves(&self, receiver: usize) -> u64 {
        let closed = |record: &MemberRecord| record.left && !record.leaving && record.rank.is_some();
        let subjects = (0..self.members.len()).filter(|&subject| subject != receiver && closed(&self.members[subject]));
        subjects.filter(|&subject| !self.leaves.contains(receiver, subject)).count() as u64
    }

    /// Returns each pair of a staying member and a member that leaves in the current step.
    fn expected_leaves(&self) -> impl Iterator<Item = (usize, usize)> {
        let staying = (0..self.members.len()).filter(|&member| self.members[member].stays());
        let left = |member: &usize| self.members[*member].leaving && self.members[*member].rank.is_some();
        staying.flat_map(move |receiver| self.leavers.clone().filter(left).map(move |subject| (receiver, subject)))
    }

    fn count_awaited_leaves(&self) -> usize {
        self.expected_leaves().filter(|&(receiver, subject)| !self.leaves.contains(receiver, subject)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a membership of members that joined one after another, without any notice to others.
    fn joined(members: usize) -> Membership {
        let mut membership = Membership::new(members);
        for member in 0..members {
            membership.on_join_request(member);
            assert!(membership.on_join_notice(member, member));
            membership.mark_joined(member);
        }
        membership
    }

    #[test]
    fn earlier_member_is_told_of_a_later_one_and_not_the_reverse() {
        let mut membership = joined(3);
        assert!(membership.on_join_notice(0, 1) && membership.on_join_notice(0, 2));
        assert!(!membership.on_join_notice(2, 1), "member 1 joined before member 2 asked to join");
        assert!(!membership.on_join_notice(0, 1), "member 0 was told of member 1 before");
        assert_eq!((membership.missing_join_notices(), membership.all_joins_announced()), (1, false));
        assert!(membership.on_join_notice(1, 2) && membership.all_joins_announced());
        assert_eq!(membership.count_unordered_joins(), 0);
    }

    #[test]
    fn pair_that_joined_at_the_same_time_is_told_one_way() {
        for (first, second) in [(0, 1), (1, 0)] {
            let mut membership = Membership::new(2);
            (0..2).for_each(|member| membership.on_join_request(member));
            assert!(!membership.on_join_notice(first, second), "the first notice of a member is its own");
            for member in 0..2 {
                assert!(membership.on_join_notice(member, member));
                membership.mark_joined(member);
            }
            assert!(membership.on_join_notice(first, second));
            assert!(!membership.on_join_notice(second, first), "the notice was given the other way round");
            assert!(membership.all_joins_announced());
        }
    }

    #[test]
    fn join_notices_in_a_circle_have_no_common_order() {
        let mut membership = Membership::new(3);
        (0..3).for_each(|member| membership.on_join_request(member));
        for member in 0..3 {
            assert!(membership.on_join_notice(member, member));
            membership.mark_joined(member);
        }
        for (receiver, subject) in [(0, 1), (1, 2), (2, 0)] {
            assert!(membership.on_join_notice(receiver, subject));
        }
        assert_eq!((membership.all_joins_announced(), membership.count_unordered_joins()), (true, 2));
    }

    #[test]
    fn staying_members_have_to_be_told_of_each_leaver_once() {
        let mut membership = joined(4);
        membership.start_leaving(3..4);
        assert!(membership.on_leave_notice(0, 3) && !membership.on_leave_notice(0, 3));
        assert!(!membership.on_leave_notice(3, 3), "no member is told of its own leave");
        assert!(membership.on_leave_notice(1, 3) && !membership.all_leaves_announced());
        assert_eq!(membership.leave_notice_counts(), (3, 1));
        assert!(membership.on_leave_notice(2, 3) && membership.all_leaves_announced());
        membership.start_leaving(1..3);
        assert!(membership.on_leave_notice(1, 2), "a leaving member may be told of another one");
        assert!(membership.on_leave_notice(0, 1));
        assert_eq!((membership.leave_notice_counts(), membership.take_untrue_leaves()), ((2, 1), 0));
        membership.mark_left(0);
        assert!(membership.all_leaves_announced(), "a member that has left is told of no leave");
    }

    #[test]
    fn notice_before_the_leave_is_untrue_unless_the_subject_has_left() {
        let mut membership = joined(3);
        assert!(membership.on_leave_notice(0, 1) && membership.on_leave_notice(0, 2));
        membership.mark_left(2);
        assert_eq!(membership.take_untrue_leaves(), 1);
        assert_eq!(membership.take_untrue_leaves(), 0);
    }

    #[test]
    fn pairs_of_more_than_64_members_are_told_apart() {
        let mut pairs = PairSet::new(130);
        for (first, second) in [(0, 64), (1, 0), (129, 129), (64, 128)] {
            assert!(!pairs.contains(first, second) && pairs.insert(130, first, second));
            assert!(pairs.contains(first, second) && !pairs.insert(130, first, second));
        }
        assert!(!pairs.contains(0, 65) && !pairs.contains(128, 64));
    }
}
