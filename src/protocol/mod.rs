//! Protocol: what bytes and lines from a peer mean.
//!
//! Pure code lives here: bytes or lines in, values out. Nothing here does I/O, reads a clock or knows a room.

pub mod commands;
pub mod join;
pub mod line_decoder;
pub mod telnet;
