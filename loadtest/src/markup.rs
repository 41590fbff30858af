//! Text for HTML and SVG.

use std::fmt::Write as _;

/// Returns a text in which no character has a meaning in HTML or SVG, neither between tags nor within a quoted attribute.
///
/// Control characters and marks of the writing direction become visible codes such as `\x1b`, so that a text of the
/// server cannot change how the page shows other text. Line ends and tabs stay.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            // Writing to a string cannot fail.
            _ if letter.is_control() || is_direction_mark(letter) => _ = write!(escaped, "\\x{:02x}", letter as u32),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Returns whether a character changes the direction of the text after it.
fn is_direction_mark(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_are_escaped() {
        assert_eq!(escape("<b a=\"1\" c='2'>&amp;</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;&lt;/b&gt;");
        assert_eq!(escape("plain µs ▁▂\n\ttext"), "plain µs ▁▂\n\ttext");
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(escape("\x1b[2J\r\0\u{9b}\u{202e}"), "\\x1b[2J\\x0d\\x00\\x9b\\x202e");
    }
}
