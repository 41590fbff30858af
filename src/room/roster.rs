//! A room's roster: its members, as a snapshot that is read without a lock.

use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::text::names::UserName;
use arc_swap::ArcSwap;
use halfbrown::HashMap;
use std::hash::{Hash, Hasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The peers of a room by their keys. Names come from outside: the hash is `SipHash` with a random seed.
pub type Members = HashMap<MemberKey, Arc<Peer<dyn ByteSink>>, RandomState>;

/// The identity of a member in its room. One member at a time can have a key.
#[derive(Clone, Copy, Debug)]
pub struct MemberKey {
    /// The member's name.
    pub name: UserName,
    /// Distinguishes members of the same name where the settings allow duplicate names; else `None`, so
    /// that one member at a time can have a name.
    pub disambiguator: Option<NonZeroU64>,
    /// The slot in which the room raises events for this member. **Not part of the identity**: equality
    /// and hash ignore it, so that a name is taken in whichever slot its member has joined.
    pub slot: MembershipSlot,
}

impl PartialEq for MemberKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.disambiguator == other.disambiguator
    }
}

impl Eq for MemberKey {}

impl Hash for MemberKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.disambiguator.hash(state);
    }
}

/// The members of one room. Readers get a snapshot; the room's delivery pass is the only writer, and
/// replaces the snapshot with a changed copy.
///
/// No guard of arc-swap leaves this type.
#[derive(Debug)]
pub struct Roster {
    members: ArcSwap<Members>,
    /// The number of members. Apart, so that a listing of all rooms reads one atomic of each.
    len: AtomicUsize,
}

impl Roster {
    /// Creates a roster without members.
    #[must_use]
    pub fn new() -> Self {
        Self { members: ArcSwap::from_pointee(Members::default()), len: AtomicUsize::new(0) }
    }

    /// Returns the current members. The return value is an `Arc` and no guard, because passes keep it for
    /// long, and a guard kept that long slows stores down.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        // Acquire: pairs with the Release in `replace`.
        self.len.load(Ordering::Acquire)
    }

    /// Returns true if there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces the snapshot with `members`. Readers of the old snapshot keep it.
    pub(crate) fn replace(&self, members: Members) {
        let len = members.len();
        self.members.store(Arc::new(compact(members)));
        // Release: pairs with the Acquire in `len`. The pass is the only writer.
        self.len.store(len, Ordering::Release);
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self::new()
    }
}

/// Reduces the spare capacity of `members`: a small room's vector keeps none, and a map is rebuilt when
/// it uses a quarter of its capacity or less. A copy has the capacity of its original, so a room that was
/// large once would use its memory for ever.
fn compact(mut members: Members) -> Members {
    if members.is_vec() {
        members.shrink_to_fit();
        return members;
    }
    if members.len() * 4 > members.capacity() {
        return members;
    }
    let mut smaller = Members::with_capacity_and_hasher(members.len(), members.hasher().clone());
    for (key, peer) in members {
        smaller.insert(key, peer);
    }
    smaller
}

/// The members that have a name.
pub(crate) enum NameMatch<'a> {
    /// No member has it.
    None,
    /// One member has it.
    One(&'a MemberKey, &'a Arc<Peer<dyn ByteSink>>),
    /// So many members have it, since the settings allow duplicate names.
    Several(usize),
}

/// Returns true if several members may have one name.
pub(crate) fn allows_duplicate_names(members: &Members) -> bool {
    members.keys().next().is_some_and(|key| key.disambiguator.is_some())
}

/// Returns the members of this name. Costs a walk through the members where the settings allow duplicate names.
pub(crate) fn find_by_name(members: &Members, name: UserName) -> NameMatch<'_> {
    let found = if allows_duplicate_names(members) {
        let mut found = members.iter().filter(|(key, _)| key.name == name);
        let first = found.next();
        match found.count() {
            0 => first,
            others => return NameMatch::Several(others + 1),
        }
    } else {
        members.raw_entry().from_key(&MemberKey { name, disambiguator: None, slot: MembershipSlot::A })
    };
    found.map_or(NameMatch::None, |(key, peer)| NameMatch::One(key, peer))
}

/// Returns the member `id` if it has this name.
pub(crate) fn find_member(
    members: &Members,
    name: UserName,
    id: PeerId,
) -> Option<(&MemberKey, &Arc<Peer<dyn ByteSink>>)> {
    let disambiguator = if allows_duplicate_names(members) { id.non_zero() } else { None };
    let found = members.raw_entry().from_key(&MemberKey { name, disambiguator, slot: MembershipSlot::A });
    found.filter(|(_, peer)| peer.id() == id)
}

/// Returns true if this peer holds the key, and not another peer of the same name.
pub(crate) fn holds_key(members: &Members, key: &MemberKey, id: PeerId) -> bool {
    members.get(key).is_some_and(|member| member.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SlowReader;

    struct Void;

    impl ByteSink for Void {
        fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
    }

    fn key(number: u64) -> MemberKey {
        MemberKey {
            name: UserName::parse(&format!("u{number}")).unwrap(),
            disambiguator: None,
            slot: MembershipSlot::A,
        }
    }

    fn members(count: u64) -> Members {
        let peer = |id| Arc::new(Peer::new(PeerId(id), 0, SlowReader::Skip, Void));
        (0..count).map(|id| (key(id), peer(id) as Arc<Peer>)).collect()
    }

    #[test]
    fn snapshot_is_unchanged_by_a_replacement() {
        let roster = Roster::new();
        roster.replace(members(3));
        let before = roster.snapshot();
        roster.replace(members(5));
        assert_eq!((before.len(), roster.len()), (3, 5));
    }

    #[test]
    fn keys_ignore_the_case_of_names() {
        let upper = MemberKey { name: UserName::parse("U1").unwrap(), ..key(0) };
        assert!(members(2).contains_key(&upper));
        assert!(members(100).contains_key(&upper));
    }

    /// A roster has one key for each member: the slot fits into the padding after the name.
    #[test]
    fn slot_is_no_part_of_a_key_and_costs_no_memory() {
        let other_slot = MemberKey { slot: MembershipSlot::B, ..key(1) };
        assert!(members(2).contains_key(&other_slot) && members(100).contains_key(&other_slot));
        assert_eq!(size_of::<MemberKey>(), size_of::<(UserName, Option<NonZeroU64>)>());
    }

    #[test]
    fn replacement_by_few_members_frees_capacity() {
        let roster = Roster::new();
        let mut many = members(5_000);
        many.retain(|key, _| key.name.as_str().len() < 3);
        assert!(many.capacity() >= 5_000);
        roster.replace(many);
        assert_eq!(roster.len(), 10);
        assert!(roster.snapshot().capacity() < 100);
    }

    #[test]
    fn capacity_is_freed_when_a_quarter_is_used_or_less() {
        for (extra, is_freed) in [(0, true), (1, false)] {
            let (roster, mut few) = (Roster::new(), Members::with_capacity_and_hasher(400, RandomState::new()));
            let capacity = few.capacity();
            members(capacity as u64 / 4 + extra).into_iter().for_each(|(key, peer)| drop(few.insert(key, peer)));
            roster.replace(few);
            assert_eq!(roster.len() as u64, capacity as u64 / 4 + extra);
            assert_eq!(roster.snapshot().capacity() < capacity, is_freed, "{extra} more than a quarter");
        }
    }

    #[test]
    fn small_roster_has_no_spare_capacity() {
        let roster = Roster::new();
        roster.replace(members(9));
        assert_eq!(roster.snapshot().capacity(), 9);
    }
}
