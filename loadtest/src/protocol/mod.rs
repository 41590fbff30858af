//! Chat protocols: how to join a room, how to send a line, and how to decode the server's bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod irc;
mod line;
mod nats;
mod redis;
mod refusal;

/// The protocols that the generator speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolKind {
    /// Roomcast's own text lines
    #[default]
    Line,
    /// Internet Relay Chat (RFC 1459); a room is a channel
    Irc,
    /// Redis pub/sub over RESP3, in which a subscriber may publish; a room is a channel
    Redis,
    /// NATS core; a room is a subject
    Nats,
}

impl fmt::Display for ProtocolKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Line => "line",
            Self::Irc => "irc",
            Self::Redis => "redis",
            Self::Nats => "nats",
        })
    }
}

impl ProtocolKind {
    /// Returns the implementation of the protocol.
    #[must_use]
    pub fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Line => &line::Line,
            Self::Irc => &irc::Irc,
            Self::Redis => &redis::Redis,
            Self::Nats => &nats::Nats,
        }
    }
}

/// One message of a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A user's line.
    Line {
        /// The sender's name, where the protocol tells it.
        sender: Option<&'a [u8]>,
        /// The line's text.
        text: &'a [u8],
    },
    /// The server accepts the bytes of [`Protocol::encode_join`].
    Ready,
    /// This connection is in its room; used by protocols without join notices.
    Entered,
    /// A member with this name joined.
    Joined(&'a [u8]),
    /// A member with this name left.
    Left(&'a [u8]),
    /// This many lines were skipped for this connection.
    Skipped(u64),
    /// The number of lines of another server that are missing.
    Missing(u64),
    /// The servers that share the room have lost each other, or have found each other again.
    Split,
    /// A ping. The server closes the connection unless [`Protocol::encode_pong`] answers it.
    Ping(&'a [u8]),
    /// A refusal.
    Error(&'a [u8]),
    /// A message that the generator ignores.
    Ignored,
    /// Bytes that are no message of this protocol.
    Unknown(&'a [u8]),
}

/// The part of a chat protocol that generating load needs.
pub trait Protocol: Send + Sync {
    /// Appends the bytes that a client sends when the connection is established.
    fn encode_open(&self, name: &str, room: &str, out: &mut Vec<u8>);

    /// Appends the bytes that a client sends after [`Frame::Ready`] to join a room.
    fn encode_join(&self, name: &str, room: &str, out: &mut Vec<u8>);

    /// Appends a line. All lines of one connection with texts of one length have the same length.
    fn encode_line(&self, room: &str, text: &[u8], out: &mut Vec<u8>);

    /// Appends the answer to a [`Frame::Ping`].
    fn encode_pong(&self, token: &[u8], out: &mut Vec<u8>);

    /// Decodes the first frame. Returns its length and content, or `None` when more bytes are needed.
    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)>;

    /// Returns whether the server sends a sender its own lines.
    fn echoes_to_sender(&self) -> bool {
        true
    }

    /// Returns whether the server announces each join to every member, the new one included.
    fn announces_joins(&self) -> bool;

    /// Returns whether a refusal says that another connection in the room has the client's name.
    fn is_name_taken(&self, _refusal: &str) -> bool {
        false
    }

    /// Returns whether the server sends the first bytes.
    fn server_greets(&self) -> bool;
}

/// Returns the length of the first line, and the line without its LF or CR LF.
fn cut_line(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = &bytes[..end];
    Some((end + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// Asserts that each text is decoded as one frame of its whole length.
#[cfg(test)]
fn assert_decodes(protocol: &dyn Protocol, cases: &[(&str, Frame<'_>)]) {
    for (text, frame) in cases {
        let (length, found) = protocol.decode(text.as_bytes()).unwrap_or_else(|| panic!("no frame in {text:?}"));
        assert_eq!((length, &found), (text.len(), frame), "{text:?}");
    }
}

/// Parses a text that consists of a decimal number.
fn parse_number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
