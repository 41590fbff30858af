//! The editor: one line that is typed key by key, and the row of the terminal that shows it.
//!
//! Keys become edits here, and edits become bytes for the terminal. Decoding keys, the text, its history and the row
//! have files of their own beside this folder.

use crate::terminal::input_history::InputHistory;
use crate::terminal::keys::{Key, KeyDecoder};
use crate::terminal::line_buffer::LineBuffer;
use crate::terminal::line_style::LineStyle;
use crate::terminal::viewport::{CLEAR_ROW, PROMPT, RenderedRow, Viewport};
use std::time::SystemTime;

/// The longest editable line, in bytes, as in the line mode of a Linux terminal. Inserting a character moves
/// all text after it, so this also bounds the cost of a key.
pub(crate) const MAX_LINE: usize = 4096;

/// The line editor of one terminal.
#[derive(Debug)]
pub(crate) struct Editor {
    /// The style of arriving lines.
    pub(crate) style: LineStyle,
    /// Decodes the terminal's bytes.
    keys: KeyDecoder,
    /// The edited line.
    line: LineBuffer,
    /// The entered lines.
    history: InputHistory,
    /// The longest line, in bytes.
    max_line: usize,
    /// The part of the line that the row shows.
    viewport: Viewport,
    /// The row that the terminal shows now, after the prompt.
    rendered: RenderedRow,
    /// Whether the terminal's row may differ from `rendered`, so that the next render draws all of it.
    needs_redraw: bool,
    /// Whether the next render rings the bell, because the line was full.
    bell_pending: bool,
}

impl Editor {
    /// Creates an editor and writes its prompt into the cursor's row, which must be empty. `columns` is the
    /// width of the terminal, 0 if unknown; a line has at most `max_line` and at most [`MAX_LINE`] bytes.
    #[must_use]
    pub(crate) fn open(out: &mut Vec<u8>, columns: u16, max_line: usize) -> Box<Self> {
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

    /// Clears the row and returns the edited line, which was not entered.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) -> String {
        out.extend_from_slice(CLEAR_ROW);
        self.line.take()
    }

    /// Returns whether the last byte was a CR: an LF or NUL right after it belongs to the same Enter.
    #[must_use]
    pub(crate) fn is_after_cr(&self) -> bool {
        self.keys.is_after_cr()
    }

    /// Removes the keys up to the next Enter from the front of `input` and returns the entered line, without
    /// a line end. Writes the changes of the row to `out`.
    ///
    /// Returns `None` if `input` holds no Enter; the editor has then taken all of it. A full line accepts no
    /// more characters and rings the bell.
    pub(crate) fn next_line(&mut self, out: &mut Vec<u8>, input: &mut &[u8]) -> Option<String> {
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

    /// Writes arriving lines, each with its LF, above the edited line. `now` is the time to show with them.
    pub(crate) fn print_above(&mut self, out: &mut Vec<u8>, lines: &[u8], now: SystemTime) {
        if !lines.is_empty() {
            out.extend_from_slice(CLEAR_ROW);
            self.style.format_lines(out, lines, now);
            self.needs_redraw = true;
            self.render(out);
        }
    }

    /// Renders the row for a new width of the terminal; 0 means unknown.
    pub(crate) fn resize(&mut self, out: &mut Vec<u8>, columns: u16) {
        self.viewport = Viewport::new(columns);
        self.needs_redraw = true;
        self.render(out);
    }

    /// Erases the character before the cursor, as telnet's EC does.
    pub(crate) fn erase_character(&mut self, out: &mut Vec<u8>) {
        self.line.erase_character_before();
        self.render(out);
    }

    /// Erases the edited line, as telnet's EL and IP do.
    pub(crate) fn erase_line(&mut self, out: &mut Vec<u8>) {
        self.line.take();
        self.render(out);
    }

    /// Applies a key to the line, the history or the row.
    fn apply_key(&mut self, key: Key) {
        let buffer = &mut self.line;
        match key {
            Key::Char(character) if buffer.text().len() + character.len_utf8() > self.max_line => {
                self.bell_pending = true;
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
            // `next_line` handles Enter before it calls this function.
            Key::Enter => {}
        }
    }

    /// Writes the changes of the row since the last render, once for any number of keys.
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

#[cfg(test)]
mod tests;
