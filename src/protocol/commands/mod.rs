//! Chat commands: parses the line of a member as chat or as a command.
//!
//! Parsing and the help live here. The connection runs the commands.

mod table;

pub(crate) use table::push_help;

use crate::text::names::{NameError, RoomName, UserName};
use std::fmt;
use table::COMMANDS;
use thiserror::Error;

/// The characters that separate words.
const BLANKS: [char; 2] = [' ', '\t'];

/// How many characters of an unknown command's word an error shows.
const MAX_SHOWN_WORD: usize = 20;

/// The line of a member, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParsedLine<'a> {
    /// A chat line with this text.
    Chat(&'a str),
    /// A command.
    Command(Command<'a>),
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// `/help`: reply with [the commands](push_help).
    Help,
    /// `/who`: reply with the members of the room.
    Who,
    /// `/rooms`: reply with the rooms and their numbers of members.
    Rooms,
    /// `/join`: move to another room.
    Join {
        /// The room to join.
        room: RoomName,
        /// The name to take there; `None` keeps the current name.
        user: Option<UserName>,
    },
    /// `/nick`: change the member's name to this one.
    Nick(UserName),
    /// `/me`: send this text as an action.
    Me(&'a str),
    /// `/msg`: whisper to one member of the room.
    Msg {
        /// The name of the addressee.
        to: UserName,
        /// The text of the whisper.
        text: &'a str,
    },
    /// `/last`: reply with this many of the room's last lines, at least 1.
    Last(u16),
    /// `/quit`: close the connection, after this last text if there is one.
    ///
    /// The text is sent as a chat line, `alice: TEXT`, and `alice has left` follows unchanged: programs
    /// compare that line as a whole, and a user's text always comes after `alice: `.
    Quit(Option<&'a str>),
    /// `/ui`: switch the line editor on or off.
    Ui(bool),
    /// `/time`: switch the time before each line on or off.
    Time(bool),
    /// `/color`: switch the colors of names on or off.
    Color(bool),
}

/// Why a command cannot be run.
///
/// The text is the reply to the sender, without `*** `: one line that says what is wrong and how to do it
/// right. No other member may see any part of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CommandError<'a> {
    /// No command has this word.
    #[error("unknown command /{word}: /help lists them; //{word} says it", word = Truncated(.0))]
    Unknown(&'a str),
    /// The arguments do not fit the command.
    #[error("/{word}: {error}; write: /{word} {arguments}")]
    InvalidArguments {
        /// The command's word.
        word: &'static str,
        /// The arguments that the command takes, as the help shows them.
        arguments: &'static str,
        /// The mistake in the arguments.
        error: ArgumentError,
    },
    /// The command with this word takes no arguments, and the line has some.
    #[error("/{0} takes no arguments; write: /{0}")]
    TakesNoArguments(&'static str),
}

/// A mistake in the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ArgumentError {
    /// A required argument is missing.
    #[error("an argument is missing")]
    Missing,
    /// The line has more arguments than the command takes.
    #[error("too many arguments")]
    Excess,
    /// An argument is not a room name.
    #[error("the room name {0}")]
    InvalidRoomName(NameError),
    /// An argument is not a user name.
    #[error("the name {0}")]
    InvalidUserName(NameError),
    /// An argument is not a number of lines.
    #[error("N is a number from 1 to 65535")]
    InvalidCount,
    /// An argument is neither `on` nor `off`.
    #[error("the argument must be on or off")]
    InvalidSwitch,
}

/// Parses the line of a member, given as [sanitized](crate::text::sanitize::sanitize) text.
///
/// A command is a slash, letters, and then a blank or the end of the line, so `/etc/passwd` is chat. A
/// second slash before a command makes it chat and is removed: `//who` says `/who`. No other line loses a
/// slash: `// like this` is chat as it stands. Letters of every alphabet count, so that `/мсг bob secret`,
/// typed with the wrong keyboard layout, is an unknown command and never chat.
///
/// # Errors
/// [`CommandError`], when the line is a command that cannot be run.
pub(crate) fn parse(line: &str) -> Result<ParsedLine<'_>, CommandError<'_>> {
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(ParsedLine::Chat(line));
    };
    if let Some((word, arguments)) = split_command_word(rest) {
        return parse_command(word, arguments).map(ParsedLine::Command);
    }
    let escaped = rest.strip_prefix('/').and_then(split_command_word).is_some();
    Ok(ParsedLine::Chat(if escaped { rest } else { line }))
}

/// Splits a command, given without its slash, into its word and its arguments without the blanks around
/// them. Returns `None` if `text` does not begin with a command's word.
fn split_command_word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !character.is_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (end > 0 && (rest.is_empty() || rest.starts_with(BLANKS))).then(|| (word, rest.trim_matches(BLANKS)))
}

/// Finds the command of `word`, in any case, and parses its `arguments`.
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

/// Displays at most [`MAX_SHOWN_WORD`] characters of a word.
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
        for (line, expected) in [
            ("/who is there?", "/who takes no arguments; write: /who"),
            ("/join", "/join: an argument is missing; write: /join ROOM [NAME]"),
            ("/join a b c", "/join: too many arguments; write: /join ROOM [NAME]"),
            (
                "/join grüße",
                "/join: the room name holds 'ü', a name has printable ASCII characters only; write: /join ROOM [NAME]",
            ),
            ("/nick", "/nick: an argument is missing; write: /nick NAME"),
            (
                "/nick ***",
                "/nick: the name begins with *, as lines of the server do: leave the star out; write: /nick NAME",
            ),
            ("/nick al ice", "/nick: too many arguments; write: /nick NAME"),
            ("/me ", "/me: an argument is missing; write: /me TEXT"),
            ("/msg bob", "/msg: an argument is missing; write: /msg NAME TEXT"),
            ("/last 0", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/last 65536", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/last few", "/last: N is a number from 1 to 65535; write: /last [N]"),
            ("/ui maybe", "/ui: the argument must be on or off; write: /ui on|off"),
            ("/time", "/time: an argument is missing; write: /time on|off"),
        ] {
            assert_eq!(error_text(line), expected);
        }
    }
}
