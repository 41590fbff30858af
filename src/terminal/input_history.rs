//! Input history: the lines that the user has entered, which the arrow keys show again.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most lines that the history keeps.
const MAX_LINES: usize = 50;

/// The longest line that the history keeps, in bytes. With [`MAX_LINES`] it bounds the memory to 50 KiB; it
/// also bounds the bytes that one key copies.
const MAX_LINE_LENGTH: usize = 1 << 10;

/// The entered lines and the position that is shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct InputHistory {
    /// The entered lines, newest first.
    lines: VecDeque<String>,
    /// The bytes of all entered lines.
    bytes: usize,
    /// How many lines back the shown line is; 0 is the line that the user edits.
    position: usize,
    /// The line that the user edits, while an entered line is shown.
    edited_line: String,
}

impl InputHistory {
    /// Adds an entered line and returns to the line that the user edits. Empty and too long lines, and a
    /// repetition of the newest line, are not kept.
    pub(super) fn add(&mut self, line: &str) {
        self.reset();
        if line.is_empty() || line.len() > MAX_LINE_LENGTH || self.lines.front().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.bytes -= self.lines.pop_back().map_or(0, |line| line.len());
        }
        self.bytes += line.len();
        self.lines.push_front(line.to_owned());
    }

    /// Returns how many bytes all lines have, the one that the user edits included.
    pub(super) fn held_bytes(&self) -> usize {
        self.edited_line.len() + self.bytes
    }

    /// Returns to the line that the user edits, which is empty from now on.
    pub(super) fn reset(&mut self) {
        self.position = 0;
        self.edited_line = String::new();
    }

    /// Shows the previous entered line. `swap` replaces the shown line and returns the old one; it is not
    /// called at the oldest line.
    pub(super) fn show_previous(&mut self, swap: impl FnOnce(String) -> String) {
        if let Some(line) = self.lines.get(self.position) {
            let shown = swap(line.clone());
            if self.position == 0 {
                self.edited_line = shown;
            }
            self.position += 1;
        }
    }

    /// Shows the next entered line, or after the newest one the line that the user edits. `swap` is as in
    /// [`show_previous`](Self::show_previous).
    pub(super) fn show_next(&mut self, swap: impl FnOnce(String) -> String) {
        self.position = match self.position {
            0 => return,
            1 => {
                swap(std::mem::take(&mut self.edited_line));
                0
            }
            position => {
                swap(self.lines[position - 2].clone());
                position - 1
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes `up` lines back and then `down` lines forward; returns the line shown after each step.
    fn walk(history: &mut InputHistory, shown: &str, up: usize, down: usize) -> Vec<String> {
        let mut shown = shown.to_owned();
        let mut seen = Vec::new();
        for step in 0..up + down {
            let swap = |line| std::mem::replace(&mut shown, line);
            if step < up {
                history.show_previous(swap);
            } else {
                history.show_next(swap);
            }
            seen.push(shown.clone());
        }
        seen
    }

    #[test]
    fn previous_and_next_move_between_entries_and_the_edited_line() {
        let mut history = InputHistory::default();
        assert_eq!(walk(&mut history, "x", 1, 1), ["x", "x"]);
        history.add("one");
        history.add("two");
        assert_eq!(walk(&mut history, "unfinished", 3, 3), ["two", "one", "one", "two", "unfinished", "unfinished"]);
        walk(&mut history, "", 2, 0);
        history.add("three");
        assert_eq!(walk(&mut history, "", 1, 0), ["three"], "entering a line returns to the newest");
    }

    #[test]
    fn history_is_bounded_and_skips_empty_long_and_repeated_lines() {
        let mut history = InputHistory::default();
        for number in 0..1_000 {
            history.add(&format!("{}", number / 2));
        }
        history.add("");
        history.add(&"x".repeat(MAX_LINE_LENGTH + 1));
        let seen = walk(&mut history, "", MAX_LINES + 1, 0);
        assert_eq!(
            (history.lines.len(), &seen[0], &seen[MAX_LINES]),
            (MAX_LINES, &"499".to_owned(), &"450".to_owned())
        );
    }
}
