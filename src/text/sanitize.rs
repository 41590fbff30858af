//! Text: what may be shown of the bytes that somebody typed.

use std::borrow::Cow;

/// Makes text of a line's bytes that is safe to show on anybody's terminal.
///
/// Every line passes here once, before it is laid out for its room. Invalid UTF-8 becomes U+FFFD,
/// one for each sequence. What steers a terminal, or ends a line there, instead of being shown is
/// dropped:
///
/// - C0 but TAB, and DEL (ECMA-48, section 5.2): the start of escape sequences, CR, backspace, bells.
/// - C1, U+0080-9F (ECMA-48, section 5.3): U+009B begins a sequence as ESC `[` does, U+0085 is a line end.
/// - U+2028, U+2029 (UAX #14, class BK): line ends, for programs that split lines as Unicode does.
/// - U+202A-E, U+2066-9 (UAX #9, section 2): they reorder what stands beside them; the name and the
///   text of a line could be shown as another's (CVE-2021-42574).
/// - U+FEFF: shown as nothing, so that two texts look the same; in front, a byte order mark.
///
/// The rest stays, as text: of a colour's escape sequence, `[31m`. The marks of one place (U+200E,
/// U+200F, U+061C), joiners and variation selectors are how people write their languages and emoji.
/// Dropping comes after decoding: nothing dropped can join two halves to what has to be dropped.
///
/// Text that is clean already is borrowed, not copied. Beside the validation each byte of ASCII is
/// looked at once, of other text twice; it is looked at by characters only where one that is
/// dropped may begin.
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

/// Whether [`sanitize`] drops a character.
pub(crate) fn controls_terminal(character: char) -> bool {
    let is_control = matches!(
        character,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
    );
    is_control && character != '\t'
}

/// Whether all bytes are ASCII that is shown. It goes on to the end, as [`may_control_terminal`] does: a loop
/// without another way out is one that the compiler turns into vector instructions.
fn is_plain_ascii(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~' | b'\t'))
}

/// Whether valid UTF-8 holds a byte with which a character may begin that [controls a terminal](controls_terminal): it is that
/// character, or C2 (U+0080-BF), E2 (U+2000-2FFF) or EF (U+F000-FFFF).
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator is a way out of the loop, see above")]
fn may_control_terminal(text: &[u8]) -> bool {
    let is_control = |byte: u8| ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7F);
    let is_lead = |byte: u8| (byte == 0xC2) | (byte == 0xE2) | (byte == 0xEF);
    text.iter().fold(false, |found, byte| found | is_control(*byte) | is_lead(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The contract's list, written down a second time.
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
    fn every_character_is_kept_or_dropped_as_the_contract_lists() {
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
        assert_eq!(sanitize(b"\x9B31m"), "\u{FFFD}31m", "a C1 byte on its own is no character");
        assert_eq!(sanitize(b"\xC2\x07\x9B"), "\u{FFFD}\u{FFFD}", "what stood on both sides of a BEL does not join");
    }

    #[test]
    fn escape_sequences_and_line_ends_are_dropped() {
        for (typed, shown) in [
            ("\u{1B}[31mred\u{1B}[0m", "[31mred[0m"),
            ("\u{1B}]0;title\u{7}", "]0;title"),
            ("a\rbob: forged", "abob: forged"),
            ("a\u{85}bob: forged\u{2028}bob: forged", "abob: forgedbob: forged"),
            ("\u{202E}desrever\u{202C}", "desrever"),
            ("\u{FEFF}\u{9B}2J", "2J"),
        ] {
            assert_eq!(sanitize(typed.as_bytes()), shown);
        }
    }

    /// Bytes in which what has to go is as frequent as what has to stay.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let characters = CONTROLLING_RANGES.map(|(first, last)| {
            proptest::char::range(char::from_u32(first).unwrap(), char::from_u32(last).unwrap()).boxed()
        });
        let controlling = proptest::strategy::Union::new(characters);
        let piece = prop_oneof![
            controlling.prop_map(|character| character.to_string().into_bytes()),
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 1..20),
            "[ -~]{1,40}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn sanitized_text_holds_no_controlling_character_and_is_borrowed_when_sanitized_again(line in bytes()) {
            let sanitized = sanitize(&line);
            prop_assert!(!sanitized.contains(must_be_dropped));
            let kept: String = String::from_utf8_lossy(&line).chars().filter(|c| !must_be_dropped(*c)).collect();
            prop_assert_eq!(&*sanitized, &*kept, "and all the rest");
            prop_assert!(matches!(sanitize(sanitized.as_bytes()), Cow::Borrowed(again) if again == sanitized));
        }
    }
}
