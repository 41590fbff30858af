//! The JOIN line: the first line of a connection.

use crate::text::names::{NameError, RoomName, UserName};

/// A request to join a room, from a JOIN line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinRequest {
    /// The room to join.
    pub(crate) room: RoomName,
    /// The name that the user asks for in that room.
    pub(crate) user: UserName,
}

/// Why a first line is not accepted. The text says what is wrong and how to do it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// The input ended before a first line.
    #[error("the connection ended before its first line; write: JOIN <ROOMNAME> <USERNAME>")]
    EndOfInput,
    /// The line is blank.
    #[error("the first line was empty; write: JOIN <ROOMNAME> <USERNAME>")]
    Empty,
    /// The line is an HTTP request line.
    #[error("this is no web server: connect with telnet or nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Http,
    /// The line begins as a TLS handshake.
    #[error("no TLS on this port: connect without TLS, with telnet or nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Tls,
    /// The line is an SSH identification string.
    #[error("this is no SSH server: connect with telnet or nc; write: JOIN <ROOMNAME> <USERNAME>")]
    Ssh,
    /// The first word is not JOIN.
    #[error("the first line did not start with JOIN; write: JOIN <ROOMNAME> <USERNAME>")]
    NotJoin,
    /// Not exactly two words follow JOIN; holds their number.
    #[error("JOIN takes 2 names and got {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    WordCount(usize),
    /// The second word is not a room name.
    #[error("the room name {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    InvalidRoomName(NameError),
    /// The third word is not a user name.
    #[error("the user name {0}; write: JOIN <ROOMNAME> <USERNAME>")]
    InvalidUserName(NameError),
}

/// Parses `JOIN <ROOMNAME> <USERNAME>`, given without its line end.
///
/// JOIN may have any case; any white space separates and surrounds the words. The line is not
/// [sanitized](crate::text::sanitize::sanitize): a name without one of its characters is another name,
/// so a control character in a name is an error, and its text shows the character escaped.
///
/// # Errors
/// Any [`JoinError`] but [`JoinError::EndOfInput`], which only the connection can detect.
pub(crate) fn parse_join(line: &[u8]) -> Result<JoinRequest, JoinError> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace();
    let first = words.next().ok_or(JoinError::Empty)?;
    if !first.eq_ignore_ascii_case("JOIN") {
        return Err(identify_other_protocol(&text));
    }
    let (Some(room), Some(user), None) = (words.next(), words.next(), words.next()) else {
        return Err(JoinError::WordCount(text.split_whitespace().count() - 1));
    };
    Ok(JoinRequest {
        room: RoomName::parse(room).map_err(JoinError::InvalidRoomName)?,
        user: UserName::parse(user).map_err(JoinError::InvalidUserName)?,
    })
}

/// How a TLS client begins: a handshake record (RFC 8446, section 5.1).
pub(crate) const TLS_HELLO: &[u8] = &[0x16, 3];

/// Returns the error for a line that is not a JOIN line: HTTP, SSH or TLS if the line looks like it.
fn identify_other_protocol(text: &str) -> JoinError {
    let is_http_version = |word: &str| ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"].contains(&word);
    match text {
        _ if text.trim_end().rsplit(' ').next().is_some_and(is_http_version) => JoinError::Http,
        _ if text.starts_with("SSH-") => JoinError::Ssh,
        _ if text.as_bytes().starts_with(TLS_HELLO) => JoinError::Tls,
        _ => JoinError::NotJoin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_error(line: &str, error: JoinError) {
        assert_eq!(parse_join(line.as_bytes()), Err(error), "{line:?}");
    }

    #[test]
    fn join_is_parsed_in_any_case_and_spacing() {
        let expected = JoinRequest { room: RoomName::parse("a").unwrap(), user: UserName::parse("b").unwrap() };
        for line in ["JOIN a b", "join a b", "  jOiN \t a\t\tb  ", "JOIN a b\r", "JOIN\u{b}a\u{a0}b"] {
            assert_eq!(parse_join(line.as_bytes()), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn line_without_join_and_two_valid_names_is_an_error() {
        assert_error("", JoinError::Empty);
        assert_error(" \t", JoinError::Empty);
        assert_error("HELLO a b", JoinError::NotJoin);
        assert_error("JOINa b", JoinError::NotJoin);
        assert_error("JOIN", JoinError::WordCount(0));
        assert_error("JOIN a", JoinError::WordCount(1));
        assert_error("JOIN a b c", JoinError::WordCount(3));
        assert_error(&format!("JOIN {} b", "a".repeat(21)), JoinError::InvalidRoomName(NameError::Length(21)));
        assert_error(&format!("JOIN a {}", "b".repeat(21)), JoinError::InvalidUserName(NameError::Length(21)));
        assert!(parse_join(format!("JOIN {} {}", "a".repeat(20), "b".repeat(20)).as_bytes()).is_ok());
    }

    #[test]
    fn other_protocols_have_errors_of_their_own() {
        assert_error("GET / HTTP/1.1", JoinError::Http);
        assert_error("PRI * HTTP/2.0", JoinError::Http);
        assert_error("GET /", JoinError::NotJoin);
        assert_error("SSH-2.0-OpenSSH_9.2p1", JoinError::Ssh);
        assert_error("\u{16}\u{3}\u{1} rest", JoinError::Tls);
    }

    #[test]
    fn control_character_in_a_name_is_an_error_that_shows_it_escaped() {
        for character in ['\u{7}', '\u{1B}', '\u{7F}', '\u{9B}', '\u{202E}', '\u{FEFF}', '\u{FFFD}'] {
            let error = NameError::Character(character);
            for name in [format!("{character}b"), format!("b{character}"), character.to_string()] {
                assert_error(&format!("JOIN a {name}"), JoinError::InvalidUserName(error));
                assert_error(&format!("JOIN {name} b"), JoinError::InvalidRoomName(error));
            }
            assert_error(&format!("{character}JOIN a b"), JoinError::NotJoin);
            let shown = JoinError::InvalidUserName(error).to_string();
            assert!(!shown.contains(char::is_control) && shown.contains(&format!("{character:?}")), "{shown:?}");
        }
    }
}
