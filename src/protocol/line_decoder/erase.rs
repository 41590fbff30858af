//! Erasing: cuts the last character off an unfinished line.
//!
//! An unfinished line is any bytes without LF, CR and NUL. Each function reads a bounded number of bytes from
//! its end, so erasing costs the same in a line of any length.

use crate::text::escape_sequence::trim_trailing_sequences;
use unicode_segmentation::UnicodeSegmentation;

/// The most bytes at the end of a line in which the last character is looked for. A family of four with skin
/// tones has 41.
pub(super) const LOOK_BACK: usize = 64;

/// The longest incomplete UTF-8 character, in bytes: a whole one has at most 4 (RFC 3629, section 3).
const MAX_PARTIAL_LENGTH: usize = 3;

/// Returns the length of `line` without its last character.
///
/// A character is a grapheme cluster (UAX #29, section 3), one byte of invalid UTF-8, or the bytes of an
/// incomplete UTF-8 character. Escape sequences are invisible, so those after the character are cut off with
/// it.
pub(super) fn length_without_last_character(line: &[u8]) -> usize {
    let visible = trim_trailing_sequences(line);
    let (kept, character) = visible.split_at(visible.len() - last_character_length(visible));
    if let [b' '..=b'~'] = character {
        return kept.len();
    }
    // The character may have ended an incomplete sequence, which would then swallow the next character.
    trim_trailing_sequences(kept).len()
}

/// Returns the length of the last character of `line` in bytes, at most [`LOOK_BACK`].
fn last_character_length(line: &[u8]) -> usize {
    // ASCII other than CR LF never makes a cluster with ASCII before it.
    if let [.., before, last] = line
        && before.is_ascii()
        && last.is_ascii()
    {
        return 1;
    }
    let end = &line[line.len().saturating_sub(LOOK_BACK)..];
    end.utf8_chunks().last().map_or(0, |chunk| match chunk.invalid().len() {
        0 => chunk.valid().graphemes(true).next_back().map_or(0, str::len),
        invalid => invalid,
    })
}

/// Returns whether `line` ends in the first bytes of an incomplete UTF-8 character.
pub(super) fn ends_in_partial_character(line: &[u8]) -> bool {
    let end = &line[line.len().saturating_sub(MAX_PARTIAL_LENGTH)..];
    let is_continuation = |byte: &u8| byte & 0xC0 == 0x80;
    let start = end.iter().rposition(|byte| !is_continuation(byte));
    start.is_some_and(|at| str::from_utf8(&end[at..]).is_err_and(|error| error.error_len().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_erased(line: impl AsRef<[u8]>, kept: impl AsRef<[u8]>) {
        let (line, kept) = (line.as_ref(), kept.as_ref());
        let rest = &line[..length_without_last_character(line)];
        assert_eq!(rest.escape_ascii().to_string(), kept.escape_ascii().to_string(), "{}", line.escape_ascii());
    }

    #[test]
    fn last_grapheme_cluster_is_erased() {
        for cluster in
            ["a", "\t", "é", "e\u{301}", "👍🏽", "👩\u{200D}👩\u{200D}👧\u{200D}👦", "🇩🇪", "한", "ก\u{E33}", "☺\u{FE0F}"]
        {
            for before in ["", "x", "é", "🇫🇷"] {
                assert_erased(format!("{before}{cluster}"), before);
            }
        }
        assert_erased("", "");
        let family = "👩🏽\u{200D}👩🏽\u{200D}👧🏽\u{200D}👦🏽";
        assert!(family.len() <= LOOK_BACK);
        assert_erased(format!("{family}{family}"), family);
    }

    #[test]
    fn cluster_that_is_longer_than_the_look_back_is_erased_in_parts() {
        let marks = "\u{301}".repeat(40);
        assert_erased(format!("ae{marks}"), format!("ae{}", "\u{301}".repeat(8)));
        assert_erased(format!("ae{}", "\u{301}".repeat(8)), "a");
    }

    #[test]
    fn invalid_byte_and_incomplete_character_are_erased_alone() {
        for (line, kept) in [
            (&b"a\xFF\xFF"[..], &b"a\xFF"[..]),
            (b"a\x80\x80", b"a\x80"),
            (b"a\xC3\xA9\x80", b"a\xC3\xA9"),
            (b"a\xE2\x82", b"a"),
            (b"a\xF0\x9F\x98", b"a"),
            (b"\xC3", b""),
            (&[0x80; 100], &[0x80; 99]),
        ] {
            assert_erased(line, kept);
        }
    }

    #[test]
    fn escape_sequences_after_the_character_are_erased_with_it() {
        for (line, kept) in [
            ("ab\x1B[D", "a"),
            ("ab\x1B[D\x1B[D", "a"),
            ("ab\x1B", "a"),
            ("ab\x1B[1;", "a"),
            ("ab\x1B]0;title\x07", "a"),
            ("é\x1BOP", ""),
            ("\x1B[D", ""),
            ("a\x1B[31mr", "a\x1B[31m"),
            ("a\x1B[31mé", "a"),
            ("a\x1B[é", "a"),
            ("a\x1B[\x18", "a"),
            ("a\x1B[Dbc", "a\x1B[Db"),
        ] {
            assert_erased(line, kept);
        }
        assert_erased(["ab", &"\x1B[D".repeat(1000)].concat(), "a");
    }

    #[test]
    fn partial_character_at_the_end_is_found() {
        for line in [&b"\xD1"[..], b"a\xC3", b"\xC3\xA9\xE2\x82", b"\xF0\x9F\x98", b"\xF0\x9F", b"\x80\xF0"] {
            assert!(ends_in_partial_character(line), "{}", line.escape_ascii());
        }
        for line in [&b""[..], b"a", b"\xC3\xA9", b"\xF0\x9F\x98\x80", b"\xFF", b"\x80\x80\x80\x80", b"\xC3a", b"a\x83"]
        {
            assert!(!ends_in_partial_character(line), "{}", line.escape_ascii());
        }
    }
}
