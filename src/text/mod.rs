//! Text: names, the removal of what steers a terminal, and every line that the server itself writes.
//!
//! Bytes and strings alone live here. Nothing here knows a peer, a room or a socket.

pub mod messages;
pub mod names;
pub mod replies;
pub mod sanitize;
