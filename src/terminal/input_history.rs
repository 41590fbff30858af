//! Recall: the lines that somebody has entered, to be had again with the arrow keys.

use std::collections::VecDeque;

/// The most lines that are kept.
const MAX_LINES: usize = 50;

/// The longest line that is kept, in bytes: with [`MAX_LINES`] that bounds the memory to 50 KiB, and
/// what a press of a key may copy.
const MAX_LINE_LENGTH: usize = 1 << 10;

/// What was entered, and how far back somebody has gone in it.
#[derive(Debug, Default)]
pub(super) struct InputHistory {
    /// The newest is the first.
    lines: VecDeque<String>,
    /// How many lines back; 0 is the line that is being typed.
    position: usize,
    /// That line, while another one is shown.
    edited_line: String,
}

impl InputHistory {
    /// Takes a line that was entered, and goes back to the newest.
    pub(super) fn add(&mut self, line: &str) {
        self.position = 0;
        self.edited_line = String::new();
        if line.is_empty() || line.len() > MAX_LINE_LENGTH || self.lines.front().is_some_and(|last| last == line) {
            return;
        }
        self.lines.truncate(MAX_LINES - 1);
        self.lines.push_front(line.to_owned());
    }

    /// The line before the one that is shown; `swap` shows it and gives what was shown.
    pub(super) fn show_previous(&mut self, swap: impl FnOnce(String) -> String) {
        if let Some(line) = self.lines.get(self.position) {
            let shown = swap(line.clone());
            if self.position == 0 {
                self.edited_line = shown;
            }
            self.position += 1;
        }
    }

    /// The line behind the one that is shown; the last is the one that is being typed.
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

    /// Goes up that often, then down; what is shown after each step.
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
        assert_eq!(walk(&mut history, "", 1, 0), ["three"], "a line entered is the newest again");
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
