//! Terminal: the line editor for terminals that send each key, and the style of the lines that a member sees.
//!
//! Keys, the edited line, its history, its rendering, word wrap and the style of arriving lines live here. The editor
//! takes bytes and returns events and bytes to send; it does no I/O and knows no connection, telnet option or room.
//!
//! The terminal's last row belongs to the editor: a prompt and a part of the edited line. The editor prints
//! arriving lines above that row, so they never tear the edited line. An editor holds at most 60 KiB and three lines
//! of the longest length: the edited line, the line that is put aside while the history is shown, and the erased text.

mod completion;
mod editor;
pub(crate) mod ignore_list;
mod input_history;
mod keys;
mod line_buffer;
pub(crate) mod line_style;
mod narrowing;
mod room_line;
mod row;
mod speakers;
mod viewport;
mod width;
mod wrap;

pub(crate) use editor::{Editor, EditorEvent, EditorSettings};
