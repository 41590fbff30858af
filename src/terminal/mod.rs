//! Terminal: the line editor for terminals that send each key.
//!
//! Keys, the edited line, its history and its rendering live here. The editor takes bytes and returns
//! lines and bytes to send; it does no I/O and knows no connection, telnet option or room.
//!
//! The terminal's last row belongs to the editor: a prompt and a part of the edited line. The editor prints
//! arriving lines above that row, so they never tear the edited line. An editor holds about 60 KiB at most:
//! the line and its history.

mod completion;
mod editor;
pub(crate) mod ignore_list;
mod input_history;
mod keys;
mod line_buffer;
pub(crate) mod line_style;
mod narrowing;
mod room_line;
mod speakers;
mod viewport;
mod width;
mod wrap;

pub(crate) use editor::{Editor, MAX_LINE};
