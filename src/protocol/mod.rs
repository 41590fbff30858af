//! Protocol: the meaning of a peer's bytes and lines.
//!
//! Decoders and parsers live here: telnet commands, line ends, the JOIN line and chat commands. They take
//! bytes or lines and return values. Nothing here does I/O, reads a clock or knows a room.

pub(crate) mod commands;
pub(crate) mod join;
pub mod line_decoder;
pub mod telnet;
