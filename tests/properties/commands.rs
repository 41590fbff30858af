//! One line of a peer: the sanitizer, the JOIN line and the chat commands.

use super::assert_safe;
use crate::protocol::commands::{Command, IdsSetting, ParsedLine, TimeSetting, parse};
use crate::protocol::join::{JoinError, JoinRequest, parse_join};
use crate::text::messages::push_chat;
use crate::text::names::{RoomName, UserName};
use crate::text::sanitize::sanitize;
use std::borrow::Cow;

/// The longest error, in bytes: a line of legal length always has capacity for it.
const MAX_ERROR: usize = 512;

/// Checks the sanitizer, the JOIN line and the command for a line without its line end.
pub fn check_commands(line: &[u8]) {
    check_join_line(line);
    let text = sanitize(line);
    check_sanitized(line, &text);
    check_command(&text);
    let name = UserName::parse("alice").expect("the name is valid");
    let mut message = Vec::new();
    push_chat(&mut message, &name, &text);
    assert_eq!(memchr::memchr_iter(b'\n', &message).count(), 1, "a text is one line");
}

/// Checks that the text is safe and that a second sanitizing changes nothing.
fn check_sanitized(line: &[u8], text: &str) {
    assert_safe(text);
    assert_eq!(sanitize(text.as_bytes()), text, "sanitizing twice is sanitizing once");
    // A byte of an invalid sequence may become U+FFFD, of three bytes.
    assert!(text.len() <= 3 * line.len(), "the text is longer than its line");
    if line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        assert_eq!(text.as_bytes(), line, "plain text stays as it is");
    }
}

/// Checks that an accepted JOIN line means its three words, and that an error is one safe line.
fn check_join_line(line: &[u8]) {
    match parse_join(line) {
        Ok(request) => {
            let words = format!("JOIN {} {}", request.room, request.user);
            assert_eq!(parse_join(words.as_bytes()), Ok(request), "{words:?}");
            let typed = String::from_utf8_lossy(line);
            let names: Vec<_> = typed.split_whitespace().rev().take(2).collect();
            assert_eq!(names, [request.user.as_str(), request.room.as_str()], "the names are those that were typed");
            check_names(request);
        }
        Err(error) => {
            if let JoinError::Brackets { room, user } = error {
                check_names(JoinRequest { room, user });
            }
            check_error(&error.to_string());
        }
    }
}

fn check_names(JoinRequest { room, user }: JoinRequest) {
    for name in [room.as_str(), user.as_str()] {
        assert!((1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
    assert_eq!(RoomName::parse(room.as_str()), Ok(room));
    assert!(!user.as_str().starts_with(['/', '*']) && !user.as_str().ends_with(':'), "{user:?}");
}

/// Checks that a command printed in its plain form is the same command, that chat is the typed text, and that an error
/// is one safe line.
fn check_command(text: &str) {
    match parse(text) {
        Ok(ParsedLine::Chat(chat)) if chat == text => {
            assert!(matches!(chat, Cow::Borrowed(_)), "text that is said as typed is not copied");
        }
        Ok(ParsedLine::Chat(chat)) => {
            assert_eq!(chat.len() + 1, text.len(), "one slash is removed");
            assert_eq!(text.replacen('/', "", 1), chat, "the first slash is removed");
            assert!(!matches!(parse(&chat), Ok(ParsedLine::Chat(_))), "two slashes stand before a command only");
        }
        Ok(ParsedLine::Command(command)) => {
            if let Some(printed) = print(&command) {
                assert_eq!(parse(&printed), Ok(ParsedLine::Command(command)), "{printed:?}");
            }
        }
        Err(error) => check_error(&error.to_string()),
    }
}

fn check_error(error: &str) {
    assert_safe(error);
    assert!(error.len() <= MAX_ERROR, "an error of {} bytes: {error:?}", error.len());
}

/// Returns a line that means `command`; `None` for the help of one command, which has no public name.
fn print(command: &Command<'_>) -> Option<String> {
    let switch = |word: &str, on: &Option<bool>| match on {
        None => format!("/{word}"),
        Some(on) => format!("/{word} {}", if *on { "on" } else { "off" }),
    };
    Some(match command {
        Command::Help(Some(_)) => return None,
        Command::Help(None) => "/help".to_owned(),
        Command::Who => "/who".to_owned(),
        Command::Rooms => "/rooms".to_owned(),
        Command::Join { room, user: None } => format!("/join {room}"),
        Command::Join { room, user: Some(user) } => format!("/join {room} {user}"),
        Command::Nick(name) => format!("/nick {name}"),
        Command::Me(text) => format!("/me {text}"),
        Command::Msg { to, text } => format!("/msg {to} {text}"),
        Command::Reply(text) => format!("/reply {text}"),
        Command::Last(count) => format!("/last {count}"),
        Command::Ignore(None) => "/ignore".to_owned(),
        Command::Ignore(Some(name)) => format!("/ignore {name}"),
        Command::Unignore(name) => format!("/unignore {name}"),
        Command::Quit(text) => format!("/quit {}", text.unwrap_or_default()),
        Command::Ui(on) => switch("ui", on),
        Command::Color(on) => switch("color", on),
        Command::Ids(IdsSetting::State) => "/ids".to_owned(),
        Command::Ids(IdsSetting::On) => "/ids on".to_owned(),
        Command::Ids(IdsSetting::Off) => "/ids off".to_owned(),
        Command::Ids(IdsSetting::After { numbering, last_id }) => format!("/ids {numbering:08x} {last_id}"),
        Command::Time(None) => "/time".to_owned(),
        Command::Time(Some(TimeSetting::On)) => "/time on".to_owned(),
        Command::Time(Some(TimeSetting::Off)) => "/time off".to_owned(),
        Command::Time(Some(TimeSetting::Offset(minutes))) => {
            let sign = if *minutes < 0 { '-' } else { '+' };
            format!("/time {sign}{}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        }
    })
}
