//! A lock-free list that any thread appends to and one thread at a time takes whole.
//!
//! Empty it is one null pointer: nothing is allocated for the peers (nearly all) that never need it.

use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// What can be left for another thread to take.
pub(crate) trait Deferrable: Clone {
    /// How much it counts against a list's limit.
    fn weight(&self) -> usize;

    /// Takes note that `lost` came right behind this one and found no room.
    fn record_loss(&mut self, lost: &Self);
}

/// Pieces that came while somebody else held the turn to write.
#[derive(Debug)]
pub(crate) struct DeferredList<T> {
    /// The newest item, linked to the one before it.
    newest: ArcSwapOption<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    item: T,
    /// The weight of this item and all before it.
    weight: usize,
    before: Option<Arc<Node<T>>>,
}

impl<T: Deferrable> DeferredList<T> {
    pub(crate) fn new() -> Self {
        Self { newest: ArcSwapOption::empty() }
    }

    /// Appends `item`; if the list would then weigh more than `limit`, its newest item
    /// takes note of the loss instead. An empty list takes any one item.
    pub(crate) fn push(&self, item: &T, limit: usize) {
        // arc-swap's stores and swaps are SeqCst. The compare-and-swap inside `rcu` pairs with the
        // swap in `take`: the taker sees all of a node that it finds.
        self.newest.rcu(|newest| Some(Arc::new(Node::on(newest.as_ref(), item, limit))));
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.load().is_none()
    }

    /// Takes everything, oldest first.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut items = Vec::new();
        if self.is_empty() {
            return items;
        }
        let newest = self.newest.swap(None);
        let mut node = newest.as_ref();
        while let Some(this) = node {
            items.push(this.item.clone());
            node = this.before.as_ref();
        }
        items.reverse();
        items
    }
}

impl<T: Deferrable> Node<T> {
    /// What is the newest node when `item` comes on top of `newest`.
    fn on(newest: Option<&Arc<Self>>, item: &T, limit: usize) -> Self {
        let Some(top) = newest else {
            return Self { item: item.clone(), weight: item.weight(), before: None };
        };
        let weight = top.weight + item.weight();
        if weight <= limit {
            return Self { item: item.clone(), weight, before: newest.cloned() };
        }
        let mut noted = top.item.clone();
        noted.record_loss(item);
        Self { item: noted, weight: top.weight, before: top.before.clone() }
    }
}

impl<T> Drop for Node<T> {
    /// Unlinks in a loop: the compiler's own drop of a long list would recurse once a node.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(node) = before {
            match Arc::try_unwrap(node) {
                Ok(mut node) => before = node.before.take(),
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    /// A weight, and the sum of what was lost behind it.
    #[derive(Clone, Debug, PartialEq)]
    struct Stone(usize, usize);

    impl Deferrable for Stone {
        fn weight(&self) -> usize {
            self.0
        }

        fn record_loss(&mut self, lost: &Self) {
            self.1 += lost.0;
        }
    }

    impl Deferrable for (usize, usize) {
        fn weight(&self) -> usize {
            1
        }

        fn record_loss(&mut self, lost: &Self) {
            panic!("{lost:?} found no room");
        }
    }

    #[test]
    fn pieces_come_out_in_order_and_once() {
        let late = DeferredList::new();
        assert!(late.is_empty() && late.take().is_empty());
        for item in 0..100_000 {
            late.push(&(0, item), usize::MAX);
        }
        assert!(late.take().into_iter().map(|(_, item)| item).eq(0..100_000));
        assert!(late.is_empty());
    }

    #[test]
    fn the_weight_is_bounded_and_a_loss_is_noted_in_its_place() {
        let late = DeferredList::new();
        late.push(&Stone(50, 0), 10);
        late.push(&Stone(1, 0), 10);
        assert_eq!(late.take(), [Stone(50, 1)], "an empty list takes any one item");
        for weight in [9, 1, 2, 3] {
            late.push(&Stone(weight, 0), 10);
        }
        assert_eq!(late.take(), [Stone(9, 0), Stone(1, 5)]);
    }

    #[test]
    fn what_many_push_one_takes_once_and_in_each_pushers_order() {
        const PUSHERS: usize = 4;
        const ITEMS: usize = 5_000;
        let (late, start) = (DeferredList::new(), Barrier::new(PUSHERS + 1));
        let mut seen = [0; PUSHERS];
        thread::scope(|scope| {
            for pusher in 0..PUSHERS {
                let (late, start) = (&late, &start);
                scope.spawn(move || {
                    start.wait();
                    for item in 0..ITEMS {
                        late.push(&(pusher, item), usize::MAX);
                    }
                });
            }
            start.wait();
            while seen.iter().sum::<usize>() < PUSHERS * ITEMS {
                for (pusher, item) in late.take() {
                    assert_eq!(item, seen[pusher]);
                    seen[pusher] += 1;
                }
            }
        });
        assert!(late.is_empty());
    }
}
