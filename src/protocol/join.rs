//! A session: what a user's lines mean. Pure: a line in, what to do about it out.

use crate::text::names::{NameError, RoomName, UserName};
use crate::text::sanitize;
use std::borrow::Cow;

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Nothing was understood yet: the first line has to be a JOIN.
    Greeting,
    /// The JOIN was understood: all that comes is talk, or a [command](crate::protocol::commands).
    Joined,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// To enter a room.
    Join {
        /// Which.
        room: RoomName,
        /// As whom.
        user: UserName,
    },
    /// To say this to everybody in the room, unless it is a [command](crate::protocol::commands).
    Say(Cow<'a, str>),
}

/// Why a first line is not accepted. Each says what was wrong and what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The stream ended before it.
    #[error("the connection ended before its first line; write: JOIN <ROOMNAME> <USERNAME>")]
    Nothing,
    /// It is blank.
    #[error("the first line was empty; write: JOIN <ROOMNAME> <USERNAME>")]
    Empty,
    /// It is a web browser's.
    #[error("this is no web server: it speaks a line protocol, for telnet and nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Http,
    /// It is a TLS client's.
    #[error("no TLS is spoken here: connect without it, with telnet or nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Tls,
    /// It is an SSH client's.
    #[error("this is no SSH server: connect with telnet or nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Ssh,
    /// Its first word is another.
    #[error("the first line did not start with JOIN; write: JOIN <ROOMNAME> <USERNAME>")]
    NotJoin,
    /// Holds how many words follow JOIN.
    #[error("JOIN takes 2 names and got {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    Words(usize),
    /// The second word.
    #[error("the room name {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    Room(NameError),
    /// The third word.
    #[error("the user name {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    User(NameError),
}

impl Session {
    /// Takes one line, without its line end.
    ///
    /// # Errors
    /// [`JoinError`], when the first line is no JOIN: the session is over.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Result<Effect<'a>, JoinError> {
        match self {
            Self::Joined => Ok(Effect::Say(sanitize::sanitize(line))),
            Self::Greeting => {
                let (room, user) = parse_join(&String::from_utf8_lossy(line))?;
                *self = Self::Joined;
                Ok(Effect::Join { room, user })
            }
        }
    }
}

/// Reads `JOIN <ROOMNAME> <USERNAME>`: any case, any white space between and around.
///
/// Nothing was dropped from the line, as it is from talk: a name without one of its characters is
/// another name, so a control character in it is an error. The error shows it escaped.
fn parse_join(text: &str) -> Result<(RoomName, UserName), JoinError> {
    let mut words = text.split_whitespace();
    let first = words.next().ok_or(JoinError::Empty)?;
    if !first.eq_ignore_ascii_case("JOIN") {
        return Err(name_stranger(text));
    }
    let (Some(room), Some(user), None) = (words.next(), words.next(), words.next()) else {
        return Err(JoinError::Words(text.split_whitespace().count() - 1));
    };
    Ok((RoomName::parse(room).map_err(JoinError::Room)?, UserName::parse(user).map_err(JoinError::User)?))
}

/// What else may begin so: people and programs come to the wrong port.
fn name_stranger(text: &str) -> JoinError {
    let is_request = |last: &str| ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"].contains(&last);
    match text {
        _ if text.trim_end().rsplit(' ').next().is_some_and(is_request) => JoinError::Http,
        _ if text.starts_with("SSH-") => JoinError::Ssh,
        _ if text.starts_with("\u{16}\u{3}") => JoinError::Tls,
        _ => JoinError::NotJoin,
    }
}

/// A JOIN line.
pub struct JoinRequest {
    /// The room.
    pub room: RoomName,
    /// The name in it.
    pub user: UserName,
}

/// Reads a JOIN line.
///
/// # Errors
/// [`JoinError`].
pub fn parse_join_line(line: &[u8]) -> Result<JoinRequest, JoinError> {
    let (room, user) = parse_join(&String::from_utf8_lossy(line))?;
    Ok(JoinRequest { room, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(line: &str) -> Result<(String, String), JoinError> {
        match Session::Greeting.line(line.as_bytes())? {
            Effect::Join { room, user } => Ok((room.to_string(), user.to_string())),
            Effect::Say(text) => panic!("{text} was said before the JOIN"),
        }
    }

    #[test]
    fn a_join_in_any_case_and_spacing() {
        for line in ["JOIN a b", "join a b", "  jOiN \t a\t\tb  ", "JOIN a b\r", "JOIN\u{b}a\u{a0}b"] {
            assert_eq!(first(line), Ok(("a".to_owned(), "b".to_owned())), "{line:?}");
        }
    }

    #[test]
    fn anything_else_says_what_was_wrong() {
        assert_eq!(first(""), Err(JoinError::Empty));
        assert_eq!(first(" \t"), Err(JoinError::Empty));
        assert_eq!(first("HELLO a b"), Err(JoinError::NotJoin));
        assert_eq!(first("JOINa b"), Err(JoinError::NotJoin));
        assert_eq!(first("JOIN"), Err(JoinError::Words(0)));
        assert_eq!(first("JOIN a"), Err(JoinError::Words(1)));
        assert_eq!(first("JOIN a b c"), Err(JoinError::Words(3)));
        assert_eq!(first(&format!("JOIN {} b", "a".repeat(21))), Err(JoinError::Room(NameError::Length(21))));
        assert_eq!(first(&format!("JOIN a {}", "b".repeat(21))), Err(JoinError::User(NameError::Length(21))));
        assert!(first(&format!("JOIN {} {}", "a".repeat(20), "b".repeat(20))).is_ok());
    }

    #[test]
    fn strangers_are_told_what_is_spoken_here() {
        assert_eq!(first("GET / HTTP/1.1"), Err(JoinError::Http));
        assert_eq!(first("PRI * HTTP/2.0"), Err(JoinError::Http));
        assert_eq!(first("GET /"), Err(JoinError::NotJoin));
        assert_eq!(first("SSH-2.0-OpenSSH_9.2p1"), Err(JoinError::Ssh));
        assert_eq!(first("\u{16}\u{3}\u{1} rest"), Err(JoinError::Tls));
    }

    #[test]
    fn what_would_be_dropped_from_talk_is_an_error_in_a_name() {
        for character in ['\u{7}', '\u{1B}', '\u{7F}', '\u{9B}', '\u{202E}', '\u{FEFF}', '\u{FFFD}'] {
            let error = NameError::Character(character);
            for name in [format!("{character}b"), format!("b{character}"), character.to_string()] {
                assert_eq!(first(&format!("JOIN a {name}")), Err(JoinError::User(error)), "{name:?}");
                assert_eq!(first(&format!("JOIN {name} b")), Err(JoinError::Room(error)), "{name:?}");
            }
            assert_eq!(first(&format!("{character}JOIN a b")), Err(JoinError::NotJoin), "{character:?}");
            let shown = JoinError::User(error).to_string();
            assert!(!shown.contains(char::is_control) && shown.contains(&format!("{character:?}")), "{shown:?}");
        }
    }

    #[test]
    fn after_the_join_every_line_is_text() {
        let mut session = Session::Greeting;
        session.line(b"JOIN a b").unwrap();
        for line in ["", "JOIN a b", "grüße"] {
            assert_eq!(session.line(line.as_bytes()), Ok(Effect::Say(line.into())));
        }
        assert_eq!(session.line(b"\xFF\x1B[2J"), Ok(Effect::Say("\u{FFFD}[2J".into())), "made safe");
    }
}
