//! Key decoder: turns the bytes of a terminal's keyboard into keys.
//!
//! Parsers of terminal output, such as the `vte` crate, do not fit keyboard input: they take Alt-P
//! (`ESC P`) for the start of a string that Enter does not end, keep strings of any length, and split the
//! arrow key `ESC O D` in two. In this decoder a control byte ends every sequence and keeps its meaning,
//! so Enter always enters the line.

use crate::text::sanitize;
use serde::{Deserialize, Serialize};

/// A key, or a combination of keys, by its effect on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A printable character.
    Char(char),
    /// TAB, which completes a name when it is typed and is text when it is pasted.
    Tab,
    Enter,
    /// Ctrl-C.
    Interrupt,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Up,
    Down,
    /// Erases the character before the cursor.
    Backspace,
    /// Erases the character at the cursor.
    Delete,
    /// Ctrl-D: erases the character at the cursor, or leaves when the line is empty.
    DeleteOrLeave,
    EraseWordBefore,
    EraseWordAfter,
    EraseToStart,
    EraseToEnd,
    /// Inserts the text that was erased last.
    Yank,
    Redraw,
    /// The terminal's report of the cursor's position (CPR; ECMA-48, section 8.3.14), which is no key. The column
    /// counts from 1.
    CursorReport {
        column: u16,
    },
}

/// Decodes keys from chunks of any size.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct KeyDecoder {
    /// Where in an escape sequence the next byte stands.
    state: State,
    /// The first bytes of an incomplete UTF-8 character.
    partial: Vec<u8>,
    /// Whether the last byte was a CR: an LF or NUL after it belongs to the same Enter.
    after_cr: bool,
}

/// The position in an escape sequence (ECMA-48, section 5.4) at which the next byte stands.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum State {
    /// Outside a sequence.
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After `ESC [`, the control sequence introducer.
    ControlSequence(Parameters),
    /// After `ESC O`, single shift three, with which arrow keys in application mode begin.
    SingleShift,
    /// In a sequence that is no key, up to its final byte.
    IgnoredSequence,
    /// In a control string, such as a title, up to its end; also after Alt-P and similar keys.
    ControlString,
}

/// The parameters of a control sequence.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Parameters {
    /// The first two numbers; the decoder ignores others.
    numbers: [u16; 2],
    /// The index of the number that is being received.
    index: usize,
    /// Whether the sequence has private or intermediate bytes, which no key sends.
    has_private_bytes: bool,
}

impl KeyDecoder {
    /// Removes the bytes up to the next key from the front of `input`; returns `None` when `input` is empty.
    pub(super) fn next_key(&mut self, input: &mut &[u8]) -> Option<Key> {
        while let Some((&byte, rest)) = input.split_first() {
            if self.breaks_character_off(byte) {
                // `byte` stays in `input`: it begins the next key.
                self.partial.clear();
                return Some(Key::Char(char::REPLACEMENT_CHARACTER));
            }
            *input = rest;
            if let Some(key) = self.decode_byte(byte) {
                return Some(key);
            }
        }
        None
    }

    /// Returns whether the last byte was a CR.
    pub(super) fn is_after_cr(&self) -> bool {
        self.after_cr
    }

    /// Returns whether `byte` cannot continue the incomplete character, if there is one.
    fn breaks_character_off(&mut self, byte: u8) -> bool {
        let partial_length = self.partial.len();
        self.partial.push(byte);
        let invalid = str::from_utf8(&self.partial).is_err_and(|error| error.error_len().is_some());
        self.partial.truncate(partial_length);
        partial_length > 0 && invalid
    }

    /// Decodes one byte; returns the key that it completes.
    fn decode_byte(&mut self, byte: u8) -> Option<Key> {
        let after_cr = std::mem::take(&mut self.after_cr);
        match (self.state, byte) {
            (State::Escape, 0x08 | 0x7F) => self.finish(Some(Key::EraseWordBefore)),
            (_, 0x1B) => self.enter(State::Escape),
            (_, 0x00 | b'\n') if after_cr => None,
            (_, 0x00..0x20 | 0x7F) => {
                self.state = State::Ground;
                self.after_cr = byte == b'\r';
                control_key(byte)
            }
            (State::ControlString, _) => None,
            (State::Ground, 0x20..0x7F) => Some(Key::Char(byte.into())),
            (_, 0x80..) => {
                self.state = State::Ground;
                self.decode_character_byte(byte)
            }
            (State::Escape, _) => self.decode_escape(byte),
            (State::ControlSequence(parameters), _) => self.decode_control_sequence(parameters, byte),
            (State::SingleShift, _) => self.decode_single_shift(byte),
            (State::IgnoredSequence, _) => {
                if byte < 0x30 {
                    None
                } else {
                    self.finish(None)
                }
            }
        }
    }

    /// Enters `state` without a key.
    fn enter(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }

    /// Ends the sequence with `key`.
    fn finish(&mut self, key: Option<Key>) -> Option<Key> {
        self.state = State::Ground;
        key
    }

    /// Decodes a byte of a multi-byte character. Invalid UTF-8 becomes U+FFFD, as in every line.
    fn decode_character_byte(&mut self, byte: u8) -> Option<Key> {
        self.partial.push(byte);
        let character = match str::from_utf8(&self.partial) {
            Ok(text) => text.chars().next(),
            Err(error) if error.error_len().is_none() => return None,
            Err(_) => Some(char::REPLACEMENT_CHARACTER),
        };
        self.partial.clear();
        character.filter(|character| is_printable(*character)).map(Key::Char)
    }

    /// Decodes the byte after ESC.
    fn decode_escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => self.enter(State::ControlSequence(Parameters::default())),
            b'O' => self.enter(State::SingleShift),
            b'P' | b'X' | b']' | b'^' | b'_' => self.enter(State::ControlString),
            0x20..0x30 => self.enter(State::IgnoredSequence),
            b'b' => self.finish(Some(Key::WordLeft)),
            b'd' => self.finish(Some(Key::EraseWordAfter)),
            b'f' => self.finish(Some(Key::WordRight)),
            _ => self.finish(None),
        }
    }

    /// Decodes a byte of a control sequence.
    fn decode_control_sequence(&mut self, mut parameters: Parameters, byte: u8) -> Option<Key> {
        match byte {
            b'0'..=b'9' => {
                if let Some(number) = parameters.numbers.get_mut(parameters.index) {
                    *number = number.saturating_mul(10).saturating_add((byte - b'0').into());
                }
            }
            b';' => parameters.index = (parameters.index + 1).min(parameters.numbers.len()),
            0x20..0x40 => parameters.has_private_bytes = true,
            // A function key of the Linux console (`ESC [ [ A`): one more byte follows.
            b'[' => return self.enter(State::IgnoredSequence),
            _ => return self.finish(if parameters.has_private_bytes { None } else { parameters.to_key(byte) }),
        }
        self.enter(State::ControlSequence(parameters))
    }

    /// Decodes a byte after `ESC O`.
    fn decode_single_shift(&mut self, byte: u8) -> Option<Key> {
        match byte {
            // Some terminals send modifier keys as a number here.
            b'0'..=b'9' | b';' => None,
            b'M' => self.finish(Some(Key::Enter)),
            b'c' => self.finish(Some(Key::WordRight)),
            b'd' => self.finish(Some(Key::WordLeft)),
            _ => self.finish(Parameters::default().to_key(byte)),
        }
    }
}

impl Parameters {
    /// Returns the key whose control sequence has these parameters and `final_byte`.
    fn to_key(self, final_byte: u8) -> Option<Key> {
        // The second number holds the modifiers: 2 is Shift alone, more includes Alt or Ctrl.
        let by_word = self.numbers[1] > 2;
        Some(match (final_byte, self.numbers[0]) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) if by_word => Key::WordRight,
            (b'C', _) => Key::Right,
            (b'D', _) if by_word => Key::WordLeft,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', 1 | 7) => Key::Home,
            (b'F', _) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            // A function key with a modifier may have the same form; the editor ignores reports that it did not ask for.
            (b'R', _) if self.index == 1 => Key::CursorReport { column: self.numbers[1] },
            _ => return None,
        })
    }
}

/// Returns the key of a control byte, as readline binds it.
fn control_key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::DeleteOrLeave,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7F => Key::Backspace,
        0x0B => Key::EraseToEnd,
        0x0C => Key::Redraw,
        0x0E => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::EraseToStart,
        0x17 => Key::EraseWordBefore,
        0x19 => Key::Yank,
        _ => return None,
    })
}

/// Returns whether a character is safe to show; TAB is a key of its own.
fn is_printable(character: char) -> bool {
    !sanitize::controls_terminal(character) && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(chunks: &[&[u8]]) -> Vec<Key> {
        let mut decoder = KeyDecoder::default();
        let mut pressed = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            pressed.extend(std::iter::from_fn(|| decoder.next_key(&mut input)));
            assert!(input.is_empty());
        }
        pressed
    }

    fn typed(bytes: &[u8]) -> String {
        let character = |key| if let Key::Char(character) = key { character } else { panic!("{key:?}") };
        keys(&[bytes]).into_iter().map(character).collect()
    }

    #[test]
    fn cursor_keys_of_all_terminals_are_decoded() {
        for (key, sequences) in [
            (Key::Up, &["\x1b[A", "\x1bOA", "\x10", "\x1b[1;2A"][..]),
            (Key::Down, &["\x1b[B", "\x1bOB", "\x0e"]),
            (Key::Right, &["\x1b[C", "\x1bOC", "\x06", "\x1b[1;2C"]),
            (Key::Left, &["\x1b[D", "\x1bOD", "\x02", "\x1b\x1b[D"]),
            (Key::WordRight, &["\x1b[1;5C", "\x1b[1;3C", "\x1bf", "\x1bOc"]),
            (Key::WordLeft, &["\x1b[1;5D", "\x1b[1;3D", "\x1bb", "\x1bOd"]),
            (Key::Home, &["\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~", "\x01"]),
            (Key::End, &["\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~", "\x05"]),
            (Key::Delete, &["\x1b[3~", "\x1b[3;5~"]),
            (Key::DeleteOrLeave, &["\x04"]),
            (Key::Interrupt, &["\x03"]),
            (Key::Tab, &["\t", "\x1b\t"]),
            (Key::EraseWordAfter, &["\x1bd"]),
            (Key::Yank, &["\x19"]),
            (Key::Backspace, &["\x08", "\x7f"]),
            (Key::EraseWordBefore, &["\x17", "\x1b\x7f", "\x1b\x08"]),
            (Key::Enter, &["\r\n", "\r\0", "\r", "\n", "\x1bOM", "\x1b[1;\r"]),
        ] {
            for sequence in sequences {
                assert_eq!(keys(&[sequence.as_bytes()]), [key], "{sequence:?}");
                let single: Vec<&[u8]> = sequence.as_bytes().chunks(1).collect();
                assert_eq!(keys(&single), [key], "{sequence:?}");
            }
        }
    }

    #[test]
    fn each_form_of_enter_is_one_key() {
        assert_eq!(keys(&[b"\r\n\r\0\r\n\n\r\r\0"]), [Key::Enter; 6]);
        assert_eq!(keys(&[b"\r", b"\n", b"\r", b"\0", b"a"]), [Key::Enter, Key::Enter, Key::Char('a')]);
    }

    #[test]
    fn unknown_sequences_are_skipped_as_a_whole() {
        for nothing in [
            "\x1b[5~",
            "\x1b[200~",
            "\x1b[[A",
            "\x1b[?1;2c",
            "\x1b[<0;33;1M",
            "\x1b[15;5~",
            "\x1b(B",
            "\x1b#8",
            "\x1bq",
            "\x1b[5R",
            "\x1b[?1;5R",
            "\x1b[99999999;1;2;3;4;5R",
            "\x1bOP",
            "\x1b]0;title\x07",
            "\x1b]11;rgb:0/0/0\x1b\\",
            "\x1bPq#0\x1b\\",
            "\0\x07\x18\x1a\x1f",
        ] {
            assert_eq!(typed(format!("a{nothing}b").as_bytes()), "ab", "{nothing:?}");
        }
        assert_eq!(keys(&[b"\x1bPlost\rx"]), [Key::Enter, Key::Char('x')], "a string begun by Alt-P ends at Enter");
    }

    #[test]
    fn multi_byte_characters_are_decoded_and_unsafe_ones_dropped() {
        assert_eq!(typed("aüß漢🙂\u{301}".as_bytes()), "aüß漢🙂\u{301}");
        assert_eq!(typed("\u{85}\u{202e}\u{2028}\u{2066}\u{feff}x".as_bytes()), "x");
    }

    #[test]
    fn report_of_the_cursor_is_no_text() {
        for (report, column) in [("\x1b[24;80R", 80), ("\x1b[1;1R", 1), ("\x1b[1;R", 0), ("\x1b[9;99999999R", u16::MAX)]
        {
            assert_eq!(keys(&[report.as_bytes()]), [Key::CursorReport { column }], "{report:?}");
        }
    }

    proptest! {
        /// Any chunking of any bytes gives the same keys, and printable characters only.
        #[test]
        fn chunking_does_not_change_the_keys(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(0x1B), Just(b'['), Just(b';'), Just(b'\r'), Just(0xE2)], 0..100)) {
            let whole = keys(&[&bytes]);
            prop_assert_eq!(&keys(&bytes.chunks(1).collect::<Vec<_>>()), &whole);
            prop_assert!(whole.iter().all(|key| !matches!(key, Key::Char(character) if !is_printable(*character))));
        }

        /// Invalid UTF-8 is replaced as `String::from_utf8_lossy` does.
        #[test]
        fn invalid_utf8_is_replaced_as_in_from_utf8_lossy(bytes in prop::collection::vec(0x80u8.., 0..40)) {
            let replaced = String::from_utf8_lossy(&bytes);
            let expected: String = replaced.chars().filter(|character| is_printable(*character)).collect();
            // CAN completes a character that is incomplete at the end.
            prop_assert_eq!(typed(&[&bytes, &b"\x18"[..]].concat()), expected);
        }
    }
}
