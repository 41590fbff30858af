//! Width: how many columns a terminal uses for characters.
//!
//! Each character has the width that it has alone, as on nearly all terminals. Terminals disagree on the width of
//! joined emoji, so the editor never draws the joiners.

use unicode_width::UnicodeWidthChar;

/// The soft hyphen: terminals draw it in one column, although Unicode calls it ignorable.
const SOFT_HYPHEN: char = '\u{AD}';

/// Returns the width of a character in columns: 0, 1 or 2. The editor draws a TAB as one blank.
pub(super) fn character_width(character: char) -> usize {
    match character {
        '\t' | SOFT_HYPHEN => 1,
        _ => character.width().unwrap_or(0).min(2),
    }
}

/// Returns the width of a text in columns.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Returns the length of the longest start of `text` that has at most `bytes` bytes and splits no character.
pub(super) fn floor_char_boundary(text: &str, bytes: usize) -> usize {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_terminals() {
        for (text, width) in [
            ("abc", 3),
            ("жизнь", 5),
            ("łąkę", 4),
            ("ελ", 2),
            ("سلام", 4),
            ("שלום", 4),
            ("สวัสดี", 4),
            ("한국어", 6),
            ("来字かな", 8),
            ("e\u{301}", 1),
            ("👩\u{200D}🚒", 4),
            ("🇩🇪", 2),
            ("\t", 1),
            ("\u{AD}", 1),
        ] {
            assert_eq!(text_width(text), width, "{text:?}");
        }
    }

    #[test]
    fn char_boundary_is_rounded_down() {
        assert_eq!([0, 1, 2, 3, 9].map(|bytes| floor_char_boundary("aü", bytes)), [0, 1, 1, 3, 3]);
    }
}
