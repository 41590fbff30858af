//! The parsers of the commands' arguments.
//!
//! Each takes the arguments without the blanks around them.

use super::time_offset::parse_time_offset;
use super::{ArgumentError, Command, IdsSetting, TimeSetting, table};
use crate::text::names::{RoomName, UserName};

/// How many lines `/last` without a number shows: they fit a screen of 24 rows.
const DEFAULT_LAST_LINES: u16 = 20;

pub(super) fn parse_help(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (topic, rest) = split_first_word(arguments);
    if topic.is_empty() {
        return Ok(Command::Help(None));
    }
    let word = topic.strip_prefix('/').unwrap_or(topic);
    let spec = table::find(word).ok_or(ArgumentError::UnknownTopic(word))?;
    no_more(rest).map(|()| Command::Help(Some(spec)))
}

pub(super) fn parse_join(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (room, name) = split_first_word(arguments);
    let room = RoomName::parse(required("room", room)?).map_err(ArgumentError::InvalidRoomName)?;
    let user = if name.is_empty() { None } else { Some(parse_user_name(name)?) };
    Ok(Command::Join { room, user })
}

pub(super) fn parse_msg(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (name, text) = split_first_word(arguments);
    Ok(Command::Msg { to: parse_user_name(name)?, text: required("text", text)? })
}

pub(super) fn parse_last(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (word, rest) = split_first_word(arguments);
    let count = if word.is_empty() { Ok(DEFAULT_LAST_LINES) } else { word.parse() };
    let count = count.ok().filter(|count| *count > 0).ok_or(ArgumentError::InvalidCount(word))?;
    no_more(rest).map(|()| Command::Last(count))
}

pub(super) fn parse_ignore(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let name = if arguments.is_empty() { None } else { Some(parse_user_name(arguments)?) };
    Ok(Command::Ignore(name))
}

pub(super) fn parse_time(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (word, rest) = split_first_word(arguments);
    let setting = if let Ok(switch) = parse_switch(word) {
        switch.map(|on| if on { TimeSetting::On } else { TimeSetting::Off })
    } else {
        Some(TimeSetting::Offset(parse_time_offset(word).ok_or(ArgumentError::InvalidTime(word))?))
    };
    no_more(rest).map(|()| Command::Time(setting))
}

pub(super) fn parse_ids(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    let (word, rest) = split_first_word(arguments);
    if let Ok(switch) = parse_switch(word) {
        let setting = switch.map_or(IdsSetting::State, |on| if on { IdsSetting::On } else { IdsSetting::Off });
        return no_more(rest).map(|()| Command::Ids(setting));
    }
    let (last, rest) = split_first_word(rest);
    let is_numbering = word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let numbering = u32::from_str_radix(word, 16).ok().filter(|_| is_numbering);
    let last_id = last.strip_prefix('#').unwrap_or(last).parse().ok();
    let (Some(numbering), Some(last_id)) = (numbering, last_id) else {
        return Err(ArgumentError::InvalidIds(if numbering.is_none() { word } else { last }));
    };
    no_more(rest).map(|()| Command::Ids(IdsSetting::After { numbering, last_id }))
}

#[expect(clippy::unnecessary_wraps, reason = "the table's parsers have one signature")]
pub(super) fn parse_quit(arguments: &str) -> Result<Command<'_>, ArgumentError<'_>> {
    Ok(Command::Quit(Some(arguments).filter(|text| !text.is_empty())))
}

/// Parses arguments that are exactly one user name.
pub(super) fn parse_user_name(arguments: &str) -> Result<UserName, ArgumentError<'_>> {
    let (name, rest) = split_first_word(required("name", arguments)?);
    no_more(rest)?;
    UserName::parse(name).map_err(ArgumentError::InvalidUserName)
}

/// Parses `on` as true and `off` as false, in any case, and no argument as `None`.
pub(super) fn parse_switch(arguments: &str) -> Result<Option<bool>, ArgumentError<'_>> {
    let (word, rest) = split_first_word(arguments);
    let switch = match word {
        "" => None,
        on if on.eq_ignore_ascii_case("on") => Some(true),
        off if off.eq_ignore_ascii_case("off") => Some(false),
        _ => return Err(ArgumentError::InvalidSwitch(word)),
    };
    no_more(rest).map(|()| switch)
}

/// Returns `argument`, or [`ArgumentError::Missing`] with its `name` if it is empty.
pub(super) fn required<'a>(name: &'static str, argument: &'a str) -> Result<&'a str, ArgumentError<'a>> {
    if argument.is_empty() { Err(ArgumentError::Missing(name)) } else { Ok(argument) }
}

/// Returns [`ArgumentError::Excess`] if a word follows the last argument.
fn no_more(rest: &str) -> Result<(), ArgumentError<'_>> {
    if rest.is_empty() { Ok(()) } else { Err(ArgumentError::Excess(split_first_word(rest).0)) }
}

/// Splits `arguments` after the first word and drops the blanks between.
fn split_first_word(arguments: &str) -> (&str, &str) {
    let (word, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    (word, rest.trim_start())
}
