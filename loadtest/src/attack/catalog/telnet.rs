//! Floods of telnet commands (RFC 854, 855, 1073 and 1091).

use super::super::kind::{Group, Kind, QUIET, Room, Turn, Writes};

const IAC: u8 = 0xff;

/// The sockets of each flood.
const FLOODER: Group = Group { sockets: 16, ..QUIET };

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "telnet-nop",
        about: "floods IAC NOP, before and after JOIN",
        leaves_lines: false,
        groups: &[
            Group { room: Room::Shared("z-nop"), writes: Writes::Cycle(&[b"\xff\xf1"]), ..FLOODER },
            Group { writes: Writes::Cycle(&[b"\xff\xf1"]), ..FLOODER },
        ],
    },
    Kind {
        name: "telnet-ayt",
        about: "floods IAC AYT and IAC IP",
        leaves_lines: false,
        groups: &[Group { room: Room::Shared("z-ayt"), writes: Writes::Cycle(&[b"\xff\xf6", b"\xff\xf4"]), ..FLOODER }],
    },
    Kind {
        name: "telnet-options",
        about: "asks DO, DONT, WILL and WONT of all options",
        leaves_lines: false,
        groups: &[Group { room: Room::Shared("z-options"), writes: Writes::Made(option), ..FLOODER }],
    },
    Kind {
        name: "telnet-naws",
        about: "floods window sizes that differ each time",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-naws"),
            opening: b"\xff\xfb\x1f",
            writes: Writes::Made(window_size),
            ..FLOODER
        }],
    },
    Kind {
        name: "telnet-sb",
        about: "begins a subnegotiation and never ends it",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-sb"),
            opening: b"\xff\xfb\x18\xff\xfa\x18\x00",
            writes: Writes::Cycle(&[b"endless endless endless endless \xff\xff"]),
            ..FLOODER
        }],
    },
    Kind {
        name: "telnet-erase",
        about: "writes text and erases it with IAC EL and IAC EC",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-erase"),
            writes: Writes::Cycle(&[b"some text that is erased\xff\xf8", b"abc\xff\xf7\xff\xf7\xff\xf7"]),
            ..FLOODER
        }],
    },
];

/// Appends one of the verbs WILL, WONT, DO and DONT with an option; 1,024 segments have each pair once.
fn option(turn: &Turn, out: &mut Vec<u8>) {
    let [verb, option] = [turn.segment % 4, turn.segment / 4 % 256].map(|number| u8::try_from(number).unwrap_or(0));
    out.extend_from_slice(&[IAC, 0xfb + verb, option]);
}

/// Appends a window size whose numbers contain no IAC.
fn window_size(turn: &Turn, out: &mut Vec<u8>) {
    let [width, height] = [turn.segment % 250, turn.random % 100].map(|number| u8::try_from(number).unwrap_or(0) + 1);
    out.extend_from_slice(&[IAC, 0xfa, 0x1f, 0, width, 0, height, IAC, 0xf0]);
}
