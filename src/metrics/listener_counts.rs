//! Listener counts: how many connections of each listener are served now.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of a listener. Never 0, so that an `Option` of it is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerNumber(NonZeroU16);

/// The connections of each listener. All accesses are relaxed: a count orders nothing.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounts(Box<[AtomicUsize]>);

impl ListenerNumber {
    /// Returns the number of the listener at `index`; listeners beyond 65,535 share the last number.
    pub(crate) fn from_index(index: usize) -> Self {
        Self(NonZeroU16::MIN.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)))
    }

    /// Returns the index of the listener.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

impl ListenerCounts {
    /// Returns the counts of `listeners` listeners without connections.
    pub(crate) fn new(listeners: usize) -> Self {
        Self((0..listeners).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Counts a connection that is served from now on.
    pub(crate) fn add(&self, listener: ListenerNumber) {
        if let Some(count) = self.0.get(listener.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Stops counting a connection that was added.
    pub(crate) fn remove(&self, listener: ListenerNumber) {
        if let Some(count) = self.0.get(listener.index()) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of connections of each listener.
    pub(crate) fn read(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_a_count_of_its_own() {
        let (counts, [first, second]) = (ListenerCounts::new(2), [0, 1].map(ListenerNumber::from_index));
        counts.add(first);
        counts.add(second);
        counts.add(second);
        counts.remove(first);
        assert!(counts.read().eq([0, 2]));
    }

    #[test]
    fn listener_beyond_the_last_number_is_not_counted_as_another_one() {
        let counts = ListenerCounts::new(1);
        counts.add(ListenerNumber::from_index(1 << 20));
        assert!(counts.read().eq([0]));
        assert_eq!(size_of::<Option<ListenerNumber>>(), 2);
    }
}
