//! Word wrap: cuts a line into rows of the terminal's width.
//!
//! Without wrapping, the terminal itself would begin the next row with any part of a user's text, which could look
//! like the line of another user. A wrapped line continues after an indentation instead.

use super::width::{MAX_BYTES_PER_COLUMN, MAX_CLUSTER, character_width, floor_char_boundary};
use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;

/// The blanks with which each further row of a line begins. No line of the room begins with a blank.
pub(super) const INDENTATION: &str = "  ";

/// The narrowest terminal for which lines are wrapped, in columns; narrower ones have no capacity for the time and the
/// indentation.
pub(super) const MIN_COLUMNS: usize = 10;

/// The columns between two tab stops.
const TAB_STOP: usize = 8;

/// The variation selector after which many terminals draw the character before it in two columns.
const EMOJI_PRESENTATION: char = '\u{FE0F}';

/// Returns how many bytes at the start of `text` the next row shows, and where the row after it starts; that is the
/// length of `text` if no row follows.
///
/// The row has `available` columns and the rows after it `following` columns, both at least 2. The row ends before a
/// word that does not fit, or within a word that is longer than a whole row, but then not between a character and its
/// marks.
pub(super) fn split_row(text: &str, available: usize, following: usize) -> (usize, usize) {
    let fitting = fit(text, available);
    let rest = &text[fitting..];
    if rest.starts_with(' ') || rest.is_empty() {
        return (fitting, text.len() - rest.trim_start_matches(' ').len());
    }
    if let Some(blank) = text[..fitting].rfind(' ') {
        let (row, word) = (text[..blank].trim_end_matches(' '), &text[blank + 1..]);
        let word_end = fit_characters(word, following);
        let fits_a_row = word_end == word.len() || word[word_end..].starts_with(' ') || word[..word_end].contains(' ');
        if fits_a_row && !row.is_empty() {
            return (row.len(), blank + 1);
        }
    }
    (fitting, fitting)
}

/// Returns `text` with blanks in place of each TAB, up to the next tab stop; `column` is the column of its start.
pub(super) fn expand_tabs(text: &str, mut column: usize) -> Cow<'_, str> {
    if !text.contains('\t') {
        return Cow::Borrowed(text);
    }
    let mut expanded = String::with_capacity(text.len() + TAB_STOP);
    for character in text.chars() {
        if character == '\t' {
            let blanks = TAB_STOP - column % TAB_STOP;
            expanded.extend(std::iter::repeat_n(' ', blanks));
            column += blanks;
        } else {
            expanded.push(character);
            column += character_width(character);
        }
    }
    Cow::Owned(expanded)
}

/// Returns how many bytes at the start of `text` fit in `available` columns: whole grapheme clusters, or a part of the
/// first one if it is too long itself.
fn fit(text: &str, available: usize) -> usize {
    let end = fit_characters(text, available);
    if end < text.len() { cluster_start(text, end) } else { end }
}

/// Returns how many bytes at the start of `text` fit in `available` columns: whole characters, at least one.
///
/// The width of a character is the most columns that a terminal uses for it, so that no terminal wraps a row by itself.
fn fit_characters(text: &str, available: usize) -> usize {
    // One byte more than fits shows that no mark follows the last character that fits.
    if text.as_bytes()[..text.len().min(available + 1)].is_ascii() {
        return text.len().min(available);
    }
    let (mut width, mut last) = (0, 0);
    for (start, character) in text.char_indices() {
        last = if character == EMOJI_PRESENTATION && last == 1 { 1 } else { character_width(character) };
        width += last;
        if width > available || start + character.len_utf8() > available * MAX_BYTES_PER_COLUMN {
            return start;
        }
    }
    text.len()
}

/// Returns where the grapheme cluster begins that holds the byte `at` of `text`, or `at` if the cluster is longer than
/// [`MAX_CLUSTER`] or begins the text.
fn cluster_start(text: &str, at: usize) -> usize {
    let (before, after) = text.split_at(at);
    let (Some(last), Some(next)) = (before.chars().next_back(), after.chars().next()) else {
        return at;
    };
    if is_cluster_of_its_own(last) && is_cluster_of_its_own(next) {
        return at;
    }
    // The first boundaries in the searched part may be wrong, as the part may begin within a cluster.
    let from = floor_char_boundary(text, at.saturating_sub(2 * MAX_CLUSTER));
    let last_cluster = text[from..at + next.len_utf8()].grapheme_indices(true).next_back();
    let start = last_cluster.map_or(at, |(start, _)| from + start);
    if start > 0 && at - start <= MAX_CLUSTER { start } else { at }
}

/// Returns whether a character never forms a cluster with another such character, so that the search for clusters can
/// be left out: Latin, Greek and Cyrillic letters, kana, Chinese characters and Korean syllables.
fn is_cluster_of_its_own(character: char) -> bool {
    matches!(
        character,
        '\0'..'\u{300}'
            | '\u{370}'..'\u{483}'
            | '\u{48A}'..'\u{591}'
            | '\u{3041}'..='\u{3096}'
            | '\u{30A1}'..='\u{30FA}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{AC00}'..='\u{D7A3}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::width::text_width;
    use proptest::prelude::*;

    fn rows(text: &str, columns: usize) -> Vec<&str> {
        let (mut rows, mut rest, mut available) = (Vec::new(), text, columns);
        loop {
            let (end, next) = split_row(rest, available, columns - INDENTATION.len());
            rows.push(&rest[..end]);
            rest = &rest[next..];
            if rest.is_empty() {
                return rows;
            }
            available = columns - INDENTATION.len();
        }
    }

    #[test]
    fn line_is_cut_at_blanks() {
        assert_eq!(rows("bob: one two three four", 12), ["bob: one two", "three four"]);
        assert_eq!(rows("bob: one two three", 11), ["bob: one", "two three"]);
        assert_eq!(rows("bob: one two   ", 12), ["bob: one two"]);
        assert_eq!(rows("bob:   three  four", 10), ["bob:", "three", "four"]);
        assert_eq!(rows("bob: hi", 12), ["bob: hi"]);
        assert_eq!(rows("bob: ", 12), ["bob: "]);
        assert_eq!(rows("", 12), [""]);
    }

    #[test]
    fn word_longer_than_a_row_is_cut_in_its_middle() {
        assert_eq!(rows("bob: abcdefghijklmnopq rst", 12), ["bob: abcdefg", "hijklmnopq", "rst"]);
        assert_eq!(rows("bob: abcdefghij kl", 12), ["bob:", "abcdefghij", "kl"], "the word fits in a row of its own");
        assert_eq!(rows("bob: 漢字漢字漢字漢字", 12), ["bob: 漢字漢", "字漢字漢字"]);
    }

    #[test]
    fn characters_stay_with_their_marks() {
        let family = "👨\u{200D}👩\u{200D}👧";
        assert_eq!(rows(&format!("{}{family}", "x".repeat(8)), 12), [&"x".repeat(8), family]);
        assert_eq!(
            rows(&format!("{}e\u{301}\u{302}f", "x".repeat(11)), 12),
            [&*format!("{}e\u{301}\u{302}", "x".repeat(11)), "f"]
        );
        let flags = "🇩🇪".repeat(6);
        assert_eq!(rows(&format!("x{flags}"), 12), [format!("x{}", "🇩🇪".repeat(5)), "🇩🇪".to_owned()]);
        let hearts = "❤\u{FE0F}".repeat(7);
        assert_eq!(
            rows(&hearts, 12),
            ["❤\u{FE0F}".repeat(6), "❤\u{FE0F}".to_owned()],
            "some terminals use two columns"
        );
    }

    #[test]
    fn endless_clusters_are_cut_at_a_bounded_length() {
        let marks = format!("a{}", "\u{301}".repeat(9_000));
        assert!(rows(&marks, 20).iter().all(|row| row.len() <= 20 * MAX_BYTES_PER_COLUMN));
        let joined = "👨\u{200D}".repeat(2_000);
        let rows = rows(&joined, 21);
        assert!(rows[..rows.len() - 1].iter().all(|row| (14..=20).contains(&text_width(row))), "{:?}", &rows[..2]);
        assert_eq!(rows.concat(), joined);
    }

    #[test]
    fn characters_that_are_clusters_of_their_own_are_separated() {
        let all: Vec<char> = ('\0'..=char::MAX).filter(|character| is_cluster_of_its_own(*character)).collect();
        for pair in all.windows(2).filter(|pair| pair != &['\r', '\n']) {
            for text in [format!("{}{}", pair[0], pair[1]), format!("{}{}", pair[1], pair[0])] {
                assert_eq!(text.graphemes(true).count(), 2, "{text:?}");
            }
        }
    }

    #[test]
    fn tabs_become_blanks_up_to_the_next_stop() {
        assert_eq!(expand_tabs("a\tb", 0), "a       b");
        assert_eq!(expand_tabs("漢\t\tb", 6), "漢                b");
        assert!(matches!(expand_tabs("ab", 0), Cow::Borrowed("ab")));
    }

    proptest! {
        #[test]
        fn rows_hold_all_text_but_blanks_and_fit(
            text in "[a-z 漢üж한ส้🙂\u{301}\u{200D}\u{FE0F}❤🇩🇪]{0,200}",
            columns in MIN_COLUMNS..40,
        ) {
            let rows = rows(&text, columns);
            for (index, row) in rows.iter().enumerate() {
                let available = if index == 0 { columns } else { columns - INDENTATION.len() };
                prop_assert!(text_width(row) <= available, "{row:?}");
            }
            // Each row but the last ends at a blank or where a cluster ends, unless the cluster is very long.
            let clusters = |text: &str| text.graphemes(true).filter(|cluster| *cluster != " ").count();
            let longest = text.graphemes(true).map(str::len).max().unwrap_or(0);
            if longest < 12 {
                prop_assert_eq!(rows.iter().map(|row| clusters(row)).sum::<usize>(), clusters(&text));
            }
            let without_blanks = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without_blanks(&rows.concat()), without_blanks(&text));
        }
    }
}
