//! The table of chat commands: the word, arguments, summary and parser of each.
//!
//! The help is written from the same table, so it lists exactly the commands that exist.

use super::{ArgumentError, BLANKS, Command};
use crate::text::names::{RoomName, UserName};

/// How many lines `/last` without a number shows: they fit a screen of 24 rows.
const DEFAULT_LAST_LINES: u16 = 20;

/// The specification of a command.
pub(super) struct CommandSpec {
    /// The word after the slash, in lower case.
    pub(super) word: &'static str,
    /// The arguments, as the help shows them; empty for a command without arguments.
    pub(super) arguments: &'static str,
    /// The effect of the command, as the help shows it.
    pub(super) summary: &'static str,
    /// Parses the arguments, given without the blanks around them.
    pub(super) parse: fn(&str) -> Result<Command<'_>, ArgumentError>,
}

/// Every command, in the order of the help.
#[rustfmt::skip]
pub(super) const COMMANDS: [CommandSpec; 12] = [
    CommandSpec { word: "help", arguments: "", summary: "this list", parse: |_| Ok(Command::Help) },
    CommandSpec { word: "who", arguments: "", summary: "list the members of this room", parse: |_| Ok(Command::Who) },
    CommandSpec { word: "rooms", arguments: "", summary: "list the rooms and how many are in each", parse: |_| Ok(Command::Rooms) },
    CommandSpec { word: "join", arguments: "ROOM [NAME]", summary: "leave this room for another one", parse: parse_join },
    CommandSpec { word: "nick", arguments: "NAME", summary: "change your name", parse: |name| parse_user_name(name).map(Command::Nick) },
    CommandSpec { word: "me", arguments: "TEXT", summary: "describe an action: * alice waves", parse: |text| required(text).map(Command::Me) },
    CommandSpec { word: "msg", arguments: "NAME TEXT", summary: "whisper to one member of this room", parse: parse_msg },
    CommandSpec { word: "last", arguments: "[N]", summary: "show the last lines of this room", parse: parse_last },
    CommandSpec { word: "quit", arguments: "[TEXT]", summary: "leave the server, after a last text", parse: parse_quit },
    CommandSpec { word: "ui", arguments: "on|off", summary: "edit lines with the arrow keys (telnet)", parse: |on| parse_switch(on).map(Command::Ui) },
    CommandSpec { word: "time", arguments: "on|off", summary: "the time (UTC) before each line", parse: |on| parse_switch(on).map(Command::Time) },
    CommandSpec { word: "color", arguments: "on|off", summary: "a color for each name", parse: |on| parse_switch(on).map(Command::Color) },
];

/// Appends the help: one reply line per command, and one about the second slash.
pub(crate) fn push_help(out: &mut Vec<u8>) {
    let width = COMMANDS.iter().map(|spec| spec.word.len() + 1 + spec.arguments.len()).max().unwrap_or_default();
    for CommandSpec { word, arguments, summary, .. } in &COMMANDS {
        let usage = format!("{word} {arguments}");
        out.extend_from_slice(format!("*** /{usage:width$}  {summary}\n").as_bytes());
    }
    out.extend_from_slice(b"*** to say a line that looks like a command, write a second /: //who\n");
}

fn parse_join(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let (room, name) = split_first_word(arguments);
    let room = RoomName::parse(required(room)?).map_err(ArgumentError::InvalidRoomName)?;
    let user = if name.is_empty() { None } else { Some(parse_user_name(name)?) };
    Ok(Command::Join { room, user })
}

fn parse_msg(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let (name, text) = split_first_word(arguments);
    Ok(Command::Msg { to: parse_user_name(name)?, text: required(text)? })
}

fn parse_last(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let count = if arguments.is_empty() { Ok(DEFAULT_LAST_LINES) } else { arguments.parse() };
    count.ok().filter(|count| *count > 0).map(Command::Last).ok_or(ArgumentError::InvalidCount)
}

#[expect(clippy::unnecessary_wraps, reason = "the table's parsers have one signature")]
fn parse_quit(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    Ok(Command::Quit(required(arguments).ok()))
}

/// Parses arguments that are exactly one user name.
fn parse_user_name(arguments: &str) -> Result<UserName, ArgumentError> {
    match split_first_word(required(arguments)?) {
        (name, "") => UserName::parse(name).map_err(ArgumentError::InvalidUserName),
        _ => Err(ArgumentError::Excess),
    }
}

/// Parses `on` as true and `off` as false, in any case.
fn parse_switch(arguments: &str) -> Result<bool, ArgumentError> {
    match required(arguments)? {
        on if on.eq_ignore_ascii_case("on") => Ok(true),
        off if off.eq_ignore_ascii_case("off") => Ok(false),
        _ => Err(ArgumentError::InvalidSwitch),
    }
}

/// Returns `arguments`, or [`ArgumentError::Missing`] if they are empty.
fn required(arguments: &str) -> Result<&str, ArgumentError> {
    if arguments.is_empty() { Err(ArgumentError::Missing) } else { Ok(arguments) }
}

/// Splits `arguments` after the first word and drops the blanks between.
fn split_first_word(arguments: &str) -> (&str, &str) {
    let (word, rest) = arguments.split_once(BLANKS).unwrap_or((arguments, ""));
    (word, rest.trim_start_matches(BLANKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::commands::{ParsedLine, parse};

    /// Returns valid arguments for a usage as the help shows it.
    fn example(arguments: &str) -> String {
        let words = [("ROOM", "lobby"), ("NAME", "bob"), ("TEXT", "so long"), ("N", "5"), ("on|off", "on")];
        let example =
            words.iter().fold(arguments.to_owned(), |text, (placeholder, word)| text.replace(placeholder, word));
        assert!(!example.contains(|c: char| c.is_uppercase() || c == '|'), "no example for {arguments}");
        example.replace(['[', ']'], "")
    }

    #[test]
    fn every_usage_in_the_help_is_parsed() {
        for CommandSpec { word, arguments, .. } in &COMMANDS {
            let needed = arguments.split('[').next().unwrap_or_default();
            for arguments in [arguments, needed].map(example) {
                let line = format!("/{word} {arguments}");
                assert!(matches!(parse(&line), Ok(ParsedLine::Command(_))), "{line}");
            }
        }
    }

    #[test]
    fn help_is_aligned_and_fits_a_screen() {
        let mut out = Vec::new();
        push_help(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() < 24);
        assert!(text.lines().all(|line| line.starts_with("*** ") && line.chars().count() <= 80), "{text}");
        let column = |summary: &str| text.lines().find_map(|line| line.find(summary)).unwrap();
        assert!(COMMANDS.iter().all(|spec| column(spec.summary) == column("this list")), "{text}");
        assert!(text.starts_with("*** /help              this list\n"), "{text}");
    }
}
