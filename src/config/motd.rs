//! The message of the day: lines of the operator that each member sees after its JOIN line.

use crate::config::units::show_size;
use crate::text::sanitize::sanitize;
use std::sync::Arc;

/// A message of the day, rendered once for all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motd(Arc<str>);

/// Why a text is no message of the day. Shown, it says what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MotdError {
    /// The text has no character that is shown.
    #[error("it is empty; write at least one line of text into it")]
    Empty,
    /// The text is longer than [`Motd::MAX_BYTES`].
    #[error("it is longer than {}; shorten it", show_size(Motd::MAX_BYTES))]
    TooLong,
    /// The text is no UTF-8.
    #[error("its line {line} is no UTF-8; write it in UTF-8")]
    NotUtf8 {
        /// The first line with a byte that is no UTF-8, counted from 1.
        line: usize,
    },
}

impl Motd {
    /// The longest text, in bytes: 4 KiB. Each member gets it at its JOIN, so it is short beside a backlog.
    pub const MAX_BYTES: usize = 4 << 10;

    /// Returns the message with the lines of `text`, each sanitized. An LF or CR LF ends a line, and at the end of
    /// the text it begins no further line.
    ///
    /// # Errors
    /// [`MotdError`] if the text is empty, too long or no UTF-8.
    pub fn new(text: &[u8]) -> Result<Self, MotdError> {
        if text.len() > Self::MAX_BYTES {
            return Err(MotdError::TooLong);
        }
        let text = str::from_utf8(text).map_err(|error| {
            let before = &text[..error.valid_up_to()];
            MotdError::NotUtf8 { line: before.split(|byte| *byte == b'\n').count() }
        })?;
        let (mut rendered, mut is_empty) = (String::new(), true);
        for line in text.lines() {
            let line = sanitize(line.as_bytes());
            is_empty &= line.trim().is_empty();
            rendered.extend(["*** ", &line, "\n"]);
        }
        if is_empty { Err(MotdError::Empty) } else { Ok(Self(rendered.into())) }
    }

    /// Returns the lines as a member sees them: `*** ` before each, and an LF after it. They have at most six bytes
    /// for each byte of the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Motd::new(text.as_bytes()).unwrap().as_str().to_owned()
    }

    #[test]
    fn each_line_begins_with_stars_and_ends_in_lf() {
        assert_eq!(rendered("Welcome to Roomcast\n"), "*** Welcome to Roomcast\n");
        assert_eq!(rendered("one\n\nthree"), "*** one\n*** \n*** three\n");
        assert_eq!(rendered("one\r\ntwo\r\n"), "*** one\n*** two\n");
        assert_eq!(rendered("привет, 你好\n\n"), "*** привет, 你好\n*** \n");
    }

    #[test]
    fn characters_that_control_a_terminal_are_dropped() {
        assert_eq!(rendered("\u{FEFF}a\rbob: b\u{2028}c\u{7}\n"), "*** abob: bc\n");
        assert!(!rendered("\u{1B}[2Jred\u{9B}0m").contains(['\u{1B}', '\u{9B}']));
    }

    #[test]
    fn text_without_content_is_an_error() {
        for text in ["", "\n", " \r\n\t\n", "\u{FEFF}", "\u{7}\n"] {
            assert_eq!(Motd::new(text.as_bytes()), Err(MotdError::Empty), "{text:?}");
        }
    }

    #[test]
    fn text_beyond_4_kib_is_an_error() {
        assert!(Motd::new(&[b'x'; 4096]).is_ok());
        assert_eq!(Motd::new(&[b'x'; 4097]), Err(MotdError::TooLong));
        assert_eq!(MotdError::TooLong.to_string(), "it is longer than 4KiB; shorten it");
    }

    #[test]
    fn text_that_is_no_utf8_is_an_error_with_its_line() {
        let error = Motd::new(b"one\ntwo \xE9t\xE9\n").unwrap_err();
        assert_eq!(error.to_string(), "its line 2 is no UTF-8; write it in UTF-8");
    }
}
