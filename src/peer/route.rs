//! The route of a peer's lines: which task writes them, and in which encoding.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU8, Ordering};

/// How lines reach a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Route {
    /// A delivery pass writes the batch as it is: each line ends in LF.
    #[default]
    DirectLf,
    /// A delivery pass writes the batch's second shared encoding: each line ends in CR LF, as a network virtual
    /// terminal expects (RFC 854, page 11).
    DirectCrLf,
    /// A delivery pass appends lines to the output buffer, and the peer's own task encodes and writes them.
    Buffered,
    /// A delivery pass writes the batch as text frames of WebSocket, which all such peers share.
    DirectFrames,
    /// As [`Route::Buffered`], and what the peer's own task encodes leaves in text frames of WebSocket.
    BufferedFrames,
}

impl Route {
    /// Returns whether a delivery pass writes the lines, and not the peer's own task.
    pub(crate) fn is_direct(self) -> bool {
        match self {
            Self::DirectLf | Self::DirectCrLf | Self::DirectFrames => true,
            Self::Buffered | Self::BufferedFrames => false,
        }
    }

    /// Returns whether lines leave in text frames of WebSocket.
    pub(crate) fn has_frames(self) -> bool {
        matches!(self, Self::DirectFrames | Self::BufferedFrames)
    }
}

/// A peer's route. The holder of the peer's write lock changes it to and from each route but the two with LF and CR LF, so
/// that this happens at a defined place among the peer's lines. The peer's own task changes LF to CR LF without the lock.
///
/// All accesses are relaxed: a reader without the lock uses the value only to choose which shared encoding of a
/// batch it offers, and the holder of the lock corrects a choice that came too late.
#[derive(Debug, Default)]
pub(crate) struct AtomicRoute(AtomicU8);

impl AtomicRoute {
    pub(crate) fn get(&self) -> Route {
        match self.0.load(Ordering::Relaxed) {
            1 => Route::DirectCrLf,
            2 => Route::Buffered,
            3 => Route::DirectFrames,
            4 => Route::BufferedFrames,
            _ => Route::DirectLf,
        }
    }

    pub(crate) fn set(&self, route: Route) {
        self.0.store(route as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_kept() {
        let route = AtomicRoute::default();
        assert_eq!(route.get(), Route::DirectLf);
        for kept in [Route::DirectCrLf, Route::Buffered, Route::DirectFrames, Route::BufferedFrames, Route::DirectLf] {
            route.set(kept);
            assert_eq!(route.get(), kept);
        }
    }
}
