//! Width: how many columns a terminal uses for characters.
//!
//! Each character has the width that it has alone, as on nearly all terminals. Terminals disagree on the width of
//! joined emoji, so the editor never draws the joiners.

use unicode_width::UnicodeWidthChar;

/// The longest grapheme cluster, in bytes: longer than any language needs. The editor and the word wrap split longer ones,
/// so that the cost of a key and of a row is bounded.
pub(super) const MAX_CLUSTER: usize = 64;

/// The most bytes that one column shows: a wide character takes two columns, with four combining marks 16 bytes. The
/// bound limits the work for a row of marks without columns.
pub(super) const MAX_BYTES_PER_COLUMN: usize = 16;

/// The soft hyphen: terminals draw it in one column, although Unicode calls it ignorable.
const SOFT_HYPHEN: char = '\u{AD}';

/// The characters for which terminals that follow the C library use more columns than the crate `unicode-width` says:
/// the first and the last one of each range, and their columns. They are vowel signs, signs that stand before a number,
/// fillers, tone marks and circled numbers. A row that is counted too short would be wrapped by the terminal.
#[rustfmt::skip]
const WIDER_CHARACTERS: [(char, char, u8); 54] = [
    ('\u{605}', '\u{605}', 1),
    ('\u{70F}', '\u{70F}', 1),
    ('\u{890}', '\u{891}', 1),
    ('\u{8E2}', '\u{8E2}', 1),
    ('\u{9BE}', '\u{9BE}', 1),
    ('\u{9D7}', '\u{9D7}', 1),
    ('\u{B3E}', '\u{B3E}', 1),
    ('\u{B57}', '\u{B57}', 1),
    ('\u{BBE}', '\u{BBE}', 1),
    ('\u{BD7}', '\u{BD7}', 1),
    ('\u{CC0}', '\u{CC0}', 1),
    ('\u{CC2}', '\u{CC2}', 1),
    ('\u{CC7}', '\u{CC8}', 1),
    ('\u{CCA}', '\u{CCB}', 1),
    ('\u{CD5}', '\u{CD6}', 1),
    ('\u{D3E}', '\u{D3E}', 1),
    ('\u{D4E}', '\u{D4E}', 1),
    ('\u{D57}', '\u{D57}', 1),
    ('\u{DCF}', '\u{DCF}', 1),
    ('\u{DDF}', '\u{DDF}', 1),
    ('\u{1715}', '\u{1715}', 1),
    ('\u{1734}', '\u{1734}', 1),
    ('\u{1B35}', '\u{1B35}', 1),
    ('\u{1B3B}', '\u{1B3B}', 1),
    ('\u{1B3D}', '\u{1B3D}', 1),
    ('\u{1B43}', '\u{1B44}', 1),
    ('\u{1BAA}', '\u{1BAA}', 1),
    ('\u{1BF2}', '\u{1BF3}', 1),
    ('\u{302E}', '\u{302F}', 2),
    ('\u{3164}', '\u{3164}', 2),
    ('\u{3248}', '\u{324F}', 2),
    ('\u{A8FA}', '\u{A8FA}', 1),
    ('\u{A953}', '\u{A953}', 1),
    ('\u{A9C0}', '\u{A9C0}', 1),
    ('\u{FFA0}', '\u{FFA0}', 1),
    ('\u{111C0}', '\u{111C0}', 1),
    ('\u{111C2}', '\u{111C3}', 1),
    ('\u{11235}', '\u{11235}', 1),
    ('\u{1133E}', '\u{1133E}', 1),
    ('\u{1134D}', '\u{1134D}', 1),
    ('\u{11357}', '\u{11357}', 1),
    ('\u{114B0}', '\u{114B0}', 1),
    ('\u{114BD}', '\u{114BD}', 1),
    ('\u{115AF}', '\u{115AF}', 1),
    ('\u{116B6}', '\u{116B6}', 1),
    ('\u{11930}', '\u{11930}', 1),
    ('\u{1193D}', '\u{1193D}', 1),
    ('\u{1193F}', '\u{1193F}', 1),
    ('\u{11941}', '\u{11941}', 1),
    ('\u{11A84}', '\u{11A89}', 1),
    ('\u{11D46}', '\u{11D46}', 1),
    ('\u{16FF0}', '\u{16FF1}', 2),
    ('\u{1D165}', '\u{1D166}', 1),
    ('\u{1D16D}', '\u{1D172}', 1),
];

/// Returns the width of a character in columns: 0, 1 or 2, the most that a terminal uses for it. The editor draws a TAB
/// as one blank.
pub(super) fn character_width(character: char) -> usize {
    match character {
        ' '..='~' | '\t' | SOFT_HYPHEN => 1,
        _ => character.width().unwrap_or(0).min(2).max(width_in_c_libraries(character)),
    }
}

/// Returns the width of a character of [`WIDER_CHARACTERS`], and 0 for any other one.
fn width_in_c_libraries(character: char) -> usize {
    let next = WIDER_CHARACTERS.partition_point(|(first, _, _)| *first <= character);
    match next.checked_sub(1).map(|at| WIDER_CHARACTERS[at]) {
        Some((_, last, width)) if character <= last => width.into(),
        _ => 0,
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
            ("\u{3164}", 2),
            ("\u{302E}", 2),
            ("\u{605}", 1),
            ("ক\u{9BE}", 2),
            ("\u{FFA0}", 1),
            ("\u{3248}", 2),
            ("\u{114C1}", 1),
        ] {
            assert_eq!(text_width(text), width, "{text:?}");
        }
    }

    #[test]
    fn char_boundary_is_rounded_down() {
        assert_eq!([0, 1, 2, 3, 9].map(|bytes| floor_char_boundary("aü", bytes)), [0, 1, 1, 3, 3]);
    }
}
