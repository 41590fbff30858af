//! Text for HTML and SVG.

use crate::format::push_escaped;

/// Returns a text in which no character has a meaning in HTML or SVG, neither between tags nor within a quoted attribute.
///
/// Control characters and invisible ones become codes such as `\x1b`, so that a text of the server cannot change how the
/// page shows other text. Line ends and tabs stay.
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
            _ => push_escaped(letter, &mut escaped),
        }
    }
    escaped
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
        assert_eq!(escape("\x1b[2J\r\0\u{9b}\u{202e}"), "\\x1b[2J\\x0d\\x00\\u{9b}\\u{202e}");
    }
}
