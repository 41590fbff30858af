//! Attacks on accepting, logging in and closing.

use std::time::Duration;

use super::super::kind::{End, Ending, Group, Kind, QUIET, Reads, Room, Turn, Writes};

const SECOND: Duration = Duration::from_secs(1);
/// A pause that outlasts every attack.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "silent",
        about: "connects and never joins",
        leaves_lines: false,
        groups: &[Group { sockets: 300, ..QUIET }],
    },
    Kind {
        name: "slow-login",
        about: "writes its JOIN line at one byte a second",
        leaves_lines: false,
        groups: &[Group {
            sockets: 300,
            writes: Writes::Cycle(&[b"J", b"O", b"I", b"N", b" ", b"z", b"-", b"s", b"l", b"o", b"w"]),
            every: SECOND,
            ..QUIET
        }],
    },
    Kind {
        name: "storm",
        about: "connects and closes, over and over, without joining",
        leaves_lines: false,
        groups: &[
            Group { sockets: 32, ends: ends(0, 0, Ending::Close), ..QUIET },
            Group { sockets: 32, ends: ends(0, 0, Ending::Reset), ..QUIET },
        ],
    },
    Kind {
        name: "join-again",
        about: "joins a room of 200 and closes, over and over",
        leaves_lines: false,
        groups: &[
            Group { sockets: 200, room: Room::Shared("z-again"), ..QUIET },
            Group { sockets: 16, room: Room::Shared("z-again"), ends: ends(0, 2, Ending::Close), ..QUIET },
        ],
    },
    Kind {
        name: "half-close",
        about: "joins, speaks, shuts its sending side down and neither reads nor closes",
        leaves_lines: false,
        groups: &[Group {
            sockets: 200,
            room: Room::Shared("z-half"),
            writes: Writes::Cycle(&[b"a line\n"]),
            reads: Reads::Nothing,
            ends: End::After { segments: 1, hold: FOREVER, how: Ending::HalfClose },
            ..QUIET
        }],
    },
    Kind {
        name: "reset",
        about: "resets in the middle of a JOIN line, a line, a subnegotiation and a backlog",
        leaves_lines: false,
        groups: &[Group {
            sockets: 64,
            writes: Writes::Made(unfinished),
            reads: Reads::Nothing,
            ends: ends(1, 10, Ending::Reset),
            ..QUIET
        }],
    },
    Kind {
        name: "names",
        about: "takes new names by the thousand, by /nick and by joining",
        leaves_lines: false,
        groups: &[
            Group {
                sockets: 16,
                room: Room::Shared("z-names"),
                writes: Writes::Cycle(&[b"/nick n{s}x{c}x{n}\r\n"]),
                ends: ends(500, 10, Ending::Reset),
                ..QUIET
            },
            Group { sockets: 16, room: Room::Shared("z-names"), ends: ends(0, 2, Ending::Reset), ..QUIET },
        ],
    },
    Kind {
        name: "new-rooms",
        about: "opens rooms by the thousand, by /join and by joining",
        leaves_lines: false,
        groups: &[
            Group {
                sockets: 32,
                room: Room::PerSocket("z-first"),
                writes: Writes::Cycle(&[b"/join z-new{s}x{n}\r\n"]),
                ..QUIET
            },
            Group { sockets: 32, room: Room::PerConnection("z-c"), ends: ends(0, 2, Ending::Close), ..QUIET },
            Group { sockets: 200, room: Room::PerSocket("z-stays"), ..QUIET },
        ],
    },
];

/// Returns the end of a connection after some segments and milliseconds.
pub(super) const fn ends(segments: u64, hold_ms: u64, how: Ending) -> End {
    End::After { segments, hold: Duration::from_millis(hold_ms), how }
}

/// Appends a beginning without its end: of a JOIN line, a line, a subnegotiation or the reading of a backlog.
fn unfinished(turn: &Turn, out: &mut Vec<u8>) {
    let join = format!("JOIN z-reset r{}x{}\r\n", turn.socket, turn.connection);
    match turn.connection % 4 {
        0 => out.extend_from_slice(b"JOIN z-re"),
        1 => out.extend_from_slice((join + "half a li").as_bytes()),
        2 => {
            out.extend_from_slice(join.as_bytes());
            out.extend_from_slice(b"\xff\xfb\x1f\xff\xfa\x1f\x00");
        }
        _ => out.extend_from_slice((join + &"/last 100\r\n".repeat(20)).as_bytes()),
    }
}
