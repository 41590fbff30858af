//! Line buffer: the line that the user edits, with a cursor.
//!
//! The cursor moves by grapheme clusters (UAX #29), the characters that users see: `é` may be two Unicode
//! characters, and the emoji of a family five.

use unicode_segmentation::UnicodeSegmentation;

/// The longest grapheme cluster, in bytes: longer than any language needs. The buffer splits longer
/// clusters, so that the cost of a key is bounded.
const MAX_CLUSTER: usize = 64;

/// A text with a cursor.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    /// The text, without a line end.
    text: String,
    /// The cursor as a byte index into the text, on a character boundary.
    cursor: usize,
}

impl LineBuffer {
    /// Returns the text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the cursor as a byte index into the text.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Takes the text and leaves the buffer empty.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Replaces the text, moves the cursor to its end and returns the old text.
    pub(super) fn replace(&mut self, text: String) -> String {
        self.cursor = text.len();
        std::mem::replace(&mut self.text, text)
    }

    pub(super) fn insert(&mut self, character: char) {
        self.text.insert(self.cursor, character);
        self.cursor += character.len_utf8();
    }

    pub(super) fn move_left(&mut self) {
        self.cursor = self.previous_cluster_start();
    }

    pub(super) fn move_right(&mut self) {
        self.cursor = self.next_cluster_end();
    }

    pub(super) fn move_word_left(&mut self) {
        self.cursor = self.previous_word_start();
    }

    pub(super) fn move_word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let word = rest.trim_start_matches(' ');
        let end = word.find(' ').unwrap_or(word.len());
        self.cursor += rest.len() - word.len() + end;
    }

    pub(super) fn move_to_start(&mut self) {
        self.cursor = 0;
    }

    pub(super) fn move_to_end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(super) fn erase_character_before(&mut self) {
        self.erase_back_to(self.previous_cluster_start());
    }

    pub(super) fn erase_character_after(&mut self) {
        self.text.drain(self.cursor..self.next_cluster_end());
    }

    pub(super) fn erase_word_before(&mut self) {
        self.erase_back_to(self.previous_word_start());
    }

    pub(super) fn erase_to_start(&mut self) {
        self.erase_back_to(0);
    }

    pub(super) fn erase_to_end(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// Erases the text between `from` and the cursor.
    fn erase_back_to(&mut self, from: usize) {
        self.text.drain(from..self.cursor);
        self.cursor = from;
    }

    /// Returns the start of the cluster before the cursor.
    fn previous_cluster_start(&self) -> usize {
        let mut limit = self.cursor.saturating_sub(MAX_CLUSTER);
        while !self.text.is_char_boundary(limit) {
            limit += 1;
        }
        let cluster = self.text[limit..self.cursor].graphemes(true).next_back();
        self.cursor - cluster.map_or(0, str::len)
    }

    /// Returns the end of the cluster after the cursor.
    fn next_cluster_end(&self) -> usize {
        let mut limit = self.text.len().min(self.cursor + MAX_CLUSTER);
        while !self.text.is_char_boundary(limit) {
            limit -= 1;
        }
        let cluster = self.text[self.cursor..limit].graphemes(true).next();
        self.cursor + cluster.map_or(0, str::len)
    }

    /// Returns the start of the word before the cursor.
    fn previous_word_start(&self) -> usize {
        let word = self.text[..self.cursor].trim_end_matches(' ');
        word.rfind(' ').map_or(0, |blank| blank + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LineBuffer {
        let mut line = LineBuffer::default();
        line.replace(text.to_owned());
        line
    }

    /// Applies `steps` to `text`; returns the text with a bar at the cursor after each step.
    fn steps(text: &str, steps: &[fn(&mut LineBuffer)]) -> Vec<String> {
        let mut line = line(text);
        let show = |step: &fn(&mut LineBuffer)| {
            step(&mut line);
            let (before, after) = line.text.split_at(line.cursor);
            format!("{before}|{after}")
        };
        steps.iter().map(show).collect()
    }

    #[test]
    fn cursor_moves_by_grapheme_clusters() {
        let left: fn(&mut LineBuffer) = LineBuffer::move_left;
        assert_eq!(steps("e\u{301}x", &[left, left, left]), ["e\u{301}|x", "|e\u{301}x", "|e\u{301}x"]);
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(steps(&format!("a{family}"), &[left, left]), [format!("a|{family}"), format!("|a{family}")]);
        let right: fn(&mut LineBuffer) = LineBuffer::move_right;
        assert_eq!(steps("ü", &[LineBuffer::move_to_start, right, right]), ["|ü", "ü|", "ü|"]);
    }

    #[test]
    fn words_are_separated_by_blanks() {
        let left: fn(&mut LineBuffer) = LineBuffer::move_word_left;
        assert_eq!(
            steps("/me  says ü ", &[left, left, left, left]),
            ["/me  says |ü ", "/me  |says ü ", "|/me  says ü ", "|/me  says ü "]
        );
        let right: fn(&mut LineBuffer) = LineBuffer::move_word_right;
        assert_eq!(
            steps("ab  c ", &[LineBuffer::move_to_start, right, right, right]),
            ["|ab  c ", "ab|  c ", "ab  c| ", "ab  c |"]
        );
    }

    #[test]
    fn erase_functions_remove_text_around_the_cursor() {
        assert_eq!(
            steps("one two", &[LineBuffer::erase_word_before, LineBuffer::erase_character_before]),
            ["one |", "one|"]
        );
        assert_eq!(steps("one two", &[LineBuffer::move_word_left, LineBuffer::erase_to_start]), ["one |two", "|two"]);
        assert_eq!(steps("one two", &[LineBuffer::move_word_left, LineBuffer::erase_to_end]), ["one |two", "one |"]);
        assert_eq!(
            steps(
                "üx",
                &[LineBuffer::move_to_start, LineBuffer::erase_character_after, LineBuffer::erase_character_after]
            ),
            ["|üx", "|x", "|"]
        );
        assert_eq!(steps("", &[LineBuffer::erase_character_before, LineBuffer::erase_word_before]), ["|", "|"]);
    }

    #[test]
    fn endless_cluster_is_split_after_64_bytes() {
        let mut line = line(&"\u{301}".repeat(1_000));
        line.erase_character_before();
        assert_eq!(line.text().len(), 2_000 - MAX_CLUSTER);
        line.move_to_start();
        line.move_right();
        assert_eq!(line.cursor(), MAX_CLUSTER);
    }
}
