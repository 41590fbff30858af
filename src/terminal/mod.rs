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
use viewport::{CLEAR, PROMPT, RenderedRow, Viewport};

/// The longest line that can be edited, in bytes: as in a Linux terminal's own line mode. A
/// character put in moves all behind it, so the bound is one on a key's cost, too.
pub const LONGEST: usize = 4096;

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
    window: Viewport,
    /// What the terminal shows in its last row, behind the prompt.
    shown: RenderedRow,
    /// The terminal may show something else: all is to be shown again.
    stale: bool,
    /// A key had no effect since the line is full: a bell is due.
    full: bool,
}

impl Editor {
    /// Takes the row that the terminal's cursor is in, which is empty. `columns` is the terminal's
    /// width, 0 if unknown; a line has at most `max_line` bytes, and at most [`LONGEST`].
    #[must_use]
    pub fn open(out: &mut Vec<u8>, columns: u16, max_line: usize) -> Box<Self> {
        let mut editor = Box::new(Self {
            style: LineStyle::default(),
            keys: KeyDecoder::default(),
            line: LineBuffer::default(),
            history: InputHistory::default(),
            max_line: max_line.min(LONGEST),
            window: Viewport::new(columns),
            shown: RenderedRow::default(),
            stale: true,
            full: false,
        });
        editor.refresh(out);
        editor
    }

    /// Gives the row back, empty; what was typed and not entered.
    pub fn close(mut self: Box<Self>, out: &mut Vec<u8>) -> String {
        out.extend_from_slice(CLEAR);
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
    pub fn next(&mut self, out: &mut Vec<u8>, input: &mut &[u8]) -> Option<String> {
        let mut line = None;
        while let Some(key) = self.keys.next(input) {
            if key == Key::Enter {
                let entered = self.line.take();
                self.history.add(&entered);
                line = Some(entered);
                break;
            }
            self.press(key);
        }
        self.refresh(out);
        line
    }

    /// Writes arriving lines, each with its LF, above the line that is being typed.
    pub fn interrupt(&mut self, out: &mut Vec<u8>, lines: &[u8], now: SystemTime) {
        if !lines.is_empty() {
            out.extend_from_slice(CLEAR);
            self.style.lines(out, lines, now);
            self.stale = true;
            self.refresh(out);
        }
    }

    /// Goes by another width of the terminal.
    pub fn resize(&mut self, out: &mut Vec<u8>, columns: u16) {
        self.window = Viewport::new(columns);
        self.stale = true;
        self.refresh(out);
    }

    /// Erases the character before the cursor, as telnet's EC asks.
    pub fn erase(&mut self, out: &mut Vec<u8>) {
        self.line.erase_before();
        self.refresh(out);
    }

    /// Erases the line, as telnet's EL and IP ask.
    pub fn erase_line(&mut self, out: &mut Vec<u8>) {
        self.line.take();
        self.refresh(out);
    }

    fn press(&mut self, key: Key) {
        let buffer = &mut self.line;
        match key {
            Key::Char(character) if buffer.text().len() + character.len_utf8() > self.max_line => self.full = true,
            Key::Char(character) => buffer.insert(character),
            Key::Left => buffer.left(),
            Key::Right => buffer.right(),
            Key::WordLeft => buffer.word_left(),
            Key::WordRight => buffer.word_right(),
            Key::Home => buffer.home(),
            Key::End => buffer.end(),
            Key::Up => self.history.older(|line| buffer.replace(line)),
            Key::Down => self.history.newer(|line| buffer.replace(line)),
            Key::Backspace => buffer.erase_before(),
            Key::Delete => buffer.erase_behind(),
            Key::EraseWord => buffer.erase_word(),
            Key::EraseToStart => buffer.erase_to_start(),
            Key::EraseToEnd => buffer.erase_to_end(),
            Key::EraseLine => drop(buffer.take()),
            Key::Redraw => self.stale = true,
            // `next` has taken it.
            Key::Enter => {}
        }
    }

    /// Shows what has changed, once however many keys have done it.
    fn refresh(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.stale) {
            out.extend_from_slice(CLEAR);
            out.extend_from_slice(PROMPT.as_bytes());
            self.shown = RenderedRow::default();
        }
        let row = self.window.show(&self.line);
        row.draw(out, &self.shown);
        self.shown = row;
        if std::mem::take(&mut self.full) {
            out.push(0x07);
        }
    }
}
