//! A deferred list: any thread appends an item without a lock, and one thread at a time takes all items.
//!
//! An empty list is one null pointer. Most peers never need their list, and no memory is allocated for it then.

use crate::peer::sync::ArcSwapOption;
use std::sync::Arc;

/// An item that a thread can defer.
pub(crate) trait Deferrable: Clone {
    /// Returns how much the item counts against a list's limit. A list accepts an item of weight 0 whatever its limit.
    fn weight(&self) -> usize;

    /// Records that `lost`, the item right after this one, exceeded the limit and was dropped.
    fn record_loss(&mut self, lost: &Self);
}

/// Items that threads deferred because another thread held the write lock.
pub(crate) struct DeferredList<T> {
    /// The newest item, linked to the item before it.
    newest: ArcSwapOption<Node<T>>,
}

/// One item of the list.
struct Node<T> {
    item: T,
    /// The weight of this item and of all items before it.
    total_weight: usize,
    previous: Option<Arc<Node<T>>>,
}

impl<T: Deferrable> DeferredList<T> {
    /// Returns an empty list.
    pub(crate) fn new() -> Self {
        Self { newest: ArcSwapOption::empty() }
    }

    /// Appends `item`. If the list would then weigh more than `limit`, drops the item and records the loss in the
    /// newest item of the list. An empty list accepts an item of any weight, and any list accepts one of weight 0.
    pub(crate) fn push(&self, item: &T, limit: usize) {
        // The compare-and-swap inside `rcu`, SeqCst in arc-swap, pairs with the swap in `take`: the thread that
        // takes a node sees the whole node.
        self.newest.rcu(|newest| Some(Arc::new(Node::after(newest.as_ref(), item, limit))));
    }

    /// Returns whether the list has no item.
    pub(crate) fn is_empty(&self) -> bool {
        // arc-swap loads with SeqCst. A thread that must see another thread's `push` orders the two by the swaps
        // of the atomic slot: `crate::peer::write_lock` says how.
        self.newest.load().is_none()
    }

    /// Removes all items and returns them, the oldest first.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut items = Vec::new();
        if self.is_empty() {
            return items;
        }
        // SeqCst in arc-swap; pairs with the compare-and-swap in `push`.
        let newest = self.newest.swap(None);
        let mut next = newest.as_ref();
        while let Some(node) = next {
            items.push(node.item.clone());
            next = node.previous.as_ref();
        }
        items.reverse();
        items
    }
}

impl<T: Deferrable> Node<T> {
    /// Returns the node that replaces `newest` when `item` is appended to a list with this `limit`.
    fn after(newest: Option<&Arc<Self>>, item: &T, limit: usize) -> Self {
        let Some(top) = newest else {
            return Self { item: item.clone(), total_weight: item.weight(), previous: None };
        };
        let total_weight = top.total_weight + item.weight();
        if item.weight() == 0 || total_weight <= limit {
            return Self { item: item.clone(), total_weight, previous: newest.cloned() };
        }
        let mut top_item = top.item.clone();
        top_item.record_loss(item);
        Self { item: top_item, total_weight: top.total_weight, previous: top.previous.clone() }
    }
}

impl<T> Drop for Node<T> {
    /// Drops the nodes before this one in a loop. The drop that the compiler generates recurses once for each
    /// node, and a long list would overflow the stack.
    fn drop(&mut self) {
        let mut previous = self.previous.take();
        while let Some(node) = previous {
            match Arc::try_unwrap(node) {
                Ok(mut node) => previous = node.previous.take(),
                Err(_) => break,
            }
        }
    }
}
