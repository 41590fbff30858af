//! Admission: which accepted connections are served, and which are refused because the server is full.

use crate::config::RESERVED_FILES;
use crate::limits::permits::{Permit, Permits};
use crate::peer::PeerId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Refused connections that are closed lingeringly at a time, so that no reset overtakes the reason. Their descriptors
/// come out of the reserve.
const MAX_REFUSALS: usize = RESERVED_FILES / 2;

/// The bounds on connections that all listeners share.
#[derive(Debug)]
pub(super) struct Admission {
    /// One permit for each connection.
    connections: Arc<Permits>,
    /// One permit for each refused connection that is told why.
    refusals: Arc<Permits>,
    /// Connections so far, which numbers them. Relaxed: the number orders nothing.
    next_id: AtomicU64,
}

/// The decision on an accepted connection.
pub(super) enum Admitted {
    /// It is served, under this number.
    Serve(PeerId, Permit),
    /// The server is full. With a permit the connection is closed lingeringly, without one at once.
    Refuse(Option<Permit>),
}

impl Admission {
    pub(super) fn new(max_connections: usize) -> Self {
        let (connections, refusals) = (Permits::new(max_connections), Permits::new(MAX_REFUSALS));
        Self { connections, refusals, next_id: AtomicU64::new(0) }
    }

    /// Decides on the next connection.
    pub(super) fn admit(&self) -> Admitted {
        match self.connections.try_acquire() {
            Some(permit) => Admitted::Serve(PeerId(self.next_id.fetch_add(1, Ordering::Relaxed)), permit),
            None => Admitted::Refuse(self.refusals.try_acquire()),
        }
    }

    /// Returns how many connections are served, those that are being closed among them.
    pub(super) fn connections(&self) -> usize {
        self.connections.taken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_numbered_and_refused_beyond_the_bound() {
        let admission = Admission::new(1);
        let Admitted::Serve(first, permit) = admission.admit() else { panic!("the first was not admitted") };
        let refused: Vec<_> = (0..MAX_REFUSALS).map(|_| admission.admit()).collect();
        assert!(refused.iter().all(|refused| matches!(refused, Admitted::Refuse(Some(_)))));
        assert!(matches!(admission.admit(), Admitted::Refuse(None)));
        drop(permit);
        let Admitted::Serve(second, _permit) = admission.admit() else { panic!("a free place was not given") };
        assert_ne!(first, second);
    }
}
