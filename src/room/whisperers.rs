//! Whisperers: which member whispered last to each member of a room, so that `/reply` finds it.

use crate::peer::PeerId;
use crate::text::names::{NodeName, UserName};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A member that whispered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whisperer {
    pub(crate) id: PeerId,
    /// The member's last name in the room.
    pub(crate) name: UserName,
    /// The member's server; `None` for this one.
    pub(crate) node: Option<NodeName>,
}

/// The last whisperer to each member. The pass alone accesses it. It has an entry for a member at most, and none for a
/// peer that left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Whisperers(HashMap<PeerId, Whisperer>);

impl Whisperers {
    /// Records that `whisperer` whispered to the member `addressee`.
    pub(crate) fn record(&mut self, addressee: PeerId, whisperer: Whisperer) {
        self.0.insert(addressee, whisperer);
    }

    /// Returns the member that whispered last to the member `addressee`.
    pub(crate) fn last(&self, addressee: PeerId) -> Option<Whisperer> {
        self.0.get(&addressee).copied()
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Follows a batch: forgets the whispers to the peers that left in it, and gives the members that were renamed in
    /// it their new names. Costs one walk, as the copy of the roster does that such a batch makes.
    pub(crate) fn follow(&mut self, left: &HashSet<PeerId>, renamed: &HashMap<PeerId, UserName>) {
        if left.is_empty() && renamed.is_empty() {
            return;
        }
        self.0.retain(|addressee, whisperer| {
            if let (None, Some(name)) = (whisperer.node, renamed.get(&whisperer.id)) {
                whisperer.name = *name;
            }
            !left.contains(addressee)
        });
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to_fit();
        }
    }
}

impl Whisperers {
    /// Gives the whisperer `name` of another server a new name, or forgets it.
    pub(crate) fn follow_remote(&mut self, node: NodeName, name: UserName, new_name: Option<UserName>) {
        self.0.retain(|_, whisperer| {
            let is_it = whisperer.node == Some(node) && whisperer.name == name;
            if let (true, Some(new_name)) = (is_it, new_name) {
                whisperer.name = new_name;
            }
            !is_it || new_name.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whisperer(id: u64, name: &str) -> Whisperer {
        Whisperer { id: PeerId(id), name: UserName::parse(name).unwrap(), node: None }
    }

    #[test]
    fn entries_follow_renames_and_end_with_their_member() {
        let mut whisperers = Whisperers::default();
        whisperers.record(PeerId(1), whisperer(2, "bob"));
        whisperers.record(PeerId(3), whisperer(2, "bob"));
        whisperers.record(PeerId(4), whisperer(1, "alice"));
        assert_eq!(whisperers.len(), 3);
        let renamed = HashMap::from([(PeerId(2), UserName::parse("robert").unwrap())]);
        whisperers.follow(&HashSet::from([PeerId(3)]), &renamed);
        assert_eq!(whisperers.last(PeerId(1)).unwrap().name.as_str(), "robert");
        assert_eq!(whisperers.last(PeerId(3)), None, "the member left");
        assert_eq!(whisperers.last(PeerId(4)), Some(whisperer(1, "alice")));
        whisperers.follow(&HashSet::from([PeerId(1), PeerId(4)]), &HashMap::new());
        assert_eq!(whisperers.0.capacity(), 0, "no memory is left");
    }

    #[test]
    fn whisperer_of_another_server_is_followed_by_its_own_name() {
        let node = NodeName::parse("n2").ok();
        let mut whisperers = Whisperers::default();
        whisperers.record(PeerId(1), Whisperer { node, ..whisperer(1, "carol") });
        // The addressee has the number that stands for its whisperer, and takes another name.
        let renamed = HashMap::from([(PeerId(1), UserName::parse("al").unwrap())]);
        whisperers.follow(&HashSet::new(), &renamed);
        assert_eq!(whisperers.last(PeerId(1)).unwrap().name.as_str(), "carol");
        let [carol, caz] = ["carol", "caz"].map(|name| UserName::parse(name).unwrap());
        whisperers.follow_remote(node.unwrap(), carol, Some(caz));
        assert_eq!(whisperers.last(PeerId(1)).unwrap().name.as_str(), "caz");
        whisperers.follow_remote(node.unwrap(), caz, None);
        assert_eq!(whisperers.last(PeerId(1)), None);
    }

    #[test]
    fn capacity_is_freed_when_less_than_a_quarter_is_used() {
        let mut whisperers = Whisperers(HashMap::with_capacity(28));
        let capacity = whisperers.0.capacity();
        for id in 0..=capacity as u64 / 4 {
            whisperers.record(PeerId(id), whisperer(1_000, "bob"));
        }
        whisperers.follow(&HashSet::from([PeerId(0)]), &HashMap::new());
        assert_eq!((whisperers.len(), whisperers.0.capacity()), (capacity / 4, capacity));
        whisperers.follow(&HashSet::from([PeerId(1)]), &HashMap::new());
        assert_eq!(whisperers.len(), capacity / 4 - 1);
        assert!(whisperers.0.capacity() < capacity, "{}", whisperers.0.capacity());
    }
}
