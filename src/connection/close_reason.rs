//! Why a connection ends: the name for the log, and what its user is told.

use crate::protocol::join::JoinError;
use crate::text::names::{RoomName, UserName};
use crate::text::replies;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// The one reason for which a connection ended. Shown, it is the log's `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CloseReason {
    /// The peer has ended its side.
    #[error("end of input")]
    Eof,
    /// The network, or the peer in the middle of things, has ended it.
    #[error("connection lost: {0}")]
    Lost(io::ErrorKind),
    /// The first line was no JOIN.
    #[error("bad first line")]
    BadJoin(JoinError),
    /// The JOIN line did not come in time.
    #[error("login timeout")]
    LoginTimeout(Duration),
    /// Another member of the room has the name.
    #[error("name taken")]
    NameTaken(RoomName, UserName),
    /// A line was longer than this many bytes.
    #[error("line too long")]
    LineTooLong(usize),
    /// A telnet subnegotiation was longer than any option needs.
    #[error("bad telnet")]
    BadTelnet,
    /// The peer has asked for it.
    #[error("quit")]
    Quit,
    /// More than this many bytes waited, and slow readers are to be closed.
    #[error("too slow a reader")]
    TooSlow(usize),
    /// The peer took no byte of its backlog for so long.
    #[error("stalled")]
    Stalled(Duration),
    /// The room's pass has failed, which is a bug.
    #[error("room failed")]
    RoomFailed,
    /// The server ends.
    #[error("shutdown")]
    Shutdown,
}

impl CloseReason {
    /// Returns the line that follows `ERROR`: the mistake and the way out. `None` when it ended
    /// the connection itself, or was told already.
    #[must_use]
    pub(crate) fn to_peer(self, joined: bool) -> Option<String> {
        Some(match self {
            Self::Eof | Self::Quit | Self::Lost(_) => return None,
            Self::Shutdown if joined => return None,
            Self::Shutdown => "the server is shutting down: come back later".to_owned(),
            Self::BadJoin(bad) => bad.to_string(),
            Self::LoginTimeout(limit) => format!(
                "no JOIN line came within {}, send it at once: JOIN <ROOMNAME> <USERNAME>",
                humantime::format_duration(limit)
            ),
            Self::RoomFailed => "the room has failed: connect again".to_owned(),
            Self::NameTaken(room, name) => replies::name_taken_error(&room, &name),
            Self::LineTooLong(max) => format!("the line was longer than {max} bytes: send shorter lines"),
            Self::BadTelnet => "a telnet subnegotiation was longer than 4096 bytes: use another client".to_owned(),
            Self::TooSlow(limit) => {
                format!("more than {limit} bytes waited for you to read them: connect again and read faster")
            }
            Self::Stalled(limit) => {
                format!("nothing was read for {}: connect again", humantime::format_duration(limit))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_close_reason_is_one_line() {
        let reasons = [
            CloseReason::BadJoin(JoinError::WordCount(3)),
            CloseReason::LoginTimeout(Duration::from_secs(30)),
            CloseReason::NameTaken(RoomName::parse("lobby").unwrap(), UserName::parse("alice").unwrap()),
            CloseReason::RoomFailed,
            CloseReason::LineTooLong(20_000),
            CloseReason::BadTelnet,
            CloseReason::TooSlow(1 << 20),
            CloseReason::Stalled(Duration::from_secs(60)),
            CloseReason::Shutdown,
        ];
        for reason in reasons {
            let told = reason.to_peer(false).unwrap();
            assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
        }
        assert_eq!(CloseReason::Shutdown.to_peer(true), None, "the room's notice has said it");
    }
}
