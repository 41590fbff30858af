//! Connection permits: a place of the server and a slot of an address, for as long as a descriptor is open.

use crate::limits::address_budget::AddressBudget;
use crate::limits::addresses::AddressSlot;
use crate::limits::memory::MemoryBudget;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::task::unconstrained;

/// The permit of a connection: a place of the server's, and a slot of its address's. Both are free when it is dropped. As
/// small as a pointer: each connection has one.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(AddressSlot);

/// A permit that waits for its place. Its drop leaves the queue.
pub(crate) type PendingPermit = Pin<Box<dyn Future<Output = ConnectionPermit> + Send>>;

impl ConnectionPermit {
    /// Takes a place for the connection of `slot`.
    ///
    /// # Errors
    /// The slot, when no place is free.
    pub(crate) fn try_acquire(slot: AddressSlot) -> Result<Self, AddressSlot> {
        if slot.server().try_take_place() { Ok(Self(slot)) } else { Err(slot) }
    }

    /// Waits for a place for the connection of `slot`, and takes it. The connection is in the queue when this returns, so
    /// a place that is free from then on is its own.
    pub(crate) fn acquire(slot: AddressSlot) -> PendingPermit {
        // Tokio's budget of a task must not keep the first poll from entering the queue.
        let mut pending: PendingPermit = Box::pin(unconstrained(async move {
            slot.server().take_place().await;
            Self(slot)
        }));
        match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Box::pin(ready(permit)),
            Poll::Pending => pending,
        }
    }

    /// Returns the budget that the connections of the address share.
    pub(crate) fn address_budget(&self) -> &AddressBudget {
        self.0.budget()
    }

    /// Returns the budget of the server's memory.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        self.0.server().memory()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.server().release_place();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limits::addresses::{AddressBook, AddressKey, AddressLimits};
    use crate::limits::rate::RateLimit;
    use crate::limits::server_limits::ServerLimits;
    use std::num::NonZeroU32;
    use std::time::Instant;

    /// Returns the limits of a server with these places, and a slot for each of `slots` connections.
    pub(crate) fn slots(places: usize, slots: usize) -> (Arc<ServerLimits>, Vec<AddressSlot>) {
        slots_within(places, slots, MemoryBudget::new(u64::MAX))
    }

    /// Returns limits and slots as [`slots`] does, with this memory budget.
    pub(crate) fn slots_within(
        places: usize,
        slots: usize,
        memory: Arc<MemoryBudget>,
    ) -> (Arc<ServerLimits>, Vec<AddressSlot>) {
        let server = ServerLimits::new(places, memory);
        let limits = AddressLimits { max_connections: 0, connect_rate: RateLimit::new(0, NonZeroU32::MIN) };
        let mut book = AddressBook::new(limits, Arc::clone(&server));
        let slots = (0..slots).map(|_| book.enter(AddressKey::Unix, true, Instant::now()).unwrap()).collect();
        (server, slots)
    }

    #[tokio::test]
    async fn place_of_a_dropped_permit_goes_to_the_connection_that_waits() {
        let (server, mut slots) = slots(1, 3);
        let first = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap();
        let slot = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap_err();
        let waiting = ConnectionPermit::acquire(slot);
        drop(first);
        let overtaking = ConnectionPermit::try_acquire(slots.pop().unwrap());
        assert!(overtaking.is_err(), "a later connection gets the place of one that waits");
        let permit = waiting.await;
        assert_eq!((server.taken_places(), server.free_places()), (1, 0));
        drop(permit);
        assert_eq!(server.taken_places(), 0);
        assert_eq!(size_of::<ConnectionPermit>(), size_of::<usize>());
    }

    #[tokio::test]
    async fn connection_that_waits_no_longer_takes_no_place() {
        let (server, mut slots) = slots(1, 2);
        let first = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap();
        let waiting = ConnectionPermit::acquire(slots.pop().unwrap());
        drop(first);
        drop(waiting);
        assert_eq!(server.taken_places(), 0);
    }

    #[test]
    fn held_place_counts_as_a_connection() {
        let (server, mut slots) = slots(1, 1);
        let held = server.try_hold_place().unwrap();
        assert!(server.try_hold_place().is_none());
        let slot = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap_err();
        drop(held);
        assert!(ConnectionPermit::try_acquire(slot).is_ok());
    }

    #[test]
    fn server_has_the_places_that_it_is_made_with() {
        let (server, mut slots) = slots(3, 1);
        let _permit = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap();
        assert_eq!((server.max_connections(), server.taken_places(), server.free_places()), (3, 1, 2));
    }
}
