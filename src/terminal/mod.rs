//! The line editor of a terminal that sends each key: pure, bytes in, lines and bytes out.
//!
//! The terminal's last row belongs to the editor: a prompt, and a window of the line that is being
//! typed. Arriving lines are written above it, so they never tear that line apart.
//!
//! A connection has one in a box or none, so who doesn't use it pays for a pointer. It holds at most
//! about 60 KiB: the line, and lines entered before.

mod input_history;
mod keys;
mod line_buffer;
pub mod line_style;
#[cfg(test)]
mod tests;
mod viewport;

use crate::terminal::line_style::LineStyle;
use input_history::InputHistory;
use keys::{Key, KeyDecoder};
use line_buffer::LineBuffer;
use std::time::SystemTime;
use viewport::{CLEAR_ROW, PROMPT, RenderedRow, Viewport};

/// The longest line that can be edited, in bytes: as in a Linux terminal's own line mode. A
/// character put in moves all behind it, so the bound is one on a key's cost, too.
pub const MAX_LINE: usize = 4096;

/// One terminal's editor.
#[derive(Debug)]
pub struct Editor {
    /// How arriving lines look here.
    pub style: LineStyle,
    keys: KeyDecoder,
    line: LineBuffer,
    history: InputHistory,
    /// The longest line, in bytes.
    max_line: usize,
    viewport: Viewport,
    /// What the terminal shows in its last row, behind the prompt.
    rendered: RenderedRow,
    /// The terminal may show something else: all is to be shown again.
    needs_redraw: bool,
    /// A key had no effect since the line is full: a bell is due.
    bell_pending: bool,
}

impl Editor {
    /// Takes the row that the terminal's cursor is in, which is empty. `columns` is the terminal's
    /// width, 0 if unknown; a line has at most `max_line` bytes, and at most [`MAX_LINE`].
    #[must_use]
    pub fn open(out: &mut Vec<u8>, columns: u16, max_line: usize) -> Box<Self> {
        let mut editor = Box::new(Self {
            style: LineStyle::default(),
            keys: KeyDecoder::default(),
            line: LineBuffer::default(),
            history: InputHistory::default(),
            max_line: max_line.min(MAX_LINE),
            viewport: Viewport::new(columns),
            rendered: RenderedRow::default(),
            needs_redraw: true,
            bell_pending: false,
        });
        editor.render(out);
        editor
    }

    /// Gives the row back, empty; what was typed and not entered.
    pub fn close(&mut self, out: &mut Vec<u8>) -> String {
        out.extend_from_slice(CLEAR_ROW);
        self.line.take()
    }

    /// Whether the last byte was a CR: an LF or a NUL right behind it belongs to the same Enter.
    #[must_use]
    pub fn is_after_cr(&self) -> bool {
        self.keys.is_after_cr()
    }

    /// Takes the next line that is entered off the front of `input`, without its end.
    ///
    /// `None`: nothing is entered in `input`, all of it was taken in. A line that is full takes no
    /// more characters, for which there is a bell.
    pub fn next_line(&mut self, out: &mut Vec<u8>, input: &mut &[u8]) -> Option<String> {
        let mut line = None;
        while let Some(key) = self.keys.next_key(input) {
            if key == Key::Enter {
                let entered = self.line.take();
                self.history.add(&entered);
                line = Some(entered);
                break;
            }
            self.apply_key(key);
        }
        self.render(out);
        line
    }

    /// Writes arriving lines, each with its LF, above the line that is being typed.
    pub fn print_above(&mut self, out: &mut Vec<u8>, lines: &[u8], now: SystemTime) {
        if !lines.is_empty() {
            out.extend_from_slice(CLEAR_ROW);
            self.style.format_lines(out, lines, now);
            self.needs_redraw = true;
            self.render(out);
        }
    }

    /// Goes by another width of the terminal.
    pub fn resize(&mut self, out: &mut Vec<u8>, columns: u16) {
        self.viewport = Viewport::new(columns);
        self.needs_redraw = true;
        self.render(out);
    }

    /// Erases the character before the cursor, as telnet's EC asks.
    pub fn erase_character(&mut self, out: &mut Vec<u8>) {
        self.line.erase_character_before();
        self.render(out);
    }

    /// Erases the line, as telnet's EL and IP ask.
    pub fn erase_line(&mut self, out: &mut Vec<u8>) {
        self.line.take();
        self.render(out);
    }

    fn apply_key(&mut self, key: Key) {
        let buffer = &mut self.line;
        match key {
            Key::Char(character) if buffer.text().len() + character.len_utf8() > self.max_line => {
                self.bell_pending = true
            }
            Key::Char(character) => buffer.insert(character),
            Key::Left => buffer.move_left(),
            Key::Right => buffer.move_right(),
            Key::WordLeft => buffer.move_word_left(),
            Key::WordRight => buffer.move_word_right(),
            Key::Home => buffer.move_to_start(),
            Key::End => buffer.move_to_end(),
            Key::Up => self.history.show_previous(|line| buffer.replace(line)),
            Key::Down => self.history.show_next(|line| buffer.replace(line)),
            Key::Backspace => buffer.erase_character_before(),
            Key::Delete => buffer.erase_character_after(),
            Key::EraseWord => buffer.erase_word_before(),
            Key::EraseToStart => buffer.erase_to_start(),
            Key::EraseToEnd => buffer.erase_to_end(),
            Key::EraseLine => drop(buffer.take()),
            Key::Redraw => self.needs_redraw = true,
            // `next_line` has taken it.
            Key::Enter => {}
        }
    }

    /// Shows what has changed, once however many keys have done it.
    fn render(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.needs_redraw) {
            out.extend_from_slice(CLEAR_ROW);
            out.extend_from_slice(PROMPT.as_bytes());
            self.rendered = RenderedRow::default();
        }
        let row = self.viewport.render(&self.line);
        row.write_changes(out, &self.rendered);
        self.rendered = row;
        if std::mem::take(&mut self.bell_pending) {
            out.push(0x07);
        }
    }
}
