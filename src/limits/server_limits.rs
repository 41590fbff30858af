//! Server limits: the places for connections, and the memory, of the whole server.

use crate::limits::memory::MemoryBudget;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The bounds of the whole server.
#[derive(Debug)]
pub(crate) struct ServerLimits {
    /// The free places.
    places: Semaphore,
    /// The number of places.
    max_connections: usize,
    memory: Arc<MemoryBudget>,
}

/// A place that no connection of an address has, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<ServerLimits>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.release_place();
    }
}

impl ServerLimits {
    /// Makes `max_connections` places.
    pub(crate) fn new(max_connections: usize, memory: Arc<MemoryBudget>) -> Arc<Self> {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { places: Semaphore::new(max_connections), max_connections, memory })
    }

    /// Takes a place; returns false when none is free, or when the free ones belong to waiting connections.
    pub(super) fn try_take_place(&self) -> bool {
        self.places.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Takes a place without an address, as a connection does whose address is not known yet; `None` when none is free.
    pub(crate) fn try_hold_place(self: &Arc<Self>) -> Option<Place> {
        self.try_take_place().then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place and takes it. Places go to waiting connections in the order of their calls. A call that is
    /// dropped takes none.
    pub(super) async fn take_place(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.places.acquire().await {
            permit.forget();
        }
    }

    /// Gives a place back: the connection that has waited longest gets it.
    pub(super) fn release_place(&self) {
        self.places.add_permits(1);
    }

    /// Returns how many places are free.
    pub(crate) fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    /// Returns how many places are taken.
    pub(crate) fn taken_places(&self) -> usize {
        self.max_connections - self.free_places()
    }

    /// Returns the number of places.
    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Returns the budget of the server's memory.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }
}
