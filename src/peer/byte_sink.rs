//! The byte sink: all that a delivery pass sees of a socket.

use std::io;

/// Takes a peer's bytes. It never waits: `WouldBlock` says "not now".
pub trait ByteSink: Send + Sync {
    /// Writes some of `bytes`, at once or not at all; returns how many it took.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken now; anything else ends the peer.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}
