//! Floods of each chat command, from connections that stay and from connections that come again.

use super::super::kind::{Ending, Group, Kind, QUIET, Reads, Room, Turn, Writes};
use super::connections::ends;

/// Commands that cost a server little, in turn. `/msg` addresses the sender itself or a member that is missing.
const LIGHT: &[&[u8]] = &[
    b"/me waves {n}\r\n",
    b"/time on\r\n",
    b"/time +2\r\n",
    b"/time off\r\n",
    b"/color on\r\n",
    b"/color off\r\n",
    b"/ignore pest{s}\r\n",
    b"/unignore pest{s}\r\n",
    b"/reply a text\r\n",
    b"/msg missing{n} a text\r\n",
    b"/nonsense {n}\r\n",
    b"/?\r\n",
    b"//who {n}\r\n",
    b"/nick\r\n",
    b"/join\r\n",
];

/// Floods a room whose other members say nothing.
const FLOODER: Group = Group { sockets: 16, ..QUIET };

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "who",
        about: "floods /who in a room of 300",
        leaves_lines: false,
        groups: &[
            Group { sockets: 284, room: Room::Shared("z-who"), ..QUIET },
            Group { room: Room::Shared("z-who"), writes: Writes::Cycle(&[b"/who\r\n"]), ..FLOODER },
        ],
    },
    Kind {
        name: "who-again",
        about: "writes 1,900 times /who, then /quit, resets and connects again, in a room of 300",
        leaves_lines: false,
        groups: &[
            Group { sockets: 292, room: Room::Shared("z-who-again"), ..QUIET },
            Group {
                sockets: 8,
                room: Room::Shared("z-who-again"),
                writes: Writes::Made(|turn, out| repeat_then_quit("/who", 1900, turn, out)),
                ends: ends(1901, 20, Ending::Reset),
                ..QUIET
            },
        ],
    },
    Kind {
        name: "rooms",
        about: "floods /rooms beside 300 rooms",
        leaves_lines: false,
        groups: &[
            Group { sockets: 300, room: Room::PerSocket("z-many"), ..QUIET },
            Group { room: Room::Shared("z-rooms"), writes: Writes::Cycle(&[b"/rooms\r\n"]), ..FLOODER },
        ],
    },
    Kind {
        name: "rooms-again",
        about: "writes 95 times /rooms, resets and connects again, beside 300 rooms",
        leaves_lines: false,
        groups: &[
            Group { sockets: 300, room: Room::PerSocket("z-others"), ..QUIET },
            Group {
                room: Room::Shared("z-rooms-again"),
                writes: Writes::Cycle(&[b"/rooms\r\n"]),
                ends: ends(95, 20, Ending::Reset),
                ..FLOODER
            },
        ],
    },
    Kind {
        name: "join",
        about: "moves to and fro between two rooms of 100 with /join",
        leaves_lines: false,
        groups: &[
            Group { sockets: 100, room: Room::Shared("z-join-a"), ..QUIET },
            Group {
                room: Room::Shared("z-join-a"),
                writes: Writes::Cycle(&[b"/join z-join-b\r\n", b"/join z-join-a\r\n"]),
                ..FLOODER
            },
            Group { sockets: 100, room: Room::Shared("z-join-b"), ..QUIET },
        ],
    },
    Kind {
        name: "nick",
        about: "changes its name to and fro in a room of 200 with /nick",
        leaves_lines: false,
        groups: &[
            Group { sockets: 200, room: Room::Shared("z-nick"), ..QUIET },
            Group {
                room: Room::Shared("z-nick"),
                writes: Writes::Cycle(&[b"/nick to{s}\r\n", b"/nick fro{s}\r\n"]),
                ..FLOODER
            },
        ],
    },
    Kind {
        name: "nick-again",
        about: "changes its name 50 times, resets and connects again, in a room of 200",
        leaves_lines: false,
        groups: &[
            Group { sockets: 200, room: Room::Shared("z-nick-again"), ..QUIET },
            Group {
                room: Room::Shared("z-nick-again"),
                writes: Writes::Cycle(&[b"/nick to{s}\r\n", b"/nick fro{s}\r\n"]),
                ends: ends(50, 20, Ending::Reset),
                ..FLOODER
            },
        ],
    },
    Kind {
        name: "msg",
        about: "floods members that read nothing with /msg, and answers whispers with /reply",
        leaves_lines: true,
        groups: &[
            Group { sockets: 64, room: Room::Shared("z-msg"), reads: Reads::Nothing, ..QUIET },
            Group {
                room: Room::Shared("z-msg"),
                writes: Writes::Cycle(&[b"/msg b0x{s}x0 a whisper {n}\r\n", b"/reply an answer\r\n"]),
                ..FLOODER
            },
        ],
    },
    Kind {
        name: "last",
        about: "floods /last 100 in a room with a full history",
        leaves_lines: false,
        groups: &[
            Group {
                sockets: 2,
                room: Room::Shared("z-last"),
                writes: Writes::Made(history_line),
                every: std::time::Duration::from_millis(5),
                ..QUIET
            },
            Group { room: Room::Shared("z-last"), writes: Writes::Cycle(&[b"/last 100\r\n"]), ..FLOODER },
        ],
    },
    Kind {
        name: "last-again",
        about: "writes 100 times /last 100, resets and connects again, and reads nothing",
        leaves_lines: false,
        groups: &[
            Group {
                sockets: 2,
                room: Room::Shared("z-last-again"),
                writes: Writes::Made(history_line),
                every: std::time::Duration::from_millis(5),
                ..QUIET
            },
            Group {
                room: Room::Shared("z-last-again"),
                writes: Writes::Cycle(&[b"/last 100\r\n"]),
                reads: Reads::Nothing,
                ends: ends(100, 20, Ending::Reset),
                ..FLOODER
            },
        ],
    },
    Kind {
        name: "help",
        about: "floods /help",
        leaves_lines: false,
        groups: &[Group { room: Room::Shared("z-help"), writes: Writes::Cycle(&[b"/help\r\n"]), ..FLOODER }],
    },
    Kind {
        name: "help-again",
        about: "writes 100 times /help, resets and connects again",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-help-again"),
            writes: Writes::Cycle(&[b"/help\r\n"]),
            ends: ends(100, 20, Ending::Reset),
            ..FLOODER
        }],
    },
    Kind {
        name: "ui",
        about: "switches the input line on and off, with and without agreement",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-ui"),
            writes: Writes::Cycle(&[
                b"/ui on\r\n",
                b"\xff\xfd\x01\xff\xfd\x03",
                b"/ui off\r\n",
                b"/ui on\r\n/ui off\r\n",
            ]),
            ..FLOODER
        }],
    },
    Kind {
        name: "ignore",
        about: "hides new names by the thousand with /ignore",
        leaves_lines: false,
        groups: &[Group {
            room: Room::Shared("z-ignore"),
            writes: Writes::Cycle(&[b"/ignore n{n}\r\n", b"/ignore n{n}\r\n", b"/ignore\r\n"]),
            ..FLOODER
        }],
    },
    Kind {
        name: "light",
        about: "floods commands that cost little, and unknown ones, in turn",
        leaves_lines: true,
        groups: &[Group { sockets: 32, room: Room::Shared("z-light"), writes: Writes::Cycle(LIGHT), ..QUIET }],
    },
    Kind {
        name: "light-again",
        about: "writes 150 light commands, then /quit, and connects again",
        leaves_lines: false,
        groups: &[Group {
            sockets: 32,
            room: Room::Shared("z-light-again"),
            writes: Writes::Made(|turn, out| match turn.segment {
                150.. => out.extend_from_slice(b"/quit\r\n"),
                number => out.extend_from_slice(LIGHT[usize::try_from(number).unwrap_or(0) % LIGHT.len()]),
            }),
            ends: ends(151, 20, Ending::Close),
            ..QUIET
        }],
    },
];

/// Appends a command, or `/quit` after `count` segments.
fn repeat_then_quit(command: &str, count: u64, turn: &Turn, out: &mut Vec<u8>) {
    out.extend_from_slice(if turn.segment < count { command } else { "/quit" }.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a line of 600 bytes, of which a history of 100 lines holds nearly 64 KiB.
fn history_line(_: &Turn, out: &mut Vec<u8>) {
    out.resize(out.len() + 599, b'h');
    out.push(b'\n');
}
