//! The description of a kind of bad client: declarative values that one event loop carries out.

use std::time::Duration;

/// A kind of bad clients: one attack on a server.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name that `--kinds` takes.
    pub name: &'static str,
    /// The attack in one line.
    pub about: &'static str,
    /// Whether the server has received lines at the end of the attack that it has to deliver at its rate before their senders
    /// leave.
    pub leaves_lines: bool,
    /// The groups of sockets that carry the attack out together.
    pub groups: &'static [Group],
}

/// Sockets that behave alike.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The number of sockets.
    pub sockets: usize,
    /// The room that each connection joins first.
    pub room: Room,
    /// The bytes that each connection writes once, after its JOIN line.
    pub opening: &'static [u8],
    /// The segments that each connection writes after its opening.
    pub writes: Writes,
    /// The pause between two segments of a connection; zero writes as fast as the socket accepts bytes.
    pub every: Duration,
    /// Whether each segment is one write, so that the server receives it alone. Otherwise one write joins several.
    pub alone: bool,
    /// The speed at which the server's bytes are read.
    pub reads: Reads,
    /// The end of each connection.
    pub ends: End,
}

/// The room of a group's connections.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    /// The group writes no JOIN line of its own accord.
    None,
    /// All connections of the group join this room.
    Shared(&'static str),
    /// Each socket joins a room of its own, whose name begins with this text.
    PerSocket(&'static str),
    /// Each connection joins a new room, whose name begins with this text.
    PerConnection(&'static str),
}

/// The segments that a connection writes.
#[derive(Clone, Copy, Debug)]
pub enum Writes {
    /// No segment.
    Nothing,
    /// The segments in turn, again and again. In each one `{n}` stands for the number of the segment, `{s}` for the
    /// number of the socket and `{c}` for the number of the socket's connection.
    Cycle(&'static [&'static [u8]]),
    /// Segments that a function appends to the given bytes.
    Made(fn(&Turn, &mut Vec<u8>)),
}

/// The speed at which a connection reads. A connection that does not read everything has a small receive buffer, so
/// that unread bytes stay with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Every byte as it arrives.
    All,
    /// No byte.
    Nothing,
    /// At most this many bytes a second.
    Slowly(u32),
}

/// The end of a connection. After it the socket connects again. A connection that the server closes is also replaced.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The connection stays until the attack ends.
    Never,
    /// The connection ends after a number of segments and a pause.
    After {
        /// The segments that it writes.
        segments: u64,
        /// The pause after the last of them.
        hold: Duration,
        /// The way in which it ends.
        how: Ending,
    },
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN in both directions.
    Close,
    /// RST, which discards unread and unsent bytes.
    Reset,
    /// FIN after the last segment; the connection stays open for reading, silent, until the pause is over.
    HalfClose,
}

/// The position of a segment, from which its bytes are made.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The number of the socket in its group.
    pub socket: usize,
    /// The number of the socket's connection, from 0.
    pub connection: u64,
    /// The number of the segment in its connection, from 0.
    pub segment: u64,
    /// A pseudo-random number that follows from the seed and the position.
    pub random: u64,
}

/// A quiet group that the catalog's groups are built from: one socket that joins no room, writes nothing, reads all.
pub(super) const QUIET: Group = Group {
    sockets: 1,
    room: Room::None,
    opening: b"",
    writes: Writes::Nothing,
    every: Duration::ZERO,
    alone: false,
    reads: Reads::All,
    ends: End::Never,
};

impl Kind {
    /// Returns the number of sockets of all groups.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.groups.iter().map(|group| group.sockets).sum()
    }
}
