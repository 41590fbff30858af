//! Edits: the changes of the edited line that keys without an event cause, within the longest length of the line.

use super::Editor;
use crate::terminal::completion::Completion;
use crate::terminal::keys::Key;
use crate::terminal::width::floor_char_boundary;

impl Editor {
    /// Applies a key without an event to the line, the history or the row.
    pub(super) fn apply_key(&mut self, key: Key) {
        self.completion = None;
        self.row.note_change();
        let length = self.line.text().len();
        let buffer = &mut self.line;
        match key {
            Key::Char(character) => self.insert(character),
            Key::Tab => self.insert('\t'),
            Key::Yank => self.yank(),
            Key::Left => buffer.move_left(),
            Key::Right => buffer.move_right(),
            Key::WordLeft => buffer.move_word_left(),
            Key::WordRight => buffer.move_word_right(),
            Key::Home => buffer.move_to_start(),
            Key::End => buffer.move_to_end(),
            Key::Up => self.history.show_previous(|line| buffer.replace(line)),
            Key::Down => self.history.show_next(|line| buffer.replace(line)),
            Key::Backspace => buffer.erase_character_before(),
            Key::Delete | Key::DeleteOrLeave => buffer.erase_character_after(),
            Key::EraseWordBefore => keep_erased(&mut self.erased, buffer.erase_word_before()),
            Key::EraseWordAfter => keep_erased(&mut self.erased, buffer.erase_word_after()),
            Key::EraseToStart => keep_erased(&mut self.erased, buffer.erase_to_start()),
            Key::EraseToEnd => keep_erased(&mut self.erased, buffer.erase_to_end()),
            Key::Redraw => self.row.request_redraw(),
            // `handle_key` handles the keys with events.
            Key::Enter | Key::Interrupt | Key::CursorReport { .. } => {}
        }
        self.is_full &= self.line.text().len() >= length;
    }

    /// Inserts a character, unless the line is full.
    ///
    /// A line that has refused a character refuses all others until it becomes shorter, so that no character is missing
    /// within the text.
    fn insert(&mut self, character: char) {
        if !self.is_full && self.capacity() >= character.len_utf8() {
            self.line.insert(character);
        } else {
            self.refuse_text();
        }
    }

    /// Inserts the erased text, as far as it fits.
    fn yank(&mut self) {
        let fitting = floor_char_boundary(&self.erased, if self.is_full { 0 } else { self.capacity() });
        self.line.insert_text(&self.erased[..fitting]);
        if fitting < self.erased.len() {
            self.refuse_text();
        }
    }

    /// Returns how many bytes more fit in the line.
    fn capacity(&self) -> usize {
        self.settings.max_line.saturating_sub(self.line.text().len())
    }

    /// Lets the row say that the line is full, and rings the bell when that is new.
    fn refuse_text(&mut self) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.row.ring_bell();
        }
    }

    /// Shows the name after the one that the line shows, if there is more than one.
    pub(super) fn show_next_completion(&mut self) {
        if self.completion.as_mut().is_some_and(Completion::advance) {
            self.show_completion();
        }
    }

    /// Writes the completion's name in the place of the word before the cursor.
    pub(super) fn show_completion(&mut self) {
        let Some(completion) = &self.completion else {
            return;
        };
        let (start, cursor) = (completion.start(), self.line.cursor());
        let text = completion.text(&self.line.text()[cursor..]);
        if text.len().saturating_sub(cursor - start) <= self.capacity() {
            self.line.replace_before(start, &text);
            self.row.note_change();
        } else {
            self.row.ring_bell();
        }
    }
}

/// Keeps what a key erased, unless the key erased nothing.
fn keep_erased(erased: &mut String, text: String) {
    if !text.is_empty() {
        *erased = text;
    }
}
