//! Attacks by the content, the length and the number of lines.

use super::super::kind::{Ending, Group, Kind, QUIET, Room, Turn, Writes};
use super::connections::ends;
use crate::random::mix;

/// The longest line that a server with default bounds accepts, in bytes before its LF.
const LONGEST: usize = 20_000;

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "long-lines",
        about: "floods lines of 20,000 bytes, the bound",
        leaves_lines: true,
        groups: &[Group { sockets: 16, room: Room::Shared("z-long"), writes: Writes::Made(longest_line), ..QUIET }],
    },
    Kind {
        name: "endless-line",
        about: "writes a line that never ends, and connects again when it is closed",
        leaves_lines: false,
        groups: &[Group {
            sockets: 32,
            room: Room::Shared("z-endless"),
            writes: Writes::Made(|_, out| out.resize(out.len() + 1000, b'e')),
            ..QUIET
        }],
    },
    Kind {
        name: "empty-lines",
        about: "floods empty lines in a room of 100",
        leaves_lines: true,
        groups: &[
            Group { sockets: 16, room: Room::Shared("z-empty"), writes: Writes::Cycle(&[b"\n", b"\r\n"]), ..QUIET },
            Group { sockets: 84, room: Room::Shared("z-empty"), ..QUIET },
        ],
    },
    Kind {
        name: "short-lines",
        about: "floods lines of two bytes in a room of 100, resets and connects again",
        leaves_lines: true,
        groups: &[
            Group {
                sockets: 50,
                room: Room::Shared("z-short"),
                writes: Writes::Cycle(&[b"a\n"]),
                ends: ends(20_000, 20, Ending::Reset),
                ..QUIET
            },
            Group { sockets: 50, room: Room::Shared("z-short"), ..QUIET },
        ],
    },
    Kind {
        name: "painter",
        about: "floods terminal escape sequences, bidirectional overrides and stacks of combining marks",
        leaves_lines: true,
        groups: &[Group { sockets: 16, room: Room::Shared("z-painter"), writes: Writes::Made(paint), ..QUIET }],
    },
    Kind {
        name: "random",
        about: "writes random bytes, before and after JOIN",
        leaves_lines: true,
        groups: &[
            Group { sockets: 16, room: Room::Shared("z-random"), writes: Writes::Made(random_bytes), ..QUIET },
            Group { sockets: 16, writes: Writes::Made(random_bytes), ..QUIET },
        ],
    },
];

/// Appends a line of the longest legal length.
pub(super) fn longest_line(turn: &Turn, out: &mut Vec<u8>) {
    let letter = b'a' + u8::try_from(turn.segment % 26).unwrap_or(0);
    out.resize(out.len() + LONGEST, letter);
    out.push(b'\n');
}

/// Appends a line of one of several kinds of harmful text.
fn paint(turn: &Turn, out: &mut Vec<u8>) {
    const TEXTS: [&str; 8] = [
        "\x1b[2J\x1b[H\x1b[31mred",
        "\x1b]0;a title\x07\x1bP a string\x1b\\",
        "\u{202e}backwards\u{2066}\u{200f}",
        "*** a forged reply",
        "\u{9b}31m\u{85}\u{2028}\u{feff}",
        "\x1b[",
        "alice: a forged line\rbob: another",
        "\u{e0041}\u{e0042}\u{fff9}",
    ];
    let at = usize::try_from(turn.segment % 9).unwrap_or(0);
    match TEXTS.get(at) {
        Some(text) => out.extend_from_slice(text.repeat(20).as_bytes()),
        None => out.extend_from_slice(format!("z{}", "\u{301}".repeat(400)).as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends 256 random bytes.
fn random_bytes(turn: &Turn, out: &mut Vec<u8>) {
    let mut state = turn.random;
    for _ in 0..32 {
        state = mix(state);
        out.extend_from_slice(&state.to_le_bytes());
    }
}
