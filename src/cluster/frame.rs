//! Frames: what servers of a cluster send each other.
//!
//! ```text
//! frame = version (1 byte) · head (postcard) · raw lines, end to end, each with its LF
//! ```
//!
//! A receiver drops and counts a frame of another version, a frame that it can't decode, and one that comes on a subject
//! on which its kind does not belong. Missing frames show in the positions of later ones.

use crate::config::ClusterOrder;
use crate::text::names::{NodeName, RoomName, UserName};
use serde::{Deserialize, Serialize};

/// The version of frames. A change of their meaning or form changes it.
const VERSION: u8 = 2;

/// The bit of the version that marks frames of a cluster with one order: servers of the two orders share no rooms.
const TOTAL_ORDER: u8 = 0x80;

/// Returns the version of the frames of a cluster.
pub(super) fn version(order: ClusterOrder) -> u8 {
    match order {
        ClusterOrder::Sender => VERSION,
        ClusterOrder::Total => VERSION | TOTAL_ORDER,
    }
}

/// The most bytes of a frame. NATS refuses more than 1 MiB unless it is configured.
pub(super) const MAX_FRAME: usize = 1 << 20;

/// The most bytes of raw lines in one frame, so that a frame is well below [`MAX_FRAME`] and delays no other room's for
/// long.
pub(super) const MAX_RAW: usize = 256 << 10;

/// The most members in one part of a snapshot: about 300 kB.
pub(super) const MEMBERS_PER_PART: usize = 10_000;

/// The sender of a frame. Of two origins of one node the greater one is the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) node: NodeName,
    /// The start of the process, in milliseconds of Unix time.
    pub(crate) boot: u64,
    /// Counts the times that the process was out of reach: frames of before are stale.
    pub(crate) epoch: u32,
}

/// A place in the changes that one server has published of one room since its first member came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Lines of members before this place.
    pub(crate) lines: u64,
    /// All other changes before this place.
    pub(crate) changes: u64,
}

impl Position {
    /// Returns the number of lines and changes, by which places of one stream are ordered.
    pub(crate) fn total(self) -> u64 {
        self.lines.saturating_add(self.changes)
    }

    /// Returns the place after an item.
    pub(crate) fn after(self, item: &Item) -> Self {
        match item {
            Item::Lines { lines, .. } => Self { lines: self.lines.saturating_add(u64::from(*lines)), ..self },
            _ => Self { changes: self.changes.saturating_add(1), ..self },
        }
    }
}

/// One change in a frame. Names are claimed in a cluster with one order alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// The next `bytes` raw bytes, which are `lines` lines of members.
    Lines { bytes: u32, lines: u32 },
    /// A peer has joined.
    Joined(Member),
    /// A member has left.
    Left(UserName),
    /// A member has another name.
    Renamed(UserName, Member),
    /// The server wants a name for one of its peers: the first one in the log that wants a free name gets it.
    Claimed(UserName),
    /// The server wants the name no more.
    Unclaimed(UserName),
}

/// A member, and the time since which it has its name: of two members of one name the older one keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: UserName,
    /// In milliseconds of Unix time.
    pub(crate) since: u64,
}

/// The room of a frame, and the stream of changes that the frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamId {
    pub(crate) room: RoomName,
    /// Distinguishes the times that the room was open on this server: each stream has a greater number than those before.
    pub(crate) stream: u64,
}

/// The head of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Head {
    /// Changes of a room. `is_shown`: the room of the sender has them, and does not wait for their return from the log.
    Changes { of: StreamId, from: Position, items: Vec<Item>, is_shown: bool },
    /// No change after this place, said when a room is quiet: a receiver that has less has missed something.
    Tail { of: StreamId, at: Position },
    /// The members of a room at a place, and the names that are claimed there. A long list comes in parts, of which the last
    /// one is marked.
    Snapshot { of: StreamId, at: Position, members: Vec<Member>, claims: Vec<UserName>, is_first: bool, is_last: bool },
    /// The room is not open, and its streams up to this one are over.
    Closed { of: StreamId },
    /// Asks for snapshots of a room: of all servers, or of the one on whose subject it comes.
    Hello { room: RoomName },
    /// Asks a server for the last lines of a room that is opened.
    HistoryWanted { room: RoomName },
    /// The last lines of a room, the oldest first, whose texts are the raw lines.
    History { room: RoomName, lines: Vec<HistoryLine> },
    /// The server lives, and this is the number of its last counts.
    Heartbeat { counts: u64 },
    /// The server stops: its members are gone.
    Bye,
    /// The server that is named was taken for dead, and has to begin a new epoch.
    TakenForDead(Origin),
    /// The rooms whose number of members has changed since the counts before, or a part of all rooms.
    Counts { number: u64, part: CountsPart, rooms: Vec<(RoomName, u32)> },
    /// Asks for all counts.
    CountsWanted,
    /// Asks for an answer, whatever it is.
    Ping,
    /// The answer to a ping.
    Pong,
    /// A line from one member to another.
    Whisper { id: u64, room: RoomName, from: UserName, to: UserName },
    /// The outcome of a whisper: the addressee's own spelling, or `None` if it is not there.
    Whispered { id: u64, to: Option<UserName> },
    /// An operator's line for all servers.
    Operator { line: String },
}

/// A line of a room's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryLine {
    /// Minutes of Unix time.
    pub(crate) minute: u32,
    pub(crate) is_notice: bool,
    /// The length of its text.
    pub(crate) bytes: u32,
}

/// Whether counts are changes, or which part of all counts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CountsPart {
    /// The counts that have changed since the number before.
    Changed,
    /// A part of all counts.
    All { is_first: bool, is_last: bool },
}

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) origin: Origin,
    pub(crate) head: Head,
    pub(crate) raw: &'a [u8],
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame has a version that this program does not know.
    #[error("version {0} is unknown")]
    Version(u8),
    /// The frame is empty, too long, or no head stands in it.
    #[error("no head of a frame")]
    Malformed,
}

/// Encodes a frame of a version.
pub(crate) fn encode(version: u8, origin: &Origin, head: &Head, raw: &[u8]) -> Vec<u8> {
    let start = vec![version];
    // Writing into a vector fails only for a type that can't be serialized, and no head is one.
    let mut frame = postcard::to_extend(&(origin, head), start).unwrap_or_default();
    frame.extend_from_slice(raw);
    frame
}

/// Decodes a frame of a version.
///
/// # Errors
/// [`FrameError`]. No input panics, and none makes the decoder allocate much more than its own length.
pub(crate) fn decode(version: u8, bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (found, rest) = bytes.split_first().ok_or(FrameError::Malformed)?;
    if *found != version {
        return Err(FrameError::Version(*found));
    }
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::Malformed);
    }
    let ((origin, head), raw) = postcard::take_from_bytes(rest).map_err(|_| FrameError::Malformed)?;
    Ok(Frame { origin, head, raw })
}

/// Decodes a frame of a cluster of either order, as [`decode`] does.
///
/// # Errors
/// [`FrameError`].
pub(crate) fn decode_of_any_order(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let is_total = bytes.first().is_some_and(|found| found & TOTAL_ORDER != 0);
    decode(version(if is_total { ClusterOrder::Total } else { ClusterOrder::Sender }), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin { node: NodeName::parse("n1").unwrap(), boot: 7, epoch: 2 }
    }

    fn changes() -> Head {
        let of = StreamId { room: RoomName::parse("lobby").unwrap(), stream: 9 };
        let name = |name| UserName::parse(name).unwrap();
        let items = vec![
            Item::Joined(Member { name: name("alice"), since: 5 }),
            Item::Lines { bytes: 10, lines: 1 },
            Item::Renamed(name("alice"), Member { name: name("al"), since: 6 }),
            Item::Left(name("al")),
        ];
        Head::Changes { of, from: Position { lines: 3, changes: 4 }, items, is_shown: false }
    }

    #[test]
    fn frame_is_decoded_as_it_was_encoded() {
        let bytes = encode(VERSION, &origin(), &changes(), b"alice: hi\n");
        let frame = decode(VERSION, &bytes).unwrap();
        assert_eq!((frame.origin, frame.head, frame.raw), (origin(), changes(), &b"alice: hi\n"[..]));
    }

    #[test]
    fn position_counts_lines_and_changes_apart() {
        let Head::Changes { from, items, .. } = changes() else { unreachable!() };
        let to = items.iter().fold(from, Position::after);
        assert_eq!(to, Position { lines: 4, changes: 7 });
    }

    #[test]
    fn frame_of_another_version_is_named() {
        let mut bytes = encode(VERSION, &origin(), &Head::Heartbeat { counts: 1 }, b"");
        bytes[0] = 9;
        assert_eq!(decode(VERSION, &bytes), Err(FrameError::Version(9)));
        assert_eq!(decode(VERSION, &[]), Err(FrameError::Malformed));
    }

    #[test]
    fn frame_beyond_the_bound_is_malformed() {
        let bytes = encode(VERSION, &origin(), &changes(), &vec![b'a'; MAX_FRAME]);
        assert_eq!(decode(VERSION, &bytes), Err(FrameError::Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(VERSION, &bytes);
            let mut known = vec![VERSION];
            known.extend(bytes);
            let _ = decode(VERSION, &known);
        }

        #[test]
        fn cut_or_changed_frame_never_panics(at in 0usize..60, byte in any::<u8>(), cut in 0usize..70) {
            let mut bytes = encode(VERSION, &origin(), &changes(), b"alice: hi\n");
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            bytes.truncate(cut.max(1));
            let _ = decode(VERSION, &bytes);
        }
    }
}
