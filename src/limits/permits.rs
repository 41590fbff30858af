//! Permits: a bound on how many of something there are at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of permits. Taking one never waits.
#[derive(Debug)]
pub(crate) struct Permits {
    /// The most permits at a time.
    max: usize,
    /// Permits that are taken now. Relaxed throughout: the count publishes no other memory.
    taken: AtomicUsize,
}

/// One permit, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    /// Makes `max` permits.
    #[must_use]
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// Takes a permit; `None` when all are taken.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_free_again_when_it_is_dropped() {
        let permits = Permits::new(2);
        let (first, second) = (permits.try_acquire().unwrap(), permits.try_acquire().unwrap());
        assert!(permits.try_acquire().is_none());
        drop(first);
        drop(permits.try_acquire().unwrap());
        drop(second);
        let both = (permits.try_acquire().unwrap(), permits.try_acquire().unwrap());
        assert!(permits.try_acquire().is_none());
        drop(both);
    }
}
