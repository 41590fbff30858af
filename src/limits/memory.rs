//! The memory budget: a ceiling for the bytes that the whole server keeps for its peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that all queues of a server hold, and their ceiling.
///
/// All accesses are relaxed: the count publishes no other memory. It changes only for peers that fall behind and for
/// rooms, so a well-behaved peer's line does not touch it.
#[derive(Debug)]
pub struct MemoryBudget {
    /// The most bytes that may be charged.
    ceiling: u64,
    /// The bytes that are charged now.
    used: AtomicU64,
}

/// How close a server is to its memory ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryPressure {
    /// Less than 75 % of the ceiling is charged.
    None,
    /// At least 75 %: new backlogs are smaller.
    High,
    /// At least 90 %: no connection is admitted.
    Critical,
    /// All of the ceiling is charged: the largest backlogs are dropped.
    Full,
}

impl MemoryBudget {
    /// Returns a budget of `ceiling` bytes, of which nothing is charged.
    #[must_use]
    pub fn new(ceiling: u64) -> Arc<Self> {
        Arc::new(Self { ceiling, used: AtomicU64::new(0) })
    }

    /// Charges `bytes` if the ceiling allows them; returns whether it did.
    #[must_use]
    pub fn try_charge(&self, bytes: usize) -> bool {
        let more = |used: u64| used.checked_add(bytes as u64).filter(|used| *used <= self.ceiling);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Charges `bytes` whatever the ceiling, for what the caller can't refuse.
    pub fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns `bytes` that were charged.
    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the ceiling in bytes.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// Returns how many bytes are charged.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns how close the charged bytes are to the ceiling.
    #[must_use]
    pub fn pressure(&self) -> MemoryPressure {
        let used = u128::from(self.used()) * 100;
        let ceiling = u128::from(self.ceiling);
        match used {
            _ if used >= ceiling * 100 => MemoryPressure::Full,
            _ if used >= ceiling * 90 => MemoryPressure::Critical,
            _ if used >= ceiling * 75 => MemoryPressure::High,
            _ => MemoryPressure::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_beyond_the_ceiling_are_refused() {
        let budget = MemoryBudget::new(1000);
        assert!(budget.try_charge(1000) && !budget.try_charge(1));
        budget.release(1);
        assert!(budget.try_charge(1));
        budget.charge(50);
        assert_eq!(budget.used(), 1050, "a charge that can't be refused may exceed the ceiling");
    }

    #[test]
    fn pressure_rises_at_its_thresholds() {
        let budget = MemoryBudget::new(1000);
        let mut pressures = Vec::new();
        for bytes in [749, 1, 149, 1, 99, 1] {
            budget.charge(bytes);
            pressures.push(budget.pressure());
        }
        use MemoryPressure::{Critical, Full, High, None};
        assert_eq!(pressures, [None, High, High, Critical, Critical, Full]);
    }
}
