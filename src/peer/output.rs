//! A peer's output: how it is served, what is added to it, and what came of that.

use crate::peer::route::Route;
use crate::text::time::Minute;
use std::collections::VecDeque;

/// Encodes whole lines, each with its LF, which were all said in one minute, for a peer whose lines passes do not write.
pub(crate) type Encode<'a> = &'a mut dyn FnMut(&[u8], Minute, &mut VecDeque<u8>);

/// Seals bytes for the transport of a peer, as TLS does: appends its own bytes to the second argument. Returns false if the
/// transport takes nothing any more.
pub(crate) type Seal<'a> = &'a mut dyn FnMut(&[u8], &mut Vec<u8>) -> bool;

/// The effects of putting lines into an output buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutOutcome {
    /// Calls of the sink.
    pub(crate) writes: u64,
    /// Lines that went straight to the sink, with no buffer to count them.
    pub(crate) lines: u64,
    /// Whether output waits now that did not wait before.
    pub(crate) blocked: bool,
    /// Whether lines were dropped.
    pub(crate) skipped: bool,
    /// Whether the sink failed just now.
    pub(crate) failed: bool,
}

/// How far a drain came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainStatus {
    /// Nothing waits.
    Empty,
    /// The sink took this many bytes and there are more.
    Progress(usize),
    /// The sink takes nothing now.
    Blocked,
    /// The sink failed just now, and what waited is lost.
    Failed,
}

/// How a peer is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputSettings {
    /// The bound of its backlog, in bytes.
    pub(crate) limit: usize,
    /// How many bytes more its backlog holds while its own task had no turn to write them.
    pub(crate) allowance: usize,
    /// How lines reach it.
    pub(crate) route: Route,
}

/// Output that the peer's own connection adds.
#[derive(Debug)]
pub(crate) enum OutputOp {
    /// Whole lines from the server itself, each with its LF: kept whatever the backlog's bound, since they are
    /// short and few (a welcome, an error).
    Lines(Vec<u8>),
    /// Whole lines that the peer asked for, each with its LF: kept within the backlog's bound, as a room's lines are.
    Reply(Vec<u8>),
    /// Bytes that are no lines, after all output that waits: dropped where they exceed the backlog's bound by 4 KiB, since
    /// a peer can ask for them on and on (telnet's answers).
    Raw(Vec<u8>),
    /// Bytes that are encoded already: they go out before all waiting lines, and are never cut (an echo).
    Encoded(Vec<u8>),
    /// Bytes of the transport itself, such as a TLS handshake's: they go out after the bytes that are sealed already, before
    /// all others.
    Sealed(Vec<u8>),
    /// Drops the lines that wait, counts them and tells them in their place.
    DropLines,
    /// Another route for all lines from here on.
    Route(Route),
}

impl OutputOp {
    /// Returns whether the operation adds lines.
    pub(crate) fn has_lines(&self) -> bool {
        matches!(self, Self::Lines(_) | Self::Reply(_))
    }
}
