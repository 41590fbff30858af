//! The check of join and leave notices: the notices that each member receives are compared with the joins and leaves.
//!
//! The server decides the order of joins: of two members, only the earlier one receives the later one's join notice. A
//! join whose notice the generator received before it sent another join request is the earlier one of the two.
//!
//! Servers that share a room learn of each other's joins a moment later. Of two members on different servers, each one may
//! receive the other one's join notice. Neither has to receive it while both servers are opening the room. After its first
//! announcement of a join on another server, a server must announce each later join there to the members that it has.

use std::ops::Range;

use crate::plan::server_number;

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

/// The members of a room on each of several servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    /// The room's number in the whole run.
    pub(super) room: usize,
    /// The number of servers.
    pub(super) servers: usize,
}

impl Spread {
    /// Returns the number of a member's server.
    fn server_of(self, member: usize) -> usize {
        server_number((self.room, member), self.servers)
    }

    /// Returns the number of members on each server.
    fn sizes(self, members: usize) -> Vec<u64> {
        let mut sizes = vec![0; self.servers];
        (0..members).for_each(|member| sizes[self.server_of(member)] += 1);
        sizes
    }
}

/// One server of the room, as far as the generator knows it.
#[derive(Clone, Copy, Debug, Default)]
struct ServerRecord {
    /// The number of joins on this server that the generator has learned of.
    joined: u32,
    /// The servers of the members whose joins it has announced: one bit for each server.
    announces: u64,
}

/// The joins and leaves of one member.
#[derive(Clone, Copy, Debug, Default)]
struct MemberRecord {
    /// Whether the generator has asked for the member's join.
    asked: bool,
    /// The servers that have to announce the member's join to those that joined before: one bit for each server.
    announced_by: u64,
    /// The number of members whose joins were known when this member asked to join. They joined earlier.
    joined_before: u32,
    /// The member's place in the order in which the generator learned of the joins; `None` before its join.
    rank: Option<u32>,
    /// The number of valid join notices of members on its own server that the member received.
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
    /// The servers of the members.
    spread: Spread,
    /// The state of each server.
    servers: Vec<ServerRecord>,
    /// Pairs of a receiver and a subject: the valid join notices.
    joins: PairSet,
    /// Pairs of a receiver and a subject: the leave notices.
    leaves: PairSet,
    /// The number of joins that the generator has learned of.
    joined: u32,
    /// The number of valid join notices of all members.
    join_notices: u64,
    /// The number of join notices that have to arrive, and of those from other servers that arrived and did not have to.
    expected_join_notices: u64,
    /// Join notices of members on other servers that have not arrived and do not have to: the subject's join was requested
    /// after the receiver's join, and the receiver's server had announced no join on the subject's server.
    optional_joins_awaited: u64,
    /// The subjects of leave notices that arrived before the generator knew of the leave.
    early_leaves: Vec<usize>,
    /// The members that shut their sending side down in the current step of leaving.
    leavers: Range<usize>,
    /// Leave notices of these members that staying members have not received yet.
    leaves_awaited: usize,
}

impl Membership {
    pub(super) fn new(members: usize, spread: Spread) -> Self {
        // Each member receives its own notice and those of all later members on its server.
        let of_server = |size: u64| size * (size + 1) / 2;
        Self {
            members: vec![MemberRecord::default(); members],
            spread,
            servers: vec![ServerRecord::default(); spread.servers],
            expected_join_notices: spread.sizes(members).into_iter().map(of_server).sum(),
            optional_joins_awaited: 0,
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
        let (own, record) = (self.spread.server_of(member), &mut self.members[member]);
        if std::mem::replace(&mut record.asked, true) {
            return;
        }
        record.joined_before = self.joined;
        for (server, other) in self.servers.iter().enumerate().filter(|(server, _)| *server != own) {
            if other.announces & (1 << own) != 0 {
                record.announced_by |= 1 << server;
                self.expected_join_notices += u64::from(other.joined);
            } else {
                self.optional_joins_awaited += u64::from(other.joined);
            }
        }
    }

    /// Records that a member has joined.
    pub(super) fn mark_joined(&mut self, member: usize) {
        if self.members[member].rank.is_none() {
            self.members[member].rank = Some(self.joined);
            self.joined += 1;
            self.servers[self.spread.server_of(member)].joined += 1;
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

    /// Returns the number of expected join notices: each member receives its own, those of all later members on its server,
    /// and those of other servers that had to arrive or did.
    pub(super) fn expected_join_notices(&self) -> u64 {
        self.expected_join_notices
    }

    /// Returns whether all expected join notices have arrived.
    pub(super) fn all_joins_announced(&self) -> bool {
        self.join_notices >= self.expected_join_notices
    }

    /// Returns the number of expected join notices that have not arrived.
    pub(super) fn missing_join_notices(&self) -> u64 {
        self.expected_join_notices.saturating_sub(self.join_notices)
    }

    /// Returns the number of join notices from other servers that have not arrived and do not have to.
    pub(super) fn optional_joins_awaited(&self) -> u64 {
        self.optional_joins_awaited
    }

    /// Records the join notice of a subject at a receiver. Returns whether it is valid: it is the first one, it does
    /// not precede the receiver's own, and the subject is not known to have joined before the receiver on the same server.
    pub(super) fn on_join_notice(&mut self, receiver: usize, subject: usize) -> bool {
        if self.spread.server_of(receiver) != self.spread.server_of(subject) {
            return self.on_remote_join(receiver, subject);
        }
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

    /// Records the join notice of a subject on another server. It is expected from now on, unless it was before.
    fn on_remote_join(&mut self, receiver: usize, subject: usize) -> bool {
        let (told, joined) = (self.members[receiver], self.members[subject]);
        let valid = told.rank.is_some() && self.joins.insert(self.members.len(), receiver, subject);
        if !valid {
            return false;
        }
        let (receiving, origin) = (self.spread.server_of(receiver), self.spread.server_of(subject));
        let is_later = joined.asked && told.rank.is_some_and(|rank| rank < joined.joined_before);
        if !(is_later && joined.announced_by & (1 << receiving) != 0) {
            self.expected_join_notices += 1;
            self.optional_joins_awaited -= u64::from(is_later);
        }
        self.servers[receiving].announces |= 1 << origin;
        self.join_notices += 1;
        true
    }

    /// Returns the number of members whose join notices contradict any common order of joins on their server. In a common
    /// order, the last of n members receives 1 notice, the one before it 2, and the first one n.
    pub(super) fn count_unordered_joins(&self) -> u64 {
        if !self.all_joins_announced() {
            return 0;
        }
        let mut seen = vec![vec![false; self.members.len() + 1]; self.spread.servers];
        let mut repeated = |(member, record): (usize, &MemberRecord)| {
            std::mem::replace(&mut seen[self.spread.server_of(member)][record.join_notices as usize], true)
        };
        self.members.iter().enumerate().map(|record| u64::from(repeated(record))).sum()
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

    /// The servers of a room on one server.
    const ONE_SERVER: Spread = Spread { room: 0, servers: 1 };

    /// Lets a member ask to join, and receive its own join notice.
    fn join(membership: &mut Membership, member: usize) {
        membership.on_join_request(member);
        assert!(membership.on_join_notice(member, member));
        membership.mark_joined(member);
    }

    /// Returns a membership of members that joined one after another, without any notice to others.
    fn joined(members: usize) -> Membership {
        let mut membership = Membership::new(members, ONE_SERVER);
        (0..members).for_each(|member| join(&mut membership, member));
        membership
    }

    #[test]
    fn join_on_another_server_may_be_announced_in_either_direction() {
        let mut membership = Membership::new(2, Spread { room: 1, servers: 2 });
        join(&mut membership, 0);
        join(&mut membership, 1);
        assert_eq!((membership.expected_join_notices(), membership.optional_joins_awaited()), (2, 1));
        assert!(membership.all_joins_announced(), "member 0 may have joined while its server opened the room");
        assert!(membership.on_join_notice(0, 1) && !membership.on_join_notice(0, 1), "each one once");
        assert!(membership.on_join_notice(1, 0), "the notice may arrive after the join of the receiver");
        assert_eq!((membership.expected_join_notices(), membership.optional_joins_awaited()), (4, 0));
        assert!(membership.all_joins_announced() && membership.count_unordered_joins() == 0);
    }

    #[test]
    fn join_on_another_server_is_expected_after_an_announcement_of_one_there() {
        // Members 0, 2 and 4 are on one server, and members 1 and 3 on another one.
        let mut membership = Membership::new(5, Spread { room: 0, servers: 2 });
        join(&mut membership, 0);
        join(&mut membership, 1);
        assert!(membership.on_join_notice(0, 1));
        join(&mut membership, 3);
        assert!(membership.on_join_notice(1, 3));
        // The second server has announced no join on the first one.
        join(&mut membership, 2);
        join(&mut membership, 4);
        assert!(membership.on_join_notice(0, 2) && membership.on_join_notice(0, 4) && membership.on_join_notice(2, 4));
        assert_eq!(
            (membership.missing_join_notices(), membership.optional_joins_awaited()),
            (1, 4),
            "0 must be told of 3"
        );
        assert!(!membership.all_joins_announced());
        assert!(membership.on_join_notice(2, 3), "the notice of an earlier join may come late");
        assert!(!membership.all_joins_announced());
        assert!(membership.on_join_notice(0, 3) && membership.all_joins_announced());
        assert_eq!((membership.count_unordered_joins(), membership.optional_joins_awaited()), (0, 4));
    }

    #[test]
    fn notice_of_another_server_before_the_own_join_is_not_valid() {
        let mut membership = Membership::new(2, Spread { room: 0, servers: 2 });
        join(&mut membership, 1);
        membership.on_join_request(0);
        assert!(!membership.on_join_notice(0, 1));
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
            let mut membership = Membership::new(2, ONE_SERVER);
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
        let mut membership = Membership::new(3, ONE_SERVER);
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
