//! The JOIN line: the first line of a connection.

use crate::text::names::{NameError, RoomName, UserName, without_brackets};

/// A request to join a room, from a JOIN line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinRequest {
    /// The room to join.
    pub(crate) room: RoomName,
    /// The name that the user asks for in that room.
    pub(crate) user: UserName,
}

/// The correct form of a JOIN line and an example, with which the text of most errors ends.
const USAGE: &str = "write: JOIN <ROOMNAME> <USERNAME>, for example: JOIN lobby alice";

/// Why a first line is not accepted. The text says what is wrong and what is right, with an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// The input ended before a first line.
    #[error("the connection ended before its first line; {USAGE}")]
    EndOfInput,
    /// The line is blank.
    #[error("the first line was empty; {USAGE}")]
    Empty,
    /// The line is an HTTP request line.
    #[error("this is no web server: connect with telnet or nc; {USAGE}")]
    Http,
    /// The line begins as a TLS handshake.
    #[error("no TLS on this port: connect without TLS, with telnet or nc; {USAGE}")]
    Tls,
    /// The line is an SSH identification string.
    #[error("this is no SSH server: connect with telnet or nc; {USAGE}")]
    Ssh,
    /// The first word is not JOIN.
    #[error("the first line did not start with JOIN; {USAGE}")]
    NotJoin,
    /// Not exactly two words follow JOIN; holds their number.
    #[error("JOIN takes 2 names and got {0}; {USAGE}")]
    WordCount(usize),
    /// A name is enclosed in `<>`, as the welcome shows it; holds the names without the brackets.
    #[error("the brackets of <ROOMNAME> and <USERNAME> are not part of the names; write: JOIN {room} {user}")]
    Brackets {
        /// The room's name, without brackets.
        room: RoomName,
        /// The user's name, without brackets.
        user: UserName,
    },
    /// The second word is not a room name.
    #[error("the room name {0}; {USAGE}")]
    InvalidRoomName(NameError),
    /// The third word is not a user name.
    #[error("the user name {0}; {USAGE}")]
    InvalidUserName(NameError),
}

/// Parses `JOIN <ROOMNAME> <USERNAME>`, given without its line end.
///
/// JOIN may have any case; any white space separates and surrounds the words. One byte order mark before
/// JOIN is ignored, since editors begin UTF-8 files with it (RFC 3629, section 6). The line is not
/// [sanitized](crate::text::sanitize::sanitize): a name without one of its characters is another name,
/// so a control character in a name is an error, and its text shows the character escaped.
///
/// # Errors
/// Any [`JoinError`] but [`JoinError::EndOfInput`], which only the connection can detect.
pub(crate) fn parse_join(line: &[u8]) -> Result<JoinRequest, JoinError> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_start();
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut words = text.split_whitespace();
    let first = words.next().ok_or(JoinError::Empty)?;
    if !first.eq_ignore_ascii_case("JOIN") {
        return Err(identify_other_protocol(text));
    }
    let (Some(room), Some(user), None) = (words.next(), words.next(), words.next()) else {
        return Err(JoinError::WordCount(text.split_whitespace().count() - 1));
    };
    if let Some(error) = find_brackets(room, user) {
        return Err(error);
    }
    Ok(JoinRequest {
        room: RoomName::parse(room).map_err(JoinError::InvalidRoomName)?,
        user: UserName::parse(user).map_err(JoinError::InvalidUserName)?,
    })
}

/// Returns the error that shows both names without brackets, if one has brackets and both are valid without.
fn find_brackets(room: &str, user: &str) -> Option<JoinError> {
    let (bare_room, bare_user) = (without_brackets(room), without_brackets(user));
    if bare_room.is_none() && bare_user.is_none() {
        return None;
    }
    let room = RoomName::parse(bare_room.unwrap_or(room)).ok()?;
    let user = UserName::parse(bare_user.unwrap_or(user)).ok()?;
    Some(JoinError::Brackets { room, user })
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
    fn one_byte_order_mark_before_join_is_ignored() {
        let expected = parse_join(b"JOIN a b");
        for line in ["\u{FEFF}JOIN a b", "\u{FEFF} join a b", " \u{FEFF}JOIN a b"] {
            assert_eq!(parse_join(line.as_bytes()), expected, "{line:?}");
        }
        assert_error("\u{FEFF}", JoinError::Empty);
        assert_error("\u{FEFF}\u{FEFF}JOIN a b", JoinError::NotJoin);
        assert_error("\u{FEFF}SSH-2.0-x", JoinError::Ssh);
    }

    #[test]
    fn names_in_brackets_get_an_error_that_shows_them_without() {
        let shown = |line: &str| parse_join(line.as_bytes()).unwrap_err().to_string();
        let expected = "the brackets of <ROOMNAME> and <USERNAME> are not part of the names; write: JOIN lobby alice";
        for line in ["JOIN <lobby> <alice>", "join <lobby> alice", "JOIN lobby <alice>"] {
            assert_eq!(shown(line), expected, "{line}");
        }
        assert_error(
            "JOIN <***> bob",
            JoinError::Brackets { room: RoomName::parse("***").unwrap(), user: UserName::parse("bob").unwrap() },
        );
        assert_error("JOIN <lobby> <***>", JoinError::InvalidRoomName(NameError::Brackets));
        assert_error("JOIN lobby <***>", JoinError::InvalidUserName(NameError::Brackets));
        assert_error("JOIN <lobby> bob:", JoinError::InvalidRoomName(NameError::Brackets));
        assert_error("JOIN <> <>", JoinError::InvalidRoomName(NameError::Brackets));
    }

    #[test]
    fn each_join_error_ends_with_an_example_of_a_join_line() {
        for error in [
            JoinError::EndOfInput,
            JoinError::Empty,
            JoinError::Http,
            JoinError::Tls,
            JoinError::Ssh,
            JoinError::NotJoin,
            JoinError::WordCount(1),
            JoinError::InvalidRoomName(NameError::Brackets),
            JoinError::InvalidUserName(NameError::LeadingSlash),
        ] {
            let text = error.to_string();
            let (_, example) = text.split_once("; write: JOIN <ROOMNAME> <USERNAME>, for example: ").unwrap();
            assert!(parse_join(example.as_bytes()).is_ok(), "{text}");
        }
        assert_eq!(
            JoinError::NotJoin.to_string(),
            "the first line did not start with JOIN; write: JOIN <ROOMNAME> <USERNAME>, for example: JOIN lobby alice"
        );
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
        for character in
            ['\u{7}', '\u{1B}', '\u{7F}', '\u{9B}', '\u{202E}', '\u{FEFF}', '\u{FFF9}', '\u{FFFD}', '\u{E0041}']
        {
            let error = NameError::Character(character);
            for name in [format!("{character}b"), format!("b{character}"), character.to_string()] {
                assert_error(&format!("JOIN a {name}"), JoinError::InvalidUserName(error));
                assert_error(&format!("JOIN {name} b"), JoinError::InvalidRoomName(error));
            }
            if character != '\u{FEFF}' {
                assert_error(&format!("{character}JOIN a b"), JoinError::NotJoin);
            }
            let shown = JoinError::InvalidUserName(error).to_string();
            assert!(!shown.contains(char::is_control) && shown.contains(&format!("{character:?}")), "{shown:?}");
        }
    }
}
