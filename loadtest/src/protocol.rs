//! What the generator must know of a protocol: how to enter a room, how to say a line, and what arrived.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod irc;
mod line;
mod nats;
mod redis;

/// A protocol's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolKind {
    /// Roomcast's own lines, for telnet and nc.
    #[default]
    Line,
    /// Internet Relay Chat (RFC 1459): a room is a channel.
    Irc,
    /// Redis pub/sub (RESP3, so that a subscriber may publish): a room is a channel.
    Redis,
    /// NATS core: a room is a subject.
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
    /// The protocol itself.
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

/// One thing that a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line said in the room.
    Line {
        /// Who said it, where the protocol tells.
        sender: Option<&'a [u8]>,
        /// What was said.
        text: &'a [u8],
    },
    /// The server is ready for [`Protocol::encode_join`].
    Ready,
    /// This connection is in its room; said where nobody announces newcomers.
    Entered,
    /// Somebody came in.
    Joined(&'a [u8]),
    /// Somebody went.
    Left(&'a [u8]),
    /// So many lines were left out for this connection.
    Skipped(u64),
    /// Must be answered with [`Protocol::encode_pong`], or the server closes.
    Ping(&'a [u8]),
    /// A refusal.
    Error(&'a [u8]),
    /// Of no importance here.
    Ignored,
    /// Nothing that this protocol says.
    Unknown(&'a [u8]),
}

/// A chat protocol, as far as load needs it.
pub trait Protocol: Send + Sync {
    /// Sent as soon as the connection stands.
    fn encode_open(&self, name: &str, room: &str, out: &mut Vec<u8>);

    /// Sent when the server is [`Frame::Ready`].
    fn encode_join(&self, name: &str, room: &str, out: &mut Vec<u8>);

    /// Says a line; of the same length for every line of a connection.
    fn encode_line(&self, room: &str, text: &[u8], out: &mut Vec<u8>);

    /// The answer to a [`Frame::Ping`].
    fn encode_pong(&self, token: &[u8], out: &mut Vec<u8>);

    /// The first whole frame and its length; `None` when more bytes are needed.
    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)>;

    /// Whether a sender is told its own lines.
    fn echoes_to_sender(&self) -> bool {
        true
    }

    /// Whether every member is told of every newcomer, itself included.
    fn announces_joins(&self) -> bool;

    /// Whether the server speaks first.
    fn server_greets(&self) -> bool;
}

/// Cuts the first line off, without its LF or CR LF; with the length it took.
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

/// Reads a decimal number that is the whole text.
fn parse_number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
