//! Commands: what a member's line asks for, other than to be said.
//!
//! A line of any other kind is talk. What the commands are is in one table.

mod table;

pub use table::push_help;

use crate::text::names::{NameError, RoomName, UserName};
use std::fmt;
use table::COMMANDS;
use thiserror::Error;

/// What separates words.
const BLANKS: [char; 2] = [' ', '\t'];

/// The most that is shown of an unknown command's word, in characters.
const MAX_SHOWN_WORD: usize = 20;

/// What a member's line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedLine<'a> {
    /// To be said to everybody in the room.
    Chat(&'a str),
    /// To be done.
    Command(Command<'a>),
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// To be told the commands: [`push_help`].
    Help,
    /// To be told who is in the room.
    Who,
    /// To be told the rooms and how many are in each.
    Rooms,
    /// To leave this room for another one.
    Join {
        /// Which.
        room: RoomName,
        /// As whom; `None`: under the same name.
        user: Option<UserName>,
    },
    /// To be called this from now on.
    Nick(UserName),
    /// To be seen doing this.
    Me(&'a str),
    /// To say something to one member of the room.
    Msg {
        /// To whom.
        to: UserName,
        /// What.
        text: &'a str,
    },
    /// To be shown so many of the room's last lines.
    Last(u16),
    /// To leave the server, perhaps with a last word.
    ///
    /// The word is to be said as an ordinary line, `alice: TEXT`, and `alice has left` follows it
    /// as it follows every end: programs compare that line whole, and what a user types stays
    /// behind `alice: `, where readers and programs expect it.
    Quit(Option<&'a str>),
    /// To have the line editor, or not.
    Ui(bool),
    /// To have the time in front of each line, or not.
    Time(bool),
    /// To have names in colors, or not.
    Color(bool),
}

/// Why a command is not done. Shown, it is the answer to its sender, without `*** `: one line of
/// what was wrong and what is right. Nobody else is to see anything of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError<'a> {
    /// There is no such command; holds its word.
    #[error("unknown command /{word}: /help lists them; //{word} says it", word = Truncated(.0))]
    Unknown(&'a str),
    /// What stands behind the word is not what it takes.
    #[error("/{word}: {error}; write: /{word} {arguments}")]
    InvalidArguments {
        /// The command's word.
        word: &'static str,
        /// What it takes.
        arguments: &'static str,
        /// What is wrong.
        error: ArgumentError,
    },
    /// Something stands behind a word that stands alone; holds the word.
    #[error("/{0} takes nothing more; write: /{0}")]
    TakesNoArguments(&'static str),
}

/// What is wrong with what stands behind a command's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// Less than it takes.
    #[error("something is missing")]
    Missing,
    /// More than it takes.
    #[error("that is too much")]
    Excess,
    /// No name for a room.
    #[error("the room name {0}")]
    InvalidRoomName(NameError),
    /// No name for a user.
    #[error("the name {0}")]
    InvalidUserName(NameError),
    /// No number of lines.
    #[error("N is a number from 1 to 65535")]
    InvalidCount,
    /// Neither on nor off.
    #[error("it is switched on or off")]
    InvalidSwitch,
}

/// Takes a member's line, as [cleaned](crate::text::sanitize::sanitize) text, for what it is.
///
/// A command starts with a slash, letters, and then a blank or the line's end, so `/etc/passwd` is
/// talk. With one slash more in front it is talk, too, and said with one slash less: `//who` says
/// `/who`. No other line loses a slash: `// like this` is said as it stands. Letters are those of
/// any alphabet, so that `/мсг bob secret` from the wrong keyboard layout doesn't leak either.
///
/// # Errors
/// [`CommandError`], when it is a command that can't be done.
pub fn parse(line: &str) -> Result<ParsedLine<'_>, CommandError<'_>> {
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(ParsedLine::Chat(line));
    };
    if let Some((word, arguments)) = split_command_word(rest) {
        return parse_command(word, arguments).map(ParsedLine::Command);
    }
    let escaped = rest.strip_prefix('/').and_then(split_command_word).is_some();
    Ok(ParsedLine::Chat(if escaped { rest } else { line }))
}

/// Cuts a command's word off; `None` when there is none.
fn split_command_word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !character.is_alphabetic()).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    (end > 0 && (behind.is_empty() || behind.starts_with(BLANKS))).then(|| (word, behind.trim_matches(BLANKS)))
}

/// Looks `word` up, and reads `arguments`, which have no blanks around them.
fn parse_command<'a>(word: &'a str, arguments: &'a str) -> Result<Command<'a>, CommandError<'a>> {
    let spec = COMMANDS.iter().find(|spec| spec.word.eq_ignore_ascii_case(word)).ok_or(CommandError::Unknown(word))?;
    if spec.arguments.is_empty() && !arguments.is_empty() {
        return Err(CommandError::TakesNoArguments(spec.word));
    }
    (spec.parse)(arguments).map_err(|error| CommandError::InvalidArguments {
        word: spec.word,
        arguments: spec.arguments,
        error,
    })
}

/// A word of any length, shown in a bounded one.
struct Truncated<'a>(&'a str);

impl fmt::Display for Truncated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_WORD) {
            Some((end, _)) => write!(f, "{}...", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn parsed(line: &str) -> Command<'_> {
        match parse(line) {
            Ok(ParsedLine::Command(command)) => command,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    fn error_text(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn chat_line_is_kept_as_it_is() {
        for line in ["", "hi", " /who", "/", "/ who", "/etc/passwd", "/who's there", "/1", "/who2 x", "// foo", "//"] {
            assert_eq!(parse(line), Ok(ParsedLine::Chat(line)));
        }
        for line in ["//etc/passwd", "///who", "//1 x", "http://who"] {
            assert_eq!(parse(line), Ok(ParsedLine::Chat(line)));
        }
    }

    #[test]
    fn second_slash_escapes_a_command() {
        for line in ["//who", "//msg bob hi", "//nonsense", "//who\t"] {
            assert_eq!(parse(line), Ok(ParsedLine::Chat(&line[1..])));
        }
    }

    #[test]
    fn commands_are_parsed_in_any_case_and_spacing() {
        for line in ["/who", "/WHO", "/Who ", "/who\t \t"] {
            assert_eq!(parsed(line), Command::Who);
        }
        assert_eq!(parsed("/join  lobby"), Command::Join { room: RoomName::parse("lobby").unwrap(), user: None });
        let other = Command::Join { room: RoomName::parse("lobby").unwrap(), user: Some(name("al")) };
        assert_eq!(parsed("/join\tlobby \t al "), other);
        assert_eq!(parsed("/nick al"), Command::Nick(name("al")));
        assert_eq!(parsed("/me  waves  a lot "), Command::Me("waves  a lot"));
        assert_eq!(parsed("/msg bob\t a  secret"), Command::Msg { to: name("bob"), text: "a  secret" });
        assert_eq!((parsed("/last"), parsed("/last 7")), (Command::Last(20), Command::Last(7)));
        assert_eq!((parsed("/quit"), parsed("/quit  so long")), (Command::Quit(None), Command::Quit(Some("so long"))));
        assert_eq!((parsed("/ui on"), parsed("/UI OFF")), (Command::Ui(true), Command::Ui(false)));
        assert_eq!((parsed("/time on"), parsed("/color off")), (Command::Time(true), Command::Color(false)));
    }

    #[test]
    fn unknown_command_is_an_error_and_never_chat() {
        assert_eq!(error_text("/foo bar"), "unknown command /foo: /help lists them; //foo says it");
        assert_eq!(error_text("/мсг bob secret"), "unknown command /мсг: /help lists them; //мсг says it");
        let long = format!("/{}", "ä".repeat(10_000));
        let shown = format!("{}...", "ä".repeat(MAX_SHOWN_WORD));
        assert_eq!(error_text(&long), format!("unknown command /{shown}: /help lists them; //{shown} says it"));
    }

    #[test]
    fn error_text_names_the_mistake_and_the_usage() {
        for (line, answer) in [
            ("/who is there?", "/who takes nothing more; write: /who"),
            ("/join", "/join: something is missing; write: /join ROOM [NAME]"),
            ("/join a b c", "/join: that is too much; write: /join ROOM [NAME]"),
            (
                "/join grüße",
                "/join: the room name holds 'ü', a name has printable ASCII characters only; write: /join ROOM [NAME]",
            ),
            ("/nick", "/nick: something is missing; write: /nick NAME"),
            ("/nick ***", "/nick: the name has stars only, and those begin the server's own lines; write: /nick NAME"),
            ("/nick al ice", "/nick: that is too much; write: /nick NAME"),
            ("/me ", "/me: something is missing; write: /me TEXT"),
            ("/msg bob", "/msg: something is missing; write: /msg NAME TEXT"),
            ("/last 0", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/last 65536", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/last few", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/ui maybe", "/ui: it is switched on or off; write: /ui on|off"),
            ("/time", "/time: something is missing; write: /time on|off"),
        ] {
            assert_eq!(error_text(line), answer);
        }
    }
}
