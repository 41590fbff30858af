//! Chat commands: parses the line of a member as chat or as a command.
//!
//! Parsing and the help live here. The connection runs the commands.

mod arguments;
mod cost;
mod error;
mod help;
mod table;
#[cfg(test)]
mod tests;
mod time_offset;

pub(crate) use cost::{CostScale, cost};
pub(crate) use error::{ArgumentError, CommandError};
pub(crate) use help::push_help;
pub(crate) use table::CommandSpec;

use crate::text::names::{RoomName, UserName};
use std::borrow::Cow;
use unicode_width::UnicodeWidthChar;

/// The line of a member, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParsedLine<'a> {
    /// A chat line with this text. It is owned only when a slash was removed after blanks.
    Chat(Cow<'a, str>),
    /// A command.
    Command(Command<'a>),
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// `/help`: reply with [the help](push_help) of one command, or with the list of all.
    Help(Option<&'static CommandSpec>),
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
    /// `/reply`: whisper this text to the member whose whisper came last.
    Reply(&'a str),
    /// `/last`: reply with this many of the room's last lines, at least 1.
    Last(u16),
    /// `/ignore`: hide the lines of this name; `None` replies with the hidden names.
    Ignore(Option<UserName>),
    /// `/unignore`: show the lines of this name again.
    Unignore(UserName),
    /// `/ids`: number the lines of the room, or stop that.
    Ids(IdsSetting),
    /// `/quit`: close the connection, after this last text if there is one.
    ///
    /// The text is sent as a chat line, `alice: TEXT`, and `alice has left` follows unchanged: programs
    /// compare that line as a whole, and a user's text always comes after `alice: `.
    Quit(Option<&'a str>),
    /// `/ui`: switch the input line on or off; `None` replies with its state.
    Ui(Option<bool>),
    /// `/time`: set the time before each line; `None` replies with its state.
    Time(Option<TimeSetting>),
    /// `/color`: switch the colors of names on or off; `None` replies with their state.
    Color(Option<bool>),
}

/// The argument of `/ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdsSetting {
    /// Reply with the state.
    State,
    /// Number the lines from now on.
    On,
    /// Number them no longer.
    Off,
    /// Show the lines of this numbering after this one, and number those that follow.
    After {
        /// The numbering, as the reply to `/ids on` names it.
        numbering: u32,
        /// The number of the last line that the member has.
        last_id: u64,
    },
}

/// The argument of `/time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeSetting {
    /// Shows the time, in the offset that was set last.
    On,
    /// Hides the time.
    Off,
    /// Shows the time, at this offset from UTC in minutes: -720 to +840, positive to the east.
    Offset(i16),
}

/// Returns whether a line does nothing but show its sender something, or change what its sender is shown: it has no effect
/// after the sender's connection was reset. `/ui` does not count, because it changes how later bytes are read.
pub(crate) fn concerns_sender_alone(parsed: &Result<ParsedLine<'_>, CommandError<'_>>) -> bool {
    match parsed {
        Err(_) => true,
        Ok(ParsedLine::Chat(_)) => false,
        Ok(ParsedLine::Command(command)) => matches!(
            command,
            Command::Help(_)
                | Command::Who
                | Command::Rooms
                | Command::Last(_)
                | Command::Ids(_)
                | Command::Ignore(_)
                | Command::Unignore(_)
                | Command::Time(_)
                | Command::Color(_)
        ),
    }
}

/// Parses the line of a member, given as [sanitized](crate::text::sanitize::sanitize) text.
///
/// A command is, after blanks, a slash, letters (or one `?`), and then a blank or the end of the line, so
/// `/etc/passwd` is chat. A second slash before a command makes it chat and is removed: `//who` says
/// `/who`. No other line loses a slash: `// like this` is chat as it stands. Letters of every alphabet count,
/// so that `/мсг bob secret`, typed with the wrong keyboard layout, is an unknown command and never chat.
///
/// Blanks at the start are all white space of Unicode and all characters without a width: a character that
/// no one sees must not make a whisper public.
///
/// # Errors
/// [`CommandError`], when the line is a command that cannot be run.
pub(crate) fn parse(line: &str) -> Result<ParsedLine<'_>, CommandError<'_>> {
    let visible = line.trim_start_matches(is_invisible);
    let Some(rest) = visible.strip_prefix('/') else {
        return Ok(ParsedLine::Chat(Cow::Borrowed(line)));
    };
    if let Some((word, arguments)) = split_command_word(rest) {
        return parse_command(word, arguments).map(ParsedLine::Command);
    }
    let escaped = rest.strip_prefix('/').and_then(split_command_word).is_some();
    Ok(ParsedLine::Chat(match &line[..line.len() - visible.len()] {
        _ if !escaped => Cow::Borrowed(line),
        "" => Cow::Borrowed(rest),
        blanks => Cow::Owned([blanks, rest].concat()),
    }))
}

/// Returns whether a terminal shows nothing for `character`: white space, joiners, marks of direction.
fn is_invisible(character: char) -> bool {
    character.is_whitespace() || character.width() == Some(0)
}

/// Returns whether `character` continues a command's word: a letter, or a mark that belongs to one, as
/// `/नमस्ते` has.
fn is_word_character(character: char) -> bool {
    character.is_alphabetic() || character.width() == Some(0)
}

/// Splits a command, given without its slash, into its word and its arguments without the blanks around
/// them. Returns `None` if `text` does not begin with a command's word.
fn split_command_word(text: &str) -> Option<(&str, &str)> {
    let letters = text.find(|character| !is_word_character(character)).unwrap_or(text.len());
    let end = if text.starts_with('?') { 1 } else { letters };
    let (word, rest) = text.split_at(end);
    let is_word = word == "?" || word.contains(char::is_alphabetic);
    (is_word && (rest.is_empty() || rest.starts_with(char::is_whitespace))).then(|| (word, rest.trim()))
}

/// Finds the command of `word`, in any case, and parses its `arguments`.
fn parse_command<'a>(word: &'a str, arguments: &'a str) -> Result<Command<'a>, CommandError<'a>> {
    let spec = table::find(word)
        .ok_or_else(|| CommandError::Unknown { word, suggestion: table::find_similar(word).map(|spec| spec.word) })?;
    if spec.arguments.is_empty() && !arguments.is_empty() {
        return Err(CommandError::TakesNoArguments(spec.word));
    }
    (spec.parse)(arguments).map_err(|error| CommandError::InvalidArguments { spec, error })
}
