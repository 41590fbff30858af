//! Net: sockets, and how the server listens on them.
//!
//! System calls on sockets live here. Nothing here knows a line, a room or a peer.

pub mod socket;
