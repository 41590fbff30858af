//! Text: names, sanitizing, and the bytes of every line that the server writes.
//!
//! Functions here turn bytes and strings into bytes and strings. Nothing here knows a peer, a room, a
//! socket or a command.

pub(crate) mod escape_sequence;
pub(crate) mod messages;
pub mod names;
pub(crate) mod panics;
#[cfg(test)]
pub(crate) mod recalled_form;
pub(crate) mod replies;
pub mod sanitize;
pub mod text_file;
pub mod time;
