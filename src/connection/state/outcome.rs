//! Outcomes of room events: what the connection has to do after its state has changed.

use crate::text::names::{RoomName, UserName};

/// The consequences of a room's events for the connection.
#[derive(Debug, Default)]
pub(in crate::connection) struct RoomOutcome {
    /// The refusal of a request.
    pub(in crate::connection) refused: Option<Refusal>,
    /// Whether the room admitted the peer.
    pub(in crate::connection) admitted: bool,
    /// Whether the peer has to take another name.
    pub(in crate::connection) name_conflict: bool,
    /// Whether the room's inbox takes lines again.
    pub(in crate::connection) inbox_ready: bool,
    /// Why the connection has to end.
    pub(in crate::connection) end: Option<MembershipEnd>,
}

/// A room's refusal, after which the connection goes on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::connection) enum Refusal {
    /// A member of the other room has the name.
    NameTakenThere(RoomName, UserName),
    /// A member of the same room has the name.
    NameTakenHere(UserName),
    /// A pass of the other room panicked.
    RoomFailed(RoomName),
}

/// Why a room ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connection) enum MembershipEnd {
    /// A member of the room has the name of the JOIN line.
    NameTaken(RoomName, UserName),
    /// The server is shutting down.
    Shutdown,
    /// A pass of the room panicked.
    RoomFailed,
}
