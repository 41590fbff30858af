//! The table of commands: what each is called, takes and does, and how it is read.
//!
//! The help is made of the same table, so it can't tell of a command that isn't there, nor miss one
//! that is.

use super::{ArgumentError, BLANKS, Command};
use crate::text::names::{RoomName, UserName};

/// How many lines `/last` shows when nobody says how many: they fit a screen of 24 rows.
const LAST: u16 = 20;

/// A command as the table has it.
pub(super) struct Entry {
    /// Its word, in small letters.
    pub(super) word: &'static str,
    /// What it takes, as the help shows it. Empty: it stands alone.
    pub(super) arguments: &'static str,
    /// What it does, as the help says it.
    pub(super) does: &'static str,
    /// Makes a command of what stands behind the word, without the blanks around it.
    pub(super) parse: fn(&str) -> Result<Command<'_>, ArgumentError>,
}

/// Every command, in the order of the help.
#[rustfmt::skip]
pub(super) const TABLE: [Entry; 12] = [
    Entry { word: "help", arguments: "", does: "this list", parse: |_| Ok(Command::Help) },
    Entry { word: "who", arguments: "", does: "who is in this room", parse: |_| Ok(Command::Who) },
    Entry { word: "rooms", arguments: "", does: "the rooms, and how many are in each", parse: |_| Ok(Command::Rooms) },
    Entry { word: "join", arguments: "ROOM [NAME]", does: "leave this room for another one", parse: join },
    Entry { word: "nick", arguments: "NAME", does: "change your name", parse: |name| user(name).map(Command::Nick) },
    Entry { word: "me", arguments: "TEXT", does: "do something: * alice waves", parse: |text| some(text).map(Command::Me) },
    Entry { word: "msg", arguments: "NAME TEXT", does: "whisper to somebody in this room", parse: msg },
    Entry { word: "last", arguments: "[N]", does: "the last lines of this room", parse: last },
    Entry { word: "quit", arguments: "[TEXT]", does: "leave, perhaps with a last word", parse: quit },
    Entry { word: "ui", arguments: "on|off", does: "edit lines with the arrow keys (telnet)", parse: |on| switch(on).map(Command::Ui) },
    Entry { word: "time", arguments: "on|off", does: "the time (UTC) in front of each line", parse: |on| switch(on).map(Command::Time) },
    Entry { word: "color", arguments: "on|off", does: "a color for each name", parse: |on| switch(on).map(Command::Color) },
];

/// Appends what the commands are, a line each, each beginning with `*** `.
pub fn help(out: &mut Vec<u8>) {
    let width = TABLE.iter().map(|entry| entry.word.len() + 1 + entry.arguments.len()).max().unwrap_or_default();
    for Entry { word, arguments, does, .. } in &TABLE {
        let usage = format!("{word} {arguments}");
        out.extend_from_slice(format!("*** /{usage:width$}  {does}\n").as_bytes());
    }
    out.extend_from_slice(b"*** a line that starts like a command is said when it has one / more: //who\n");
}

fn join(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let (room, name) = cut(arguments);
    let room = RoomName::parse(some(room)?).map_err(ArgumentError::Room)?;
    let user = if name.is_empty() { None } else { Some(user(name)?) };
    Ok(Command::Join { room, user })
}

fn msg(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let (name, text) = cut(arguments);
    Ok(Command::Msg { to: user(name)?, text: some(text)? })
}

fn last(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    let count = if arguments.is_empty() { Ok(LAST) } else { arguments.parse() };
    count.ok().filter(|count| *count > 0).map(Command::Last).ok_or(ArgumentError::Number)
}

#[expect(clippy::unnecessary_wraps, reason = "one of the table's parsers")]
fn quit(arguments: &str) -> Result<Command<'_>, ArgumentError> {
    Ok(Command::Quit(some(arguments).ok()))
}

/// The one name that `arguments` are to be.
fn user(arguments: &str) -> Result<UserName, ArgumentError> {
    match cut(some(arguments)?) {
        (name, "") => UserName::parse(name).map_err(ArgumentError::User),
        _ => Err(ArgumentError::TooMuch),
    }
}

fn switch(arguments: &str) -> Result<bool, ArgumentError> {
    match some(arguments)? {
        on if on.eq_ignore_ascii_case("on") => Ok(true),
        off if off.eq_ignore_ascii_case("off") => Ok(false),
        _ => Err(ArgumentError::Switch),
    }
}

/// `arguments`, unless there are none.
fn some(arguments: &str) -> Result<&str, ArgumentError> {
    if arguments.is_empty() { Err(ArgumentError::TooLittle) } else { Ok(arguments) }
}

/// Cuts the first word off.
fn cut(arguments: &str) -> (&str, &str) {
    let (word, rest) = arguments.split_once(BLANKS).unwrap_or((arguments, ""));
    (word, rest.trim_start_matches(BLANKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::commands::{Line, parse};

    /// What somebody might write for `arguments`.
    fn example(arguments: &str) -> String {
        let words = [("ROOM", "lobby"), ("NAME", "bob"), ("TEXT", "so long"), ("N", "5"), ("on|off", "on")];
        let example = words.iter().fold(arguments.to_owned(), |text, (wanted, word)| text.replace(wanted, word));
        assert!(!example.contains(|c: char| c.is_uppercase() || c == '|'), "no example for {arguments}");
        example.replace(['[', ']'], "")
    }

    #[test]
    fn every_usage_of_the_help_is_understood() {
        for Entry { word, arguments, .. } in &TABLE {
            let needed = arguments.split('[').next().unwrap_or_default();
            for arguments in [arguments, needed].map(example) {
                let line = format!("/{word} {arguments}");
                assert!(matches!(parse(&line), Ok(Line::Command(_))), "{line}");
            }
        }
    }

    #[test]
    fn the_help_is_aligned_and_fits_a_screen() {
        let mut out = Vec::new();
        help(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() < 24);
        assert!(text.lines().all(|line| line.starts_with("*** ") && line.chars().count() <= 80), "{text}");
        let column = |does: &str| text.lines().find_map(|line| line.find(does)).unwrap();
        assert!(TABLE.iter().all(|entry| column(entry.does) == column("this list")), "{text}");
        assert!(text.starts_with("*** /help              this list\n"), "{text}");
    }
}
