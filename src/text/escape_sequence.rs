//! Escape sequences: finds where a terminal's escape sequence ends in the bytes of a line.
//!
//! A key that is no character sends such a sequence (`ESC [ D` for Left), and a program writes one to
//! control a terminal. The forms are those of ECMA-48, sections 5.3 and 5.5 (`ESC` and a final byte), 5.4
//! (control sequences) and 5.6 (control strings), of ECMA-35, section 13 (intermediate bytes), and of the
//! keys of xterm and the Linux console. As in terminals, an ESC always begins a sequence, also inside
//! another one. The parser of the VT500 (<https://vt100.net/emu/dec_ansi_parser>) is the model for control
//! characters inside sequences.

use memchr::memrchr;

/// ESC, with which every sequence begins.
pub(crate) const ESC: u8 = 0x1B;

/// BEL, which ends an operating system command (OSC) as ST does.
const BEL: u8 = 0x07;

/// CAN (ECMA-48, section 8.3.6), which aborts a sequence in terminals.
const CAN: u8 = 0x18;

/// SUB, which aborts a sequence in terminals, too.
const SUB: u8 = 0x1A;

/// The longest sequence that [`trim_trailing_sequences`] recognizes, in bytes. Keys send fewer than 20.
pub(crate) const LOOK_BACK: usize = 64;

/// The part of a sequence in which the next byte stands.
#[derive(Clone, Copy)]
enum State {
    /// After ESC.
    Escape,
    /// After ESC and at least one intermediate byte, as in `ESC ( B`.
    Intermediate,
    /// Directly after `ESC [`, the control sequence introducer (CSI).
    ControlStart,
    /// After at least one parameter or intermediate byte of a control sequence.
    ControlSequence,
    /// After `ESC [ [`, with which the function keys of the Linux console begin.
    FunctionKey,
    /// After `ESC O`, single shift three (SS3), with which keys in application mode begin.
    SingleShift,
    /// In an operating system command, which BEL or ST ends.
    OperatingSystemCommand,
    /// In another control string, which ST ends.
    ControlString,
}

/// The effect of a byte on the sequence before it.
enum Step {
    /// The sequence goes on after the byte.
    Continue(State),
    /// The byte is the last one of the sequence.
    End,
    /// The sequence has ended before the byte.
    Abort,
}

impl State {
    /// Returns what `byte` means in this state.
    #[expect(clippy::match_same_arms, reason = "an arm applies to the bytes that the arms above it leave")]
    fn step(self, byte: u8) -> Step {
        match (self, byte) {
            // An ESC begins the next sequence, which may be the ST (`ESC \`) of a control string.
            (_, ESC | CAN | SUB) => Step::Abort,
            (Self::OperatingSystemCommand, BEL) => Step::End,
            (Self::OperatingSystemCommand | Self::ControlString, _) => Step::Continue(self),
            // No sequence but a control string holds a character that is not ASCII.
            (_, 0x80..) => Step::Abort,
            // Terminals execute or ignore control characters without leaving the sequence.
            (_, 0x00..0x20 | 0x7F) => Step::Continue(self),
            (Self::Escape, b'[') => Step::Continue(Self::ControlStart),
            (Self::Escape, b'O') => Step::Continue(Self::SingleShift),
            (Self::Escape, b']') => Step::Continue(Self::OperatingSystemCommand),
            (Self::Escape, b'P' | b'X' | b'^' | b'_') => Step::Continue(Self::ControlString),
            (Self::Escape | Self::Intermediate, 0x20..0x30) => Step::Continue(Self::Intermediate),
            (Self::ControlStart, b'[') => Step::Continue(Self::FunctionKey),
            (Self::ControlStart | Self::ControlSequence, 0x20..0x40) => Step::Continue(Self::ControlSequence),
            // Some terminals send the modifiers of a key as numbers after `ESC O`.
            (Self::SingleShift, b'0'..=b'9' | b';') => Step::Continue(self),
            _ => Step::End,
        }
    }
}

/// Returns the length of the escape sequence at the start of `text`, in bytes.
///
/// The first byte of `text` is ESC, and `text` ends with its line. A sequence that the line does not
/// finish has the length of `text`. In UTF-8 text the returned length is at a character boundary.
pub(crate) fn sequence_length(text: &[u8]) -> usize {
    let mut state = State::Escape;
    for (at, byte) in text.iter().enumerate().skip(1) {
        state = match state.step(*byte) {
            Step::Continue(state) => state,
            Step::End => return at + 1,
            Step::Abort => return at,
        };
    }
    text.len()
}

/// Returns `text` without the escape sequences at its end, whole or incomplete.
///
/// The function looks for the start of each sequence in [`LOOK_BACK`] bytes and takes the end of a longer
/// sequence for text. It reads at most [`LOOK_BACK`] bytes that it does not cut off.
pub(crate) fn trim_trailing_sequences(mut text: &[u8]) -> &[u8] {
    loop {
        let (before, end) = text.split_at(text.len().saturating_sub(LOOK_BACK));
        // An ESC begins a sequence whatever stands before it, so the last ESC tells how the text ends.
        match memrchr(ESC, end) {
            Some(at) if sequence_length(&end[at..]) == end.len() - at => text = &text[..before.len() + at],
            _ => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequences of keys and programs, each followed by the text `x`.
    const SEQUENCES: [&str; 30] = [
        "\x1B[D",
        "\x1B[1;5D",
        "\x1B[3~",
        "\x1B[[A",
        "\x1B[?1049h",
        "\x1B[38;2;1;2;3m",
        "\x1B[38:2::1:2:3m",
        "\x1B[ q",
        "\x1B[>0q",
        "\x1B[5[",
        "\x1B[200~",
        "\x1BOP",
        "\x1BO5P",
        "\x1BO1;2P",
        "\x1B]0;title\x07",
        "\x1B]8;;http://example.org\x07",
        "\x1B(B",
        "\x1B#8",
        "\x1B%G",
        "\x1B $-A",
        "\x1Bc",
        "\x1B7",
        "\x1B\\",
        "\x1BM",
        "\x1B\x00c",
        "\x1B[\x07\t1\r\n;\x7F5D",
        "\x1BO\0P",
        "\x1B(\tB",
        "\x1B[\0[\tA",
        "\x1B]0;\x08tit\u{E9}\t\x07",
    ];

    #[test]
    fn sequence_ends_with_its_final_byte() {
        for sequence in SEQUENCES {
            for after in ["", "x", "é", "\x1B[D", "\t"] {
                let text = format!("{sequence}{after}");
                assert_eq!(sequence_length(text.as_bytes()), sequence.len(), "{text:?}");
            }
        }
    }

    #[test]
    fn incomplete_sequence_reaches_to_the_end_of_the_line() {
        for sequence in SEQUENCES {
            for length in 1..sequence.len() {
                assert_eq!(sequence_length(&sequence.as_bytes()[..length]), length, "{sequence:?}");
            }
        }
        for string in ["\x1BPq#0;2;0~\x07~", "\x1BXstart", "\x1B^private\x07", "\x1B_application", "\x1B]2;é"] {
            assert_eq!(sequence_length(string.as_bytes()), string.len(), "{string:?}");
        }
    }

    #[test]
    fn esc_can_and_sub_abort_every_sequence() {
        for begun in ["\x1B", "\x1B[", "\x1B[[", "\x1B[12;", "\x1BO", "\x1BO1", "\x1B(", "\x1B]0;t", "\x1BPq", "\x1B_"]
        {
            for aborting in ["\x1B", "\x18", "\x1A"] {
                assert_eq!(sequence_length(format!("{begun}{aborting}x").as_bytes()), begun.len(), "{begun:?}");
            }
        }
    }

    #[test]
    fn character_that_is_not_ascii_aborts_every_sequence_but_a_control_string() {
        for character in ["\u{E9}", "\u{9B}", "\u{FFFD}"] {
            for begun in ["\x1B", "\x1B[", "\x1B[[", "\x1B[12;", "\x1BO", "\x1BO1", "\x1B("] {
                assert_eq!(sequence_length(format!("{begun}{character}x").as_bytes()), begun.len(), "{begun:?}");
            }
            for begun in ["\x1B]0;t", "\x1BPq", "\x1B_"] {
                let text = format!("{begun}{character}x");
                assert_eq!(sequence_length(text.as_bytes()), text.len(), "{text:?}");
            }
        }
    }

    #[test]
    fn sequences_at_the_end_are_trimmed() {
        for sequence in SEQUENCES {
            for length in 1..=sequence.len() {
                let text = [&b"ab"[..], &sequence.as_bytes()[..length]].concat();
                assert_eq!(trim_trailing_sequences(&text), b"ab", "{sequence:?}");
            }
        }
        assert_eq!(trim_trailing_sequences(b"ab"), b"ab");
        assert_eq!(trim_trailing_sequences(b"\x1B[Dab"), b"\x1B[Dab");
        assert_eq!(trim_trailing_sequences(&[&b"a"[..], &b"\x1B[D".repeat(1000)].concat()), b"a");
        assert_eq!(trim_trailing_sequences(b"a\x1BPtext\x1B\\\x1B]0;t\x1B\\"), b"a");
        assert_eq!(trim_trailing_sequences(b"a\x1B[\x18"), b"a\x1B[\x18", "CAN ends the sequence");
        let longest = [&b"\x1B]"[..], &[b't'; LOOK_BACK - 2]].concat();
        assert_eq!(trim_trailing_sequences(&[b"a", &longest[..]].concat()), b"a");
        let longer = [b"a", &longest[..], b"t"].concat();
        assert_eq!(trim_trailing_sequences(&longer), longer);
    }
}
