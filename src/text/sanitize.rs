//! Sanitizing: makes the bytes of a line safe to show on any member's terminal.

use std::borrow::Cow;

/// Returns the text of a line without the characters that control a terminal.
///
/// Every chat line and command passes here once, before it is encoded for a room. Each invalid UTF-8
/// sequence becomes one U+FFFD. The function drops:
///
/// - C0 except TAB, and DEL (ECMA-48, section 5.2): begin escape sequences, move the cursor, ring the bell.
/// - C1, U+0080-9F (ECMA-48, section 5.3): U+009B begins a sequence as ESC `[` does, U+0085 is a line end.
/// - U+2028 and U+2029 (UAX #14, class BK): line ends to programs that split lines as Unicode does.
/// - U+202A-E and U+2066-9 (UAX #9, section 2): reorder the text around them, so the name and the text of
///   a line could be shown as another user's (CVE-2021-42574).
/// - U+FEFF: invisible, so two different texts would look the same; a byte order mark at the start.
///
/// All other characters stay as text, `[31m` of a color's escape sequence for example. The marks U+200E,
/// U+200F and U+061C affect one place only; they, joiners and variation selectors are part of written
/// languages and emoji.
/// Characters are dropped after decoding, so a dropped one cannot join two halves into another one that
/// must be dropped.
///
/// Text that needs no change is borrowed. Besides the UTF-8 validation the function reads each byte of
/// ASCII once and of other text twice; it decodes characters only when a byte was found with which a
/// dropped character may begin.
#[must_use]
pub fn sanitize(line: &[u8]) -> Cow<'_, str> {
    let text = match str::from_utf8(line) {
        Ok(text) if is_plain_ascii(line) || !may_control_terminal(line) => return Cow::Borrowed(text),
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line),
    };
    if !text.contains(controls_terminal) {
        return text;
    }
    let mut text = text.into_owned();
    text.retain(|character| !controls_terminal(character));
    Cow::Owned(text)
}

/// Returns whether [`sanitize`] drops `character`.
pub(crate) fn controls_terminal(character: char) -> bool {
    let is_listed = matches!(
        character,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
    );
    is_listed && character != '\t'
}

/// Returns whether all bytes are printable ASCII or TAB.
///
/// The loop has no early exit, as in [`may_control_terminal`], so that the compiler vectorizes it.
fn is_plain_ascii(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~' | b'\t'))
}

/// Returns whether valid UTF-8 holds a byte with which a character that [`controls_terminal`] may begin.
///
/// Such a byte is the character itself, or C2 (U+0080-BF), E2 (U+2000-2FFF) or EF (U+F000-FFFF).
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator would be an early exit from the loop")]
fn may_control_terminal(text: &[u8]) -> bool {
    let is_control = |byte: u8| ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7F);
    let is_lead = |byte: u8| (byte == 0xC2) | (byte == 0xE2) | (byte == 0xEF);
    text.iter().fold(false, |found, byte| found | is_control(*byte) | is_lead(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The dropped characters as ranges: the specification that the tests compare `sanitize` with.
    const CONTROLLING_RANGES: [(u32, u32); 8] = [
        (0, 8),
        (0xA, 0x1F),
        (0x7F, 0x7F),
        (0x80, 0x9F),
        (0x2028, 0x2029),
        (0x202A, 0x202E),
        (0x2066, 0x2069),
        (0xFEFF, 0xFEFF),
    ];

    fn must_be_dropped(character: char) -> bool {
        CONTROLLING_RANGES.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(character)))
    }

    #[test]
    fn every_character_is_kept_or_dropped_as_specified() {
        for character in '\0'..=char::MAX {
            let line = format!("a{character}b");
            let sanitized = sanitize(line.as_bytes());
            if must_be_dropped(character) {
                assert_eq!(sanitized, "ab", "{character:?}");
            } else {
                assert!(matches!(sanitized, Cow::Borrowed(text) if text == line), "{character:?}");
            }
        }
    }

    #[test]
    fn controlling_character_is_dropped_at_every_position() {
        for length in 0..70 {
            for at in [0, length / 2, length] {
                for controlling in ["\0", "\u{1B}", "\u{7F}", "\u{80}", "\u{202E}", "\u{FEFF}"] {
                    let (before, after) = ("x".repeat(at), "x".repeat(length - at));
                    assert_eq!(sanitize(format!("{before}{controlling}{after}").as_bytes()), before + &after);
                }
            }
        }
    }

    #[test]
    fn ordinary_text_is_borrowed() {
        let texts = [
            "",
            "\ttabs\tstay\t",
            "grüße, 你好，жизнь",
            "« ça va » – “fine”…",
            "👩\u{200D}🚒 and ☺\u{FE0F}",
            "\u{200F}שלום\u{200E} \u{61C}سلام",
        ];
        for text in texts {
            assert!(matches!(sanitize(text.as_bytes()), Cow::Borrowed(sanitized) if sanitized == text), "{text}");
        }
    }

    #[test]
    fn invalid_utf8_becomes_replacement_characters() {
        assert_eq!(sanitize(b"a\xFFb\xC3"), "a\u{FFFD}b\u{FFFD}");
        assert_eq!(sanitize(b"\x9B31m"), "\u{FFFD}31m", "a C1 byte alone is invalid UTF-8");
        assert_eq!(
            sanitize(b"\xC2\x07\x9B"),
            "\u{FFFD}\u{FFFD}",
            "the bytes on both sides of a dropped BEL do not join"
        );
    }

    #[test]
    fn escape_sequences_and_line_ends_are_dropped() {
        for (line, expected) in [
            ("\u{1B}[31mred\u{1B}[0m", "[31mred[0m"),
            ("\u{1B}]0;title\u{7}", "]0;title"),
            ("a\rbob: forged", "abob: forged"),
            ("a\u{85}bob: forged\u{2028}bob: forged", "abob: forgedbob: forged"),
            ("\u{202E}desrever\u{202C}", "desrever"),
            ("\u{FEFF}\u{9B}2J", "2J"),
        ] {
            assert_eq!(sanitize(line.as_bytes()), expected);
        }
    }

    /// Bytes in which dropped characters are as frequent as others.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let characters = CONTROLLING_RANGES.map(|(first, last)| {
            proptest::char::range(char::from_u32(first).unwrap(), char::from_u32(last).unwrap()).boxed()
        });
        let controlling = proptest::strategy::Union::new(characters);
        let part = prop_oneof![
            controlling.prop_map(|character| character.to_string().into_bytes()),
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 1..20),
            "[ -~]{1,40}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn sanitized_text_holds_no_controlling_character_and_is_borrowed_when_sanitized_again(line in bytes()) {
            let sanitized = sanitize(&line);
            prop_assert!(!sanitized.contains(must_be_dropped));
            let kept: String = String::from_utf8_lossy(&line).chars().filter(|c| !must_be_dropped(*c)).collect();
            prop_assert_eq!(&*sanitized, &*kept, "every other character is kept");
            prop_assert!(matches!(sanitize(sanitized.as_bytes()), Cow::Borrowed(text) if text == sanitized));
        }
    }
}
