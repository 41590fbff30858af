//! Close reasons: why a connection ends, as the log names it and as the peer is told.

use crate::http::Status;
use crate::metrics::reasons::CloseKind;
use crate::net::codec::CodecError;
use crate::net::codec::websocket::{CloseCode, FrameError};
use crate::protocol::join::JoinError;
use crate::protocol::telnet::MAX_SUBNEGOTIATION;
use crate::room::registry::JoinRefused;
use crate::text::names::{RoomName, UserName};
use crate::text::{messages, replies};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// The one reason for which a connection ended. Shown, it is the log's `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CloseReason {
    /// The peer closed its sending side.
    #[error("end of input")]
    Eof,
    /// A read or a write failed: the peer reset the connection, or the network lost it.
    #[error("connection lost: {0}")]
    Lost(io::ErrorKind),
    /// The first line was no JOIN.
    #[error("bad first line")]
    BadJoin(JoinError),
    /// The JOIN line did not come within this time.
    #[error("login timeout")]
    LoginTimeout(Duration),
    /// All places were taken, and the peer had not joined a room.
    #[error("made way")]
    MadeWay,
    /// Too many TLS handshakes wait for their turn.
    #[error("too many TLS handshakes")]
    TooManyHandshakes,
    /// The peer broke the protocol of its transport, or speaks another one.
    #[error("{0}")]
    Transport(CodecError),
    /// The peer broke the protocol of WebSocket.
    #[error("{0}")]
    WebSocket(FrameError),
    /// The peer's request was answered with this status, and was no WebSocket handshake.
    #[error("HTTP {}", .0.line())]
    Answered(Status),
    /// The room of the JOIN line would be more than this many rooms.
    #[error("too many rooms")]
    TooManyRooms(usize),
    /// The member has sent nothing for the idle timeout.
    #[error("idle")]
    Idle,
    /// Another member of this room has this name.
    #[error("name taken")]
    NameTaken(RoomName, UserName),
    /// A line was longer than this many bytes.
    #[error("line too long")]
    LineTooLong(usize),
    /// A telnet subnegotiation was longer than any option needs.
    #[error("bad telnet")]
    BadTelnet,
    /// The peer sent `/quit`, or pressed Ctrl-D on an empty input line.
    #[error("quit")]
    Quit,
    /// More than this many bytes waited, and slow readers are to be closed.
    #[error("too slow a reader")]
    TooSlow(usize),
    /// The memory of the server is used up, and the peer does not read what waits for it.
    #[error("no memory for a slow reader")]
    NoMemory,
    /// The peer took no byte of its backlog for this time.
    #[error("stalled")]
    Stalled(Duration),
    /// An operator closed the connection.
    #[error("kicked")]
    Kicked,
    /// An operator banned the peer's address.
    #[error("banned")]
    Banned,
    /// A pass of the room panicked, which is a bug.
    #[error("room failed")]
    RoomFailed,
    /// The server is shutting down.
    #[error("shutdown")]
    Shutdown,
}

impl From<JoinRefused> for CloseReason {
    fn from(refused: JoinRefused) -> Self {
        match refused {
            JoinRefused::ShuttingDown => Self::Shutdown,
            JoinRefused::TooManyRooms(max) => Self::TooManyRooms(max),
        }
    }
}

impl CloseReason {
    /// Returns the kind of the reason, by which closed connections are counted.
    pub(crate) fn kind(self) -> CloseKind {
        match self {
            Self::Eof => CloseKind::EndOfInput,
            Self::Lost(_) => CloseKind::ConnectionLost,
            Self::BadJoin(_) => CloseKind::BadFirstLine,
            Self::LoginTimeout(_) => CloseKind::LoginTimeout,
            Self::MadeWay => CloseKind::MadeWay,
            Self::TooManyRooms(_) => CloseKind::TooManyRooms,
            Self::Idle => CloseKind::Idle,
            Self::NameTaken(..) => CloseKind::NameTaken,
            Self::LineTooLong(_) => CloseKind::LineTooLong,
            Self::BadTelnet => CloseKind::BadTelnet,
            Self::Quit => CloseKind::Quit,
            Self::TooSlow(_) => CloseKind::TooSlow,
            Self::NoMemory => CloseKind::NoMemory,
            Self::Stalled(_) => CloseKind::Stalled,
            Self::RoomFailed => CloseKind::RoomFailed,
            Self::TooManyHandshakes => CloseKind::TooManyHandshakes,
            Self::Transport(_) => CloseKind::TlsFailed,
            Self::WebSocket(_) => CloseKind::WebSocketFailed,
            Self::Answered(_) => CloseKind::Answered,
            Self::Kicked => CloseKind::Kicked,
            Self::Banned => CloseKind::Banned,
            Self::Shutdown => CloseKind::Shutdown,
        }
    }

    /// Returns the code with which a WebSocket connection is closed.
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::Shutdown => CloseCode::GoingAway,
            Self::LineTooLong(_) => CloseCode::TooLong,
            Self::WebSocket(error) => error.close_code(),
            Self::MadeWay | Self::TooManyRooms(_) | Self::NoMemory | Self::TooManyHandshakes => {
                CloseCode::TryAgainLater
            }
            Self::RoomFailed => CloseCode::Internal,
            Self::Eof | Self::Quit | Self::Lost(_) | Self::Transport(_) | Self::Answered(_) => CloseCode::Normal,
            Self::BadJoin(_)
            | Self::LoginTimeout(_)
            | Self::Idle
            | Self::NameTaken(..)
            | Self::BadTelnet
            | Self::TooSlow(_)
            | Self::Stalled(_)
            | Self::Kicked
            | Self::Banned => CloseCode::Policy,
        }
    }

    /// Returns the line that follows `ERROR`: the mistake and the way out. `None` for a peer that ended the connection
    /// itself, for an idle member, which gets a notice, for one whose transport takes no line, and at a shutdown for a
    /// member, which its room has told.
    #[must_use]
    pub(crate) fn to_peer(self, joined: bool) -> Option<String> {
        Some(match self {
            Self::Eof
            | Self::Quit
            | Self::Lost(_)
            | Self::Idle
            | Self::TooManyHandshakes
            | Self::Transport(_)
            | Self::WebSocket(_)
            | Self::Answered(_) => return None,
            Self::Shutdown if joined => return None,
            Self::Shutdown => "the server is shutting down: come back later".to_owned(),
            Self::BadJoin(bad) => bad.to_string(),
            Self::LoginTimeout(limit) => format!(
                "no JOIN line came within {}, send it at once: JOIN <ROOMNAME> <USERNAME>",
                replies::format_duration(limit)
            ),
            Self::MadeWay => {
                "server is full, and no JOIN line had come: connect again and send it at once: JOIN <ROOMNAME> \
                              <USERNAME>"
                    .to_owned()
            }
            Self::TooManyRooms(max) => messages::too_many_rooms(max),
            // An operator's request brings its own line.
            Self::Kicked => messages::KICKED.to_owned(),
            Self::Banned => "your address is banned: ask an operator of this server".to_owned(),
            Self::RoomFailed => "the room has failed: connect again".to_owned(),
            Self::NameTaken(room, name) => replies::name_taken_error(&room, &name),
            Self::LineTooLong(max) => format!("the line was longer than {max} bytes: send shorter lines"),
            Self::BadTelnet => {
                format!("a telnet subnegotiation was longer than {MAX_SUBNEGOTIATION} bytes: use another client")
            }
            Self::TooSlow(limit) => {
                format!("more than {limit} bytes waited for you to read them: connect again and read faster")
            }
            Self::NoMemory => {
                "the server has no memory for lines that you have not read: connect again and read faster".to_owned()
            }
            Self::Stalled(limit) => {
                format!("nothing was read for {}: connect again", replies::format_duration(limit))
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
            CloseReason::MadeWay,
            CloseReason::TooManyRooms(3),
            CloseReason::Kicked,
            CloseReason::Banned,
            CloseReason::RoomFailed,
            CloseReason::LineTooLong(20_000),
            CloseReason::BadTelnet,
            CloseReason::TooSlow(1 << 20),
            CloseReason::NoMemory,
            CloseReason::Stalled(Duration::from_secs(60)),
            CloseReason::Shutdown,
        ];
        for reason in reasons {
            let told = reason.to_peer(false).unwrap();
            assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
        }
        assert_eq!(CloseReason::Shutdown.to_peer(true), None, "the room's notice has said it");
    }

    #[test]
    fn close_reason_shows_its_limit_with_a_unit() {
        let minute_and_half = Duration::from_secs(90);
        for (reason, told) in [
            (
                CloseReason::LoginTimeout(Duration::from_secs(30)),
                "no JOIN line came within 30 s, send it at once: JOIN <ROOMNAME> <USERNAME>",
            ),
            (CloseReason::Stalled(minute_and_half), "nothing was read for 1 min 30 s: connect again"),
            (CloseReason::LineTooLong(20_000), "the line was longer than 20000 bytes: send shorter lines"),
            (CloseReason::BadTelnet, "a telnet subnegotiation was longer than 4096 bytes: use another client"),
        ] {
            assert_eq!(reason.to_peer(false).as_deref(), Some(told));
        }
    }
}
