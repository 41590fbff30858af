//! Attacks by reading slowly or not at all.

use std::time::Duration;

use super::super::kind::{Group, Kind, QUIET, Reads, Room, Turn, Writes};

/// Writes lines of 1,000 bytes every 10 ms.
const TALKER: Group =
    Group { sockets: 4, writes: Writes::Made(kilobyte_line), every: Duration::from_millis(10), ..QUIET };

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "drip",
        about: "writes its lines at one byte a second",
        leaves_lines: false,
        groups: &[Group {
            sockets: 300,
            room: Room::Shared("z-drip"),
            writes: Writes::Cycle(&[b"s", b"l", b"o", b"w", b"\n"]),
            every: Duration::from_secs(1),
            ..QUIET
        }],
    },
    Kind {
        name: "deaf",
        about: "joins a talking room and reads nothing",
        leaves_lines: false,
        groups: &[
            Group { room: Room::Shared("z-deaf"), ..TALKER },
            Group { sockets: 200, room: Room::Shared("z-deaf"), reads: Reads::Nothing, ..QUIET },
        ],
    },
    Kind {
        name: "deaf-flood",
        about: "floods its room and reads nothing",
        leaves_lines: true,
        groups: &[Group {
            sockets: 64,
            room: Room::Shared("z-deaf-flood"),
            writes: Writes::Made(kilobyte_line),
            reads: Reads::Nothing,
            ..QUIET
        }],
    },
    Kind {
        name: "byte-reader",
        about: "joins a talking room and reads one byte a second",
        leaves_lines: false,
        groups: &[
            Group { room: Room::Shared("z-byte"), ..TALKER },
            Group { sockets: 200, room: Room::Shared("z-byte"), reads: Reads::Slowly(1), ..QUIET },
        ],
    },
    Kind {
        name: "big-to-slow",
        about: "floods a room of slow readers with lines of 20,000 bytes",
        leaves_lines: true,
        groups: &[
            Group { room: Room::Shared("z-big"), writes: Writes::Made(super::lines::longest_line), ..QUIET },
            Group { sockets: 64, room: Room::Shared("z-big"), reads: Reads::Slowly(1_300_000), ..QUIET },
            Group { sockets: 64, room: Room::Shared("z-big"), reads: Reads::Slowly(20_000), ..QUIET },
        ],
    },
];

/// Appends a line of 1,000 bytes.
fn kilobyte_line(turn: &Turn, out: &mut Vec<u8>) {
    let number = turn.segment.to_string();
    out.extend_from_slice(number.as_bytes());
    out.resize(out.len() + 1000 - number.len() - 1, b'k');
    out.push(b'\n');
}
