//! Sanitizing: makes the bytes of a line safe to show on any member's terminal.

use super::escape_sequence::{ESC, sequence_length};
use memchr::memchr;
use std::borrow::Cow;

/// The black flag, with which a subdivision's flag begins.
const FLAG_BASE: char = '\u{1F3F4}';

/// CANCEL TAG, with which a subdivision's flag ends.
const CANCEL_TAG: char = '\u{E007F}';

/// The most tag characters between [`FLAG_BASE`] and [`CANCEL_TAG`]. The flags that fonts draw have 5; a
/// subdivision code of ISO 3166-2 has 6 at most.
const MAX_FLAG_TAGS: usize = 16;

/// Returns the text of a line without the characters that control a terminal.
///
/// Every chat line and command passes here once, before it is encoded for a room. Each invalid UTF-8
/// sequence becomes one U+FFFD.
///
/// First the function drops escape sequences whole, so that a key that is no character (Left, `ESC [ D`)
/// leaves no rest:
///
/// - `ESC [`, parameters, intermediates and a final byte (a control sequence; ECMA-48, section 5.4), and
///   `ESC [ [` and one more byte (a function key of the Linux console);
/// - `ESC O` and a character, with digits and `;` between them (keys of xterm);
/// - `ESC ]`, `ESC P`, `ESC X`, `ESC ^` and `ESC _` up to ST, which is `ESC \` (control strings; ECMA-48,
///   section 5.6); BEL ends one that began with `ESC ]`, as in xterm;
/// - `ESC`, intermediates and a final byte (ECMA-35, section 13), such as `ESC ( B` and `ESC c`.
///
/// A sequence that the line does not finish is dropped up to the end of the line. CAN and SUB abort a
/// sequence, and ESC begins another one. Other control characters inside a sequence are dropped with it and
/// do not end it, because a terminal executes them and goes on with the sequence. A character that is not
/// ASCII ends a sequence other than a control string, and stays.
///
/// Then the function drops:
///
/// - C0 except TAB, and DEL (ECMA-48, section 5.2): move the cursor, ring the bell.
/// - C1, U+0080-9F (ECMA-48, section 5.3): U+009B begins a sequence as `ESC [` does, U+0085 is a line end.
///   Only the character is dropped, since terminals differ in what they take for its sequence.
/// - U+2028 and U+2029 (UAX #14, class BK): line ends to programs that split lines as Unicode does.
/// - U+202A-E and U+2066-9 (UAX #9, section 2): reorder the text around them, so the name and the text of
///   a line could be shown as another user's (CVE-2021-42574).
/// - U+FEFF: invisible, so two different texts would look the same; a byte order mark at the start.
/// - U+FFF9-B (the Unicode Standard, section 23.8): mark text that is shown elsewhere or not at all.
/// - Tag characters, U+E0000-E007F: invisible text. They stay in the flag of a subdivision (UTS #51,
///   definition ED-14a): U+1F3F4, 1 to 16 of U+E0020-E007E, and U+E007F.
///
/// The marks U+200E, U+200F and U+061C affect one place only; they, joiners and variation selectors are part
/// of written languages and emoji, and stay.
/// Both steps follow the decoding of UTF-8, and the first one leaves no ESC, so the text around a dropped
/// part cannot join into anything that must be dropped.
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
    drop_characters(drop_escape_sequences(text))
}

/// Returns whether [`sanitize`] drops `character` wherever it stands. A tag character is dropped or stays
/// depending on the characters around it, so it is not among these.
pub(crate) fn controls_terminal(character: char) -> bool {
    let is_listed = matches!(
        character,
        '\0'..='\u{1F}'
            | '\u{7F}'..='\u{9F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
    );
    is_listed && character != '\t'
}

/// Returns whether all bytes are printable ASCII or TAB.
///
/// The loop has no early exit, as in [`may_control_terminal`], so that the compiler vectorizes it.
fn is_plain_ascii(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~' | b'\t'))
}

/// Returns whether valid UTF-8 holds a byte with which a character that [`sanitize`] drops may begin.
///
/// Such a byte is the character itself, or C2 (U+0080-BF), E2 (U+2000-2FFF), EF (U+F000-FFFF) or F3
/// (U+C0000-FFFFF).
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator would be an early exit from the loop")]
fn may_control_terminal(text: &[u8]) -> bool {
    let is_control = |byte: u8| ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7F);
    let is_lead = |byte: u8| (byte == 0xC2) | (byte == 0xE2) | (byte == 0xEF) | (byte == 0xF3);
    text.iter().fold(false, |found, byte| found | is_control(*byte) | is_lead(*byte))
}

/// Returns `text` without its escape sequences.
fn drop_escape_sequences(text: Cow<'_, str>) -> Cow<'_, str> {
    let next_sequence = |text: &str| memchr(ESC, text.as_bytes());
    if next_sequence(&text).is_none() {
        return text;
    }
    let (mut kept, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(at) = next_sequence(rest) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + sequence_length(&rest.as_bytes()[at..])..];
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Returns `text` without the characters that control a terminal and without tag characters outside flags.
fn drop_characters(text: Cow<'_, str>) -> Cow<'_, str> {
    if find_dropped(&text).is_none() {
        return text;
    }
    let (mut kept, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(at) = find_dropped(rest) {
        kept.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(is_dropped_outside_flags);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Returns the position of the first character that [`drop_characters`] drops.
fn find_dropped(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if is_dropped_outside_flags(character) {
            return Some(at);
        }
        if character == FLAG_BASE {
            let tags = count_flag_tags(characters.as_str());
            characters.by_ref().take(tags).for_each(drop);
        }
    }
    None
}

fn is_dropped_outside_flags(character: char) -> bool {
    controls_terminal(character) || matches!(character, '\u{E0000}'..=CANCEL_TAG)
}

/// Returns how many tag characters `text`, which follows [`FLAG_BASE`], begins with if they make a flag, and
/// 0 otherwise.
fn count_flag_tags(text: &str) -> usize {
    let is_flag_tag = |character: &char| matches!(character, '\u{E0020}'..CANCEL_TAG);
    let tags = text.chars().take(MAX_FLAG_TAGS + 1).take_while(is_flag_tag).count();
    let is_flag = (1..=MAX_FLAG_TAGS).contains(&tags) && text.chars().nth(tags) == Some(CANCEL_TAG);
    if is_flag { tags + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The dropped characters as ranges: the specification that the tests compare `sanitize` with.
    const CONTROLLING_RANGES: [(u32, u32); 10] = [
        (0, 8),
        (0xA, 0x1F),
        (0x7F, 0x7F),
        (0x80, 0x9F),
        (0x2028, 0x2029),
        (0x202A, 0x202E),
        (0x2066, 0x2069),
        (0xFEFF, 0xFEFF),
        (0xFFF9, 0xFFFB),
        (0xE0000, 0xE007F),
    ];

    /// The flag of England: U+1F3F4, the tag characters `gbeng` and CANCEL TAG.
    const ENGLAND: &str = "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}";

    fn must_be_dropped(character: char) -> bool {
        CONTROLLING_RANGES.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(character)))
    }

    /// Sanitizes character by character: the specification that the tests compare `sanitize` with.
    fn reference_sanitize(line: &[u8]) -> String {
        let characters: Vec<char> = String::from_utf8_lossy(line).chars().collect();
        let (mut text, mut at) = (Vec::new(), 0);
        while at < characters.len() {
            if characters[at] == '\x1B' {
                at = reference_sequence_end(&characters, at + 1);
            } else {
                text.push(characters[at]);
                at += 1;
            }
        }
        let mut kept = String::new();
        for (at, character) in text.iter().enumerate() {
            if !must_be_dropped(*character) || is_in_reference_flag(&text, at) {
                kept.push(*character);
            }
        }
        kept
    }

    /// Returns the end of the sequence whose ESC stands before `at`.
    fn reference_sequence_end(characters: &[char], mut at: usize) -> usize {
        let mut body = String::new();
        while let Some(&character) = characters.get(at) {
            let is_string = body.starts_with([']', 'P', 'X', '^', '_']);
            if matches!(character, '\x1B' | '\x18' | '\x1A') || (!is_string && !character.is_ascii()) {
                return at;
            }
            at += 1;
            if is_string {
                if character == '\x07' && body.starts_with(']') {
                    return at;
                }
            } else if !character.is_ascii_control() {
                body.push(character);
                if is_reference_sequence(&body) {
                    return at;
                }
            }
        }
        at
    }

    /// Returns whether the characters after an ESC are a whole sequence that is no control string.
    fn is_reference_sequence(body: &str) -> bool {
        let last = body.chars().next_back().unwrap();
        match body.chars().next().unwrap() {
            '[' => body.len() == 3 && body.starts_with("[[") || body.len() > 1 && body != "[[" && last >= '@',
            'O' => body.len() > 1 && !matches!(last, '0'..='9' | ';'),
            ']' | 'P' | 'X' | '^' | '_' => false,
            _ => last >= '0',
        }
    }

    /// Returns whether the tag character at `at` stands in a flag.
    fn is_in_reference_flag(text: &[char], at: usize) -> bool {
        let is_tag = |character: &char| ('\u{E0020}'..='\u{E007E}').contains(character);
        let base = text[..at].iter().rposition(|character| !is_tag(character));
        let end = text[at..].iter().position(|character| !is_tag(character)).map(|after| at + after);
        let (Some(base), Some(end)) = (base, end) else { return false };
        text[base] == '\u{1F3F4}' && text[end] == '\u{E007F}' && (1..=16).contains(&(end - base - 1))
    }

    #[test]
    fn every_character_is_kept_or_dropped_as_specified() {
        for character in '\0'..=char::MAX {
            let line = format!("a{character}b");
            let sanitized = sanitize(line.as_bytes());
            if character == '\x1B' {
                assert_eq!(sanitized, "a", "ESC and the character after it are a sequence");
            } else if must_be_dropped(character) {
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
                for controlling in ["\0", "\x1B[D", "\u{7F}", "\u{80}", "\u{202E}", "\u{FEFF}", "\u{FFF9}", "\u{E0041}"]
                {
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
            "🏴 and 🏴\u{200D}☠\u{FE0F}",
            ENGLAND,
            "\u{F0000}\u{E0100}",
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
    fn escape_sequences_are_dropped_whole() {
        for (line, expected) in [
            ("helo\x1B[D\x1B[Dl", "helol"),
            ("\x1B[31mred\x1B[0m", "red"),
            ("a\x1B[A\x1B[3~\x1BOP\x1B[[A\x1BO5Pb", "ab"),
            ("a\x1B]0;title\x07b\x1BP1;2|\x07text\x1B\\c", "abc"),
            ("a\x1B(B\x1B7\x1Bcb\x1B", "ab"),
            ("a\x1B[31", "a"),
            ("a\x1B]0;title", "a"),
            ("a\x1B[3\x18b\x1B]0;t\x1Ac", "abc"),
            ("a\x1B]0;t\x1B[Db", "ab"),
            ("a\x1B\x1B[Db", "ab"),
            ("a\x1B[\t\x073\x0F1mb\tc", "ab\tc"),
            ("a\x1B[é\x1Bé\x1BOé\x1B[1\u{9B}m", "aééém"),
            ("\x1B\x1B[[D[2J", "[2J"),
        ] {
            assert_eq!(sanitize(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(sanitize(b"a\x1B[\xFFb\x1B]\xFFb"), "a\u{FFFD}b", "U+FFFD is not ASCII");
    }

    #[test]
    fn line_ends_and_bidi_controls_are_dropped() {
        for (line, expected) in [
            ("a\rbob: forged", "abob: forged"),
            ("a\u{85}bob: forged\u{2028}bob: forged", "abob: forgedbob: forged"),
            ("\u{202E}desrever\u{202C}", "desrever"),
            ("\u{FEFF}\u{9B}2J", "2J"),
            ("\u{FFF9}base\u{FFFA}note\u{FFFB}", "basenote"),
        ] {
            assert_eq!(sanitize(line.as_bytes()), expected);
        }
    }

    #[test]
    fn tag_characters_stay_in_flags_only() {
        let tags = |count: usize| "\u{E0061}".repeat(count);
        for (line, expected) in [
            ("hi\u{E0068}\u{E0069}\u{E007F}".to_owned(), "hi".to_owned()),
            (format!("{ENGLAND}{ENGLAND}x\u{E0001}"), format!("{ENGLAND}{ENGLAND}x")),
            (format!("🏴{}\u{E007F}", tags(16)), format!("🏴{}\u{E007F}", tags(16))),
            (format!("🏴{}\u{E007F}", tags(17)), "🏴".to_owned()),
            (format!("🏴{}", tags(5)), "🏴".to_owned()),
            ("🏴\u{E007F}".to_owned(), "🏴".to_owned()),
            (format!("🏴\u{E0001}{}\u{E007F}", tags(2)), "🏴".to_owned()),
            (format!("🏳{}\u{E007F}", tags(5)), "🏳".to_owned()),
            (format!("🏴{}\x07\u{E007F}", tags(5)), "🏴".to_owned()),
            (format!("🏴{}{ENGLAND}", tags(3)), format!("🏴{ENGLAND}")),
            (format!("{ENGLAND}{}\u{E007F}", tags(2)), ENGLAND.to_owned()),
        ] {
            assert_eq!(sanitize(line.as_bytes()), expected, "{}", line.escape_unicode());
        }
    }

    /// Bytes in which dropped characters and parts of sequences are as frequent as others.
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
            "\x1B?[]\\[\\\\OPX_^(]{0,2}[0-9;\x07\x18é]{0,3}[ -~]".prop_map(String::into_bytes),
            "🏴[\u{E0061}-\u{E0063}]{0,18}\u{E007F}?".prop_map(String::into_bytes),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn line_is_sanitized_as_specified_and_borrowed_when_sanitized_again(line in bytes()) {
            let sanitized = sanitize(&line);
            prop_assert_eq!(&*sanitized, &*reference_sanitize(&line));
            prop_assert!(!sanitized.contains(controls_terminal));
            prop_assert!(matches!(sanitize(sanitized.as_bytes()), Cow::Borrowed(text) if text == sanitized));
        }

        #[test]
        fn text_around_a_sequence_is_kept(before in "[a-z é]{0,9}", parameters in "[0-?]{0,9}[ -/]{0,2}", after in "[a-z é]{0,9}") {
            let line = format!("{before}\x1B[{parameters}m{after}");
            prop_assert_eq!(sanitize(line.as_bytes()), before + &after);
        }
    }
}
