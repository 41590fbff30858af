//! Line buffer: the line that the user edits, with a cursor.
//!
//! The cursor moves by grapheme clusters (UAX #29), the characters that users see: `é` may be two Unicode
//! characters, and the emoji of a family five.

use super::width::{MAX_CLUSTER, floor_char_boundary};
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// The most bytes that a move or an erasure by word passes, so that the cost of a key is bounded.
const MAX_WORD: usize = 1 << 10;

/// The characters that separate words.
const BLANKS: [char; 2] = [' ', '\t'];

/// A text with a cursor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

    pub(super) fn insert_text(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces the text between `start` and the cursor.
    pub(super) fn replace_before(&mut self, start: usize, text: &str) {
        self.text.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
    }

    /// Returns the start of the word at whose end the cursor stands: the cursor itself after a blank.
    pub(super) fn word_start(&self) -> usize {
        let (start, before) = self.words_before();
        before.rfind(BLANKS).map_or(start, |blank| start + blank + 1)
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
        self.cursor = self.next_word_end();
    }

    pub(super) fn move_to_start(&mut self) {
        self.cursor = 0;
    }

    pub(super) fn move_to_end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(super) fn erase_character_before(&mut self) {
        let start = self.previous_cluster_start();
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    pub(super) fn erase_character_after(&mut self) {
        self.text.drain(self.cursor..self.next_cluster_end());
    }

    /// Erases the word before the cursor and returns it.
    pub(super) fn erase_word_before(&mut self) -> String {
        self.erase_back_to(self.previous_word_start())
    }

    /// Erases the word after the cursor and returns it.
    pub(super) fn erase_word_after(&mut self) -> String {
        let end = self.next_word_end();
        let erased = self.text[self.cursor..end].to_owned();
        self.text.drain(self.cursor..end);
        erased
    }

    /// Erases the text before the cursor and returns it.
    pub(super) fn erase_to_start(&mut self) -> String {
        self.erase_back_to(0)
    }

    /// Erases the text after the cursor and returns it.
    pub(super) fn erase_to_end(&mut self) -> String {
        self.text.split_off(self.cursor)
    }

    /// Erases the text between `from` and the cursor and returns it.
    fn erase_back_to(&mut self, from: usize) -> String {
        let erased = self.text[from..self.cursor].to_owned();
        self.text.drain(from..self.cursor);
        self.cursor = from;
        erased
    }

    /// Returns the start of the cluster before the cursor.
    fn previous_cluster_start(&self) -> usize {
        let limit = floor_char_boundary(&self.text, self.cursor.saturating_sub(MAX_CLUSTER - 3));
        let cluster = self.text[limit..self.cursor].graphemes(true).next_back();
        self.cursor - cluster.map_or(0, str::len)
    }

    /// Returns the end of the cluster after the cursor.
    fn next_cluster_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let cluster = rest[..floor_char_boundary(rest, MAX_CLUSTER)].graphemes(true).next();
        self.cursor + cluster.map_or(0, str::len)
    }

    /// Returns the start of the word before the cursor.
    fn previous_word_start(&self) -> usize {
        let (start, before) = self.words_before();
        before.trim_end_matches(BLANKS).rfind(BLANKS).map_or(start, |blank| start + blank + 1)
    }

    /// Returns the end of the word after the cursor.
    fn next_word_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let rest = &rest[..floor_char_boundary(rest, MAX_WORD)];
        let word = rest.trim_start_matches(BLANKS);
        self.cursor + rest.len() - word.len() + word.find(BLANKS).unwrap_or(word.len())
    }

    /// Returns the last [`MAX_WORD`] bytes before the cursor, and where they start.
    fn words_before(&self) -> (usize, &str) {
        let start = floor_char_boundary(&self.text, self.cursor.saturating_sub(MAX_WORD));
        (start, &self.text[start..self.cursor])
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
        let left: fn(&mut LineBuffer) = LineBuffer::move_word_left;
        let erase_word: fn(&mut LineBuffer) = |line| assert_eq!(line.erase_word_before(), "two");
        assert_eq!(steps("one two", &[erase_word, LineBuffer::erase_character_before]), ["one |", "one|"]);
        let erase_to_start: fn(&mut LineBuffer) = |line| assert_eq!(line.erase_to_start(), "one ");
        assert_eq!(steps("one two", &[left, erase_to_start]), ["one |two", "|two"]);
        let erase_to_end: fn(&mut LineBuffer) = |line| assert_eq!(line.erase_to_end(), "two");
        assert_eq!(steps("one two", &[left, erase_to_end]), ["one |two", "one |"]);
        let erase_word: fn(&mut LineBuffer) = |line| assert_eq!(line.erase_word_after(), "one");
        assert_eq!(steps("one two", &[LineBuffer::move_to_start, erase_word]), ["|one two", "| two"]);
        assert_eq!(
            steps(
                "üx",
                &[LineBuffer::move_to_start, LineBuffer::erase_character_after, LineBuffer::erase_character_after]
            ),
            ["|üx", "|x", "|"]
        );
        let erase_words: fn(&mut LineBuffer) =
            |line| assert_eq!(line.erase_word_before() + &line.erase_word_after(), "");
        assert_eq!(steps("", &[LineBuffer::erase_character_before, erase_words]), ["|", "|"]);
    }

    #[test]
    fn word_before_the_cursor_is_replaced() {
        let mut line = line("hi\tbo");
        assert_eq!(line.word_start(), 3);
        line.replace_before(3, "bob ");
        line.insert_text("x");
        assert_eq!((line.text(), line.cursor(), line.word_start()), ("hi\tbob x", 8, 7));
    }

    #[test]
    fn endless_word_is_passed_in_bounded_steps() {
        for text in ["x".repeat(5_000), " ".repeat(5_000)] {
            let mut line = line(&text);
            line.move_word_left();
            assert_eq!(line.cursor(), 5_000 - MAX_WORD);
            line.move_to_start();
            assert_eq!(line.erase_word_after().len(), MAX_WORD);
        }
    }

    #[test]
    fn endless_cluster_is_split_after_64_bytes() {
        let mut line = line(&"\u{301}".repeat(1_000));
        line.erase_character_before();
        assert!(line.text().len() >= 2_000 - MAX_CLUSTER, "{}", line.text().len());
        line.move_to_start();
        line.move_right();
        assert_eq!(line.cursor(), MAX_CLUSTER);
    }
}
