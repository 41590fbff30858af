//! Attacks on the input line, after `/ui on` and the agreement to ECHO, SGA and NAWS.

use super::super::kind::{Group, Kind, QUIET, Room, Turn, Writes};

/// `/ui on`, DO ECHO, DO SGA, WILL NAWS, and a window of 80 x 24.
const AGREE: &[u8] = b"/ui on\r\n\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0";

/// The cells of the long draft.
const DRAFT_CELLS: usize = 1300;

pub(super) static KINDS: &[Kind] = &[
    Kind {
        name: "keys",
        about: "types keys, arrows and erasures, one a segment",
        leaves_lines: false,
        groups: &[Group {
            sockets: 16,
            room: Room::Shared("z-keys"),
            opening: AGREE,
            writes: Writes::Cycle(&[b"k", b"e", b"y", b"\x1b[D", b"\x7f", b"\x1b[A", b"\x1b[C", b"\x08"]),
            alone: true,
            ..QUIET
        }],
    },
    Kind {
        name: "redraw",
        about: "redraws the row with Ctrl-L, over and over",
        leaves_lines: false,
        groups: &[Group {
            sockets: 16,
            room: Room::Shared("z-redraw"),
            opening: AGREE,
            writes: Writes::Made(|turn, out| match turn.segment {
                0 => out.resize(out.len() + 500, b'd'),
                _ => out.push(0x0c),
            }),
            alone: true,
            ..QUIET
        }],
    },
    Kind {
        name: "draft",
        about: "types 1,300 combining letters, then resizes the window to one cell and back, over and over",
        leaves_lines: false,
        groups: &[Group {
            sockets: 40,
            room: Room::Shared("z-draft"),
            opening: AGREE,
            writes: Writes::Made(draft_and_resize),
            ..QUIET
        }],
    },
    Kind {
        name: "tab",
        about: "completes names with TAB in a room of 200",
        leaves_lines: false,
        groups: &[
            Group {
                sockets: 16,
                room: Room::Shared("z-tab"),
                opening: AGREE,
                writes: Writes::Cycle(&[b"b", b"\t", b"\t", b"\t", b"\x15"]),
                alone: true,
                ..QUIET
            },
            Group { sockets: 184, room: Room::Shared("z-tab"), ..QUIET },
        ],
    },
];

/// Appends a draft of letters with combining accents, and window sizes after it.
fn draft_and_resize(turn: &Turn, out: &mut Vec<u8>) {
    match turn.segment {
        0 => out.extend_from_slice("e\u{301}".repeat(DRAFT_CELLS).as_bytes()),
        number if number % 2 == 1 => out.extend_from_slice(b"\xff\xfa\x1f\x00\x01\x00\x01\xff\xf0"),
        _ => out.extend_from_slice(b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0"),
    }
}
