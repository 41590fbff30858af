//! Text: what may be shown of the bytes that somebody typed.

use std::borrow::Cow;

/// Makes text of a line's bytes: each invalid UTF-8 sequence becomes U+FFFD.
///
/// Every line passes here once, before it is laid out for its room. Valid text is borrowed, not copied.
#[must_use]
pub fn clean(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_text_is_borrowed_and_the_rest_replaced() {
        assert!(matches!(clean("grüße".as_bytes()), Cow::Borrowed("grüße")));
        assert_eq!(clean(b"a\xFFb\xC3"), "a\u{FFFD}b\u{FFFD}");
    }
}
