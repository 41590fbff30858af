//! The members that are read immediately where reads are deferred: a sample of the room that rotates.
//!
//! The senders and the last member of each common order belong to every sample, and the rest is divided into parts that
//! take turns. The sample thus includes members that the server writes to early and late, and over a run it includes every member.

use super::Room;
use super::common_order::CommonOrder;

/// One in this many members belongs to a part.
const PARTS: usize = 32;
/// The part of the first sample.
pub(super) const FIRST_SAMPLE: usize = PARTS - 1;

/// The most bytes that may wait to be read for a member; far less than servers buffer for one peer.
pub(super) const MAX_UNREAD_BYTES: usize = 64 * 1024;

/// The members that the next rotation of a room's sample concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SampleChange {
    /// Members that are read immediately from then on.
    pub(crate) entering: Vec<usize>,
    /// Members whose reads are deferred from then on.
    pub(crate) leaving: Vec<usize>,
}

impl Room {
    /// Returns whether a member is read immediately. Such a member paces a closed loop, and its latency is measured.
    pub(crate) fn is_read_immediately(&self, member: usize) -> bool {
        !self.is_slow(member)
            && (!self.deferred_reads || self.is_in_every_sample(member) || self.part_of(member) == self.sample)
    }

    fn is_in_every_sample(&self, member: usize) -> bool {
        member < self.sent.len() || member + self.orders.len() >= self.cursors.len()
    }

    /// Returns a member's part. Small rooms have members in some parts only, so that rooms differ in their parts.
    fn part_of(&self, member: usize) -> usize {
        (member + self.number as usize) % PARTS
    }

    /// Returns the members that the next rotation concerns.
    pub(crate) fn next_sample_change(&self) -> SampleChange {
        let part = |part: usize| {
            let first = (part + PARTS - self.number as usize % PARTS) % PARTS;
            let members = (first..self.cursors.len()).step_by(PARTS);
            members.filter(|&member| !self.is_in_every_sample(member)).collect()
        };
        SampleChange { entering: part(self.next_sample()), leaving: part(self.sample) }
    }

    /// Replaces the sample by the next one. All available bytes of the entering members must have been read before, so
    /// that later ones have not waited for the generator.
    pub(crate) fn rotate_sample(&mut self) {
        self.sample = self.next_sample();
        self.recompute_floors();
    }

    fn next_sample(&self) -> usize {
        (self.sample + 1) % PARTS
    }

    /// Returns whether the unread bytes of deferred members exceed [`MAX_UNREAD_BYTES`]. With more of them the server
    /// might drop lines because of the generator.
    pub(crate) fn awaits_deferred_reads(&mut self) -> bool {
        self.deferred_reads && (0..self.orders.len()).any(|order| self.order_awaits_reads(order))
    }

    fn order_awaits_reads(&mut self, order: usize) -> bool {
        let exceeds = |order: &CommonOrder| order.log.retained_bytes() > MAX_UNREAD_BYTES;
        if exceeds(&self.orders[order]) && self.orders[order].floor_outdated {
            self.recompute_floor(order);
        }
        exceeds(&self.orders[order])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::room;
    use super::*;
    use crate::protocol::ProtocolKind;

    #[test]
    fn every_member_is_in_one_of_the_rotating_samples() {
        for members in [3, 20, 31, 32, 33, 100] {
            let mut room = room(members, ProtocolKind::Line);
            room.deferred_reads = true;
            room.recompute_floors();
            let mut seen = vec![0; members];
            for _ in 0..PARTS {
                let before: Vec<bool> = (0..members).map(|member| room.is_read_immediately(member)).collect();
                before.iter().zip(&mut seen).for_each(|(sampled, count)| *count += usize::from(*sampled));
                let change = room.next_sample_change();
                room.rotate_sample();
                for (member, before) in before.into_iter().enumerate() {
                    let now = room.is_read_immediately(member);
                    assert_eq!(change.entering.contains(&member), now && !before, "member {member} of {members}");
                    assert_eq!(change.leaving.contains(&member), before && !now, "member {member} of {members}");
                }
            }
            let rest = &seen[2..members - 1];
            assert!(rest.iter().all(|count| *count == 1), "{members} members: {seen:?}");
            assert_eq!((seen[0], seen[1], seen[members - 1]), (PARTS, PARTS, PARTS), "senders and the last member");
        }
    }
}
