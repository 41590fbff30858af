//! Replies: the lines that the server writes to one peer. Each begins with `*** `.
//!
//! A line of a room's history is recalled with `*** ` before it, as `*** alice: hi`, `*** * alice waves` or
//! `*** alice has left`. Therefore no reply has one of these forms: its first word is no possible user name
//! with a colon, and `has` or `is now known as` is not what follows its first word. A word that begins with
//! `/` is no possible user name, so `*** /msg: the text is missing` is a reply.
//!
//! Each `push_…` function appends whole lines with their LF to a buffer.

use super::messages::{push_line, push_line_number};
use crate::text::names::{MAX_NAME_LENGTH, NodeName, RoomName, UserName};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Display;
use std::time::Duration;

/// The most names or rooms that one reply lists, so that a reply has about 1 KiB at most.
pub(crate) const MAX_LISTED: usize = 50;

/// The most names that the hint after a join lists.
const MAX_GREETED: usize = 20;

/// The reply to telnet's "are you there" (AYT; RFC 854, page 13).
pub(crate) const ARE_YOU_THERE_REPLY: &str = "*** yes, roomcast is here\n";

/// The reply to the first telnet interrupt (IP, a Ctrl-C; RFC 854, page 13) of a connection.
pub(crate) const LINE_DROPPED: &str = "*** the line was dropped; /quit leaves\n";

/// The same before the JOIN line, after which alone `/quit` is a command.
pub(crate) const LINE_DROPPED_BEFORE_JOIN: &str = "*** the line was dropped; to join write: JOIN <ROOMNAME> <USERNAME>, to leave close the connection \
     (telnet: Ctrl-] then quit)\n";

/// The same where the server takes every line as chat.
pub(crate) const LINE_DROPPED_WITHOUT_COMMANDS: &str =
    "*** the line was dropped; to leave close the connection (telnet: Ctrl-] then quit)\n";

/// The reply to a telnet interrupt that arrives right after the first bytes of a UTF-8 character: a client
/// that is not in BINARY took a byte of the character for its Ctrl-C (RFC 856).
pub(crate) const LINE_LOST_TO_INTERRUPT: &str = "*** that line was lost: your telnet took a letter for Ctrl-C; \
     it sends whole letters from now on, so type the line again\n";

/// The reply to `/last` in a room without history.
pub(crate) const NO_HISTORY: &str = "*** there are no earlier lines of this room\n";

/// The reply to `/ids` of a member that gets no numbers.
pub(crate) const IDS_OFF: &str = "*** ids is off: /ids on numbers what is said in this room\n";

/// The reply to `/ids` where the settings keep no line.
pub(crate) const NO_IDS: &str = "*** ids is off: this server keeps no history, so it numbers no line\n";

/// The reply to `/reply` of a member to which no member has whispered.
pub(crate) const NO_WHISPER: &str = "*** no member has whispered to you in this room yet; write: /msg NAME TEXT\n";

/// Appends `text`, which holds no line end, as a reply: an
/// [error of a command](crate::protocol::commands::CommandError), for example.
pub(crate) fn push_reply(out: &mut Vec<u8>, text: &impl Display) {
    push_line(out, &["*** ", &text.to_string()]);
}

/// Appends the reply to `/who`: `*** 2 in lobby: alice, bob`, sorted by name.
///
/// `total` is the number of members. The function takes the first [`MAX_LISTED`] of `names` and sorts only
/// those, so a room of 10,000 members costs no more than one of 50.
pub(crate) fn push_who<'a>(
    out: &mut Vec<u8>,
    room: &RoomName,
    total: usize,
    names: impl Iterator<Item = &'a UserName>,
) {
    let names = join_sorted(names.take(MAX_LISTED), total);
    push_line(out, &["*** ", &total.to_string(), " in ", room.as_str(), ": ", &names]);
}

/// Appends the reply to `/rooms` for a member of `own`: `*** 2 rooms: lobby (10), dev (2); you are in lobby`, the
/// rooms with most members first.
///
/// `rooms` yields every room with its number of members. The function holds and lists at most
/// [`MAX_LISTED`] of them.
pub(crate) fn push_rooms(out: &mut Vec<u8>, own: &RoomName, rooms: impl Iterator<Item = (RoomName, usize)>) {
    let (mut total, mut largest) = (0, BinaryHeap::with_capacity(MAX_LISTED));
    for (name, members) in rooms {
        total += 1;
        let room = (Reverse(members), name);
        // The heap's top is the smallest room; among equal rooms, the last by name. Most rooms are smaller than it.
        if largest.len() < MAX_LISTED {
            largest.push(room);
        } else if let Some(mut smallest) = largest.peek_mut().filter(|smallest| room < **smallest) {
            *smallest = room;
        }
    }
    let format_room = |(Reverse(members), name): (Reverse<usize>, RoomName)| format!("{name} ({members})");
    let listed: Vec<String> = largest.into_sorted_vec().into_iter().map(format_room).collect();
    let noun = if total == 1 { " room: " } else { " rooms: " };
    let (rooms, remainder) = (listed.join(", "), format_remainder(total, listed.len()));
    push_line(out, &["*** ", &total.to_string(), noun, &rooms, &remainder, "; you are in ", own.as_str()]);
}

/// Appends `*** from whispers: text`, which the addressee of a `/msg` sees.
pub(crate) fn push_whisper_received(out: &mut Vec<u8>, from: &UserName, text: &str) {
    push_line(out, &["*** ", from.as_str(), " whispers: ", text]);
}

/// Appends `*** you whisper to NAME: text`, which the sender of a `/msg` sees.
pub(crate) fn push_whisper_sent(out: &mut Vec<u8>, to: &UserName, text: &str) {
    push_line(out, &["*** you whisper to ", to.as_str(), ": ", text]);
}

/// Appends the reply to a `/msg` to `name` when no member of the room has that name.
pub(crate) fn push_no_such_member(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** no member here is called ", name.as_str(), ": /who lists the members"]);
}

/// Appends the reply to a `/msg` to `name` when `count` members of the room have that name.
pub(crate) fn push_several_members(out: &mut Vec<u8>, count: usize, name: &UserName) {
    push_line(out, &["*** ", &count.to_string(), " members here are called ", name.as_str(), ": nothing was sent"]);
}

/// Appends the reply to a `/reply` when the member that whispered as `name` has left and another member has that name.
pub(crate) fn push_whisperer_left(out: &mut Vec<u8>, name: &UserName) {
    let name = name.as_str();
    push_line(
        out,
        &["*** ", name, ", the member that whispered to you, has left: another member is called ", name, " now"],
    );
}

/// Appends the reply to a `/nick` to the name that the member has.
pub(crate) fn push_name_kept(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** you are called ", name.as_str(), " already"]);
}

/// Appends that a member is called `free` from now on, since an older member of another server has its `name`.
pub(crate) fn push_name_given_up(out: &mut Vec<u8>, name: &UserName, free: &UserName) {
    let (name, free) = (name.as_str(), free.as_str());
    push_line(
        out,
        &[
            "*** the name ",
            name,
            " belongs to a member on another server: you are called ",
            free,
            " now; write: /nick NAME",
        ],
    );
}

/// Appends the line of a whisper whose addressee's server does not answer.
pub(crate) fn push_whisper_unanswered(out: &mut Vec<u8>, to: &UserName, node: &NodeName) {
    let (to, node) = (to.as_str(), node.as_str());
    push_line(out, &["*** no answer from node ", node, ": ", to, " may not have got that; /who lists the members"]);
}

/// Appends the reply to a `/join` into `room` as `name` when a member of `room` has that name.
pub(crate) fn push_name_taken_in(out: &mut Vec<u8>, room: &RoomName, name: &UserName) {
    let example = format!("/join {room} {}", similar_name(name));
    push_name_taken_line(out, room, name, ["you stay here; write: /join ", room.as_str(), " NAME"], &example);
}

/// Appends the reply to a `/nick` when another member of the sender's `room` has `name`.
pub(crate) fn push_name_taken(out: &mut Vec<u8>, room: &RoomName, name: &UserName) {
    let example = format!("/nick {}", similar_name(name));
    push_name_taken_line(out, room, name, ["you keep your name", "; write: /nick NAME", ""], &example);
}

/// Returns the reason that follows `ERROR` when a JOIN line asks for a name that a member of `room` has.
#[must_use]
pub(crate) fn name_taken_error(room: &RoomName, name: &UserName) -> String {
    let other = similar_name(name);
    format!("the name {name} is taken in {room}: connect again and choose another, for example: JOIN {room} {other}")
}

/// Appends the reply to a `/join` into the room that the peer is in, under another name if one is given.
pub(crate) fn push_already_here(out: &mut Vec<u8>, room: &RoomName, name: Option<&UserName>) {
    let hint = name.map(|name| format!("; to change your name write: /nick {name}")).unwrap_or_default();
    push_line(out, &["*** you are in ", room.as_str(), " already", &hint]);
}

/// Appends the hint for people after a join: `*** you are in lobby: alice, bob. /help lists the commands,
/// /quit leaves`.
///
/// `total` is the number of members. The function takes at most 20 of `names` and sorts those.
pub(crate) fn push_join_hint<'a>(
    out: &mut Vec<u8>,
    room: &RoomName,
    total: usize,
    names: impl Iterator<Item = &'a UserName>,
) {
    let names = join_sorted(names.take(MAX_GREETED), total);
    push_line(out, &["*** you are in ", room.as_str(), ": ", &names, ". /help lists the commands, /quit leaves"]);
}

/// Appends that `setting`, such as `ui`, is on or off.
pub(crate) fn push_switched(out: &mut Vec<u8>, setting: &str, on: bool) {
    push_line(out, &["*** ", setting, if on { " is on" } else { " is off" }]);
}

/// Appends the state of the time before each line; `offset` is in minutes east of UTC, `None` when off.
pub(crate) fn push_time_state(out: &mut Vec<u8>, offset: Option<i16>) {
    match offset {
        Some(offset) => push_line(out, &["*** time is on, shown in ", &format_offset(offset)]),
        None => push_switched(out, "time", false),
    }
}

/// Appends the reply to an `/ignore` of `name`.
pub(crate) fn push_ignored(out: &mut Vec<u8>, name: &UserName) {
    let name = name.as_str();
    push_line(out, &["*** lines of ", name, " are hidden from now on: /unignore ", name, " shows them"]);
}

/// Appends the reply to an `/unignore` of a hidden `name`.
pub(crate) fn push_unignored(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** lines of ", name.as_str(), " are shown from now on"]);
}

/// Appends the reply to an `/unignore` of a `name` that is not hidden.
pub(crate) fn push_not_ignored(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** lines of ", name.as_str(), " were not hidden: /ignore lists the hidden names"]);
}

/// Appends the reply to `/ignore` alone: the hidden `names`, sorted, at most [`MAX_LISTED`] of them.
pub(crate) fn push_ignored_names(out: &mut Vec<u8>, names: &[UserName]) {
    if names.is_empty() {
        return push_line(out, &["*** no lines are hidden; write: /ignore NAME, for example: /ignore bob"]);
    }
    let (count, listed) =
        (format_count(names.len() as u64, "name"), join_sorted(names.iter().take(MAX_LISTED), names.len()));
    push_line(out, &["*** lines of ", &count, " are hidden: ", &listed]);
}

/// Appends the reply to a line of a muted peer; `left` is the rest of the mute, `None` for one without an end.
pub(crate) fn push_muted(out: &mut Vec<u8>, left: Option<Duration>) {
    let left = left.map(|left| format!(" for {} more", format_duration(round_up(left)))).unwrap_or_default();
    push_line(out, &["*** you are muted", &left, ": no member sees this line"]);
}

/// Returns a duration in whole seconds, at least one.
fn round_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(Duration::from_secs(1))
}

/// Why the input line is off although it was asked for. The text is a reply, without `*** `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputLineRefusal {
    /// The client agreed to neither ECHO nor SGA within this time.
    #[error(
        "ui is off: this client did not agree to it within {}; use telnet, or PuTTY in telnet mode",
        format_duration(*.0)
    )]
    NoAnswer(Duration),
    /// The client refused ECHO or SGA.
    #[error("ui is off: the client refused it; use telnet, or PuTTY in telnet mode")]
    Refused,
    /// The client's terminal cannot move its cursor: its type (TTYPE) is `dumb`.
    #[error("ui is off: the terminal type is dumb; set TERM, for example: TERM=vt100 telnet HOST PORT")]
    DumbTerminal,
}

/// Appends a line of the room's history, given without its LF. The `*** ` before it distinguishes the
/// old line from a new one.
pub(crate) fn push_recalled(out: &mut Vec<u8>, history_line: &[u8]) {
    out.reserve(history_line.len() + 5);
    out.extend_from_slice(b"*** ");
    out.extend_from_slice(history_line);
    out.push(b'\n');
}

/// Appends a line of the room's history with its number, given without its LF.
pub(crate) fn push_recalled_with_id(out: &mut Vec<u8>, id: u64, history_line: &[u8]) {
    out.extend_from_slice(b"*** ");
    push_line_number(out, id);
    out.extend_from_slice(history_line);
    out.push(b'\n');
}

/// Appends the number of lines that the history does not hold any more, before the line with the number `next_id`.
pub(crate) fn push_ids_gone(out: &mut Vec<u8>, lines: u64, next_id: u64) {
    let verb = if lines == 1 { "is" } else { "are" };
    push_reply(out, &format_args!("{} before #{next_id} {verb} gone", format_count(lines, "line")));
}

/// Appends that lines have numbers from `next_id` on, and the name of the numbering.
pub(crate) fn push_ids_on(out: &mut Vec<u8>, numbering: u32, next_id: u64) {
    push_reply(out, &format_args!("ids is on: numbering {numbering:08x}, next line #{next_id}"));
}

/// Returns the end of a list that shows `shown` of `total` entries: `, and 7 more`, or nothing.
fn format_remainder(total: usize, shown: usize) -> String {
    match total.saturating_sub(shown) {
        0 => String::new(),
        remainder => format!(", and {remainder} more"),
    }
}

/// Returns `names` sorted without case, and the number of those that `total` counts and `names` lacks:
/// `alice, bob, and 7 more`.
fn join_sorted<'a>(names: impl Iterator<Item = &'a UserName>, total: usize) -> String {
    let mut names: Vec<&str> = names.map(UserName::as_str).collect();
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    names.join(", ") + &format_remainder(total, names.len())
}

/// Appends `*** the name NAME is taken in ROOM: `, the parts of the `way_out`, and an `example`.
fn push_name_taken_line(out: &mut Vec<u8>, room: &RoomName, name: &UserName, way_out: [&str; 3], example: &str) {
    let (room, name, way_out) = (room.as_str(), name.as_str(), way_out.concat());
    push_line(out, &["*** the name ", name, " is taken in ", room, ": ", &way_out, ", for example: ", example]);
}

/// Returns a valid user name that resembles `name` and differs from it: `alice2` for `alice`.
fn similar_name(name: &UserName) -> String {
    let name = name.as_str();
    let digit = if name.ends_with('2') { '3' } else { '2' };
    format!("{}{digit}", &name[..name.len().min(MAX_NAME_LENGTH - 1)])
}

/// Returns an offset in minutes east of UTC as `UTC+05:30`, or `UTC`.
fn format_offset(offset: i16) -> String {
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    if minutes == 0 { "UTC".to_owned() } else { format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60) }
}

/// Returns `count` and `noun` in the singular or plural: `1 name`, `2 names`.
pub(crate) fn format_count(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns a duration as people write it, to the millisecond: `2 s`, `1 min 30 s`, `500 ms`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let parts =
        [(millis / 3_600_000, "h"), (millis / 60_000 % 60, "min"), (millis / 1_000 % 60, "s"), (millis % 1_000, "ms")];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::messages;
    use crate::text::recalled_form::could_be_recalled;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    #[test]
    fn each_reply_has_its_exact_text() {
        let (bob, lobby) = (user("bob"), room("lobby"));
        for (reply, expected) in [
            (
                text(|out| push_reply(out, &crate::protocol::commands::CommandError::TakesNoArguments("who"))),
                "/who takes no arguments; write: /who",
            ),
            (text(|out| push_whisper_received(out, &bob, "hi")), "bob whispers: hi"),
            (text(|out| push_whisper_sent(out, &bob, "hi")), "you whisper to bob: hi"),
            (text(|out| push_several_members(out, 2, &bob)), "2 members here are called bob: nothing was sent"),
            (text(|out| push_name_kept(out, &bob)), "you are called bob already"),
            (NO_WHISPER.to_owned(), "no member has whispered to you in this room yet; write: /msg NAME TEXT"),
            (text(|out| push_no_such_member(out, &bob)), "no member here is called bob: /who lists the members"),
            (text(|out| push_already_here(out, &lobby, None)), "you are in lobby already"),
            (
                text(|out| push_already_here(out, &lobby, Some(&bob))),
                "you are in lobby already; to change your name write: /nick bob",
            ),
            (text(|out| push_recalled(out, b"bob: hi")), "bob: hi"),
            (ARE_YOU_THERE_REPLY.to_owned(), "yes, roomcast is here"),
            (NO_HISTORY.to_owned(), "there are no earlier lines of this room"),
        ] {
            assert_eq!(reply, format!("*** {expected}\n"));
        }
    }

    #[test]
    fn each_reply_about_a_taken_name_shows_a_name_to_try() {
        let (bob, bob2, lobby) = (user("bob"), user("bob2"), room("lobby"));
        let longest = user(&"a".repeat(20));
        for (reply, expected) in [
            (
                text(|out| push_name_taken_in(out, &lobby, &bob)),
                "*** the name bob is taken in lobby: you stay here; write: /join lobby NAME, for example: /join lobby \
                 bob2\n",
            ),
            (
                text(|out| push_name_taken(out, &lobby, &bob2)),
                "*** the name bob2 is taken in lobby: you keep your name; write: /nick NAME, for example: /nick \
                 bob23\n",
            ),
            (
                name_taken_error(&lobby, &bob),
                "the name bob is taken in lobby: connect again and choose another, for example: JOIN lobby bob2",
            ),
            (
                name_taken_error(&lobby, &longest),
                "the name aaaaaaaaaaaaaaaaaaaa is taken in lobby: connect again and choose another, for example: JOIN lobby \
                 aaaaaaaaaaaaaaaaaaa2",
            ),
        ] {
            assert_eq!(reply, expected);
        }
        for name in ["2", "~", "a:b", "<x", "aaaaaaaaaaaaaaaaaaa2", "aaaaaaaaaaaaaaaaaaa3"].map(user) {
            let similar = similar_name(&name);
            assert!(UserName::parse(&similar).is_ok_and(|similar| similar != name), "{name}: {similar}");
        }
    }

    #[test]
    fn join_hint_lists_at_most_twenty_names() {
        let (lobby, names) = (room("lobby"), ["bob", "Alice"].map(user));
        assert_eq!(
            text(|out| push_join_hint(out, &lobby, 2, names.iter())),
            "*** you are in lobby: Alice, bob. /help lists the commands, /quit leaves\n"
        );
        let members: Vec<UserName> = (0..27).map(|id| user(&format!("u{id:02}"))).collect();
        let hint = text(|out| push_join_hint(out, &lobby, members.len(), members.iter()));
        assert!(hint.contains(", u19, and 7 more. /help") && !hint.contains("u20"), "{hint}");
    }

    #[test]
    fn each_setting_says_its_state() {
        assert_eq!(text(|out| push_switched(out, "ui", false)), "*** ui is off\n");
        assert_eq!(text(|out| push_switched(out, "color", true)), "*** color is on\n");
        for (offset, expected) in [
            (None, "off"),
            (Some(0), "on, shown in UTC"),
            (Some(120), "on, shown in UTC+02:00"),
            (Some(-210), "on, shown in UTC-03:30"),
            (Some(-30), "on, shown in UTC-00:30"),
            (Some(840), "on, shown in UTC+14:00"),
        ] {
            assert_eq!(text(|out| push_time_state(out, offset)), format!("*** time is {expected}\n"));
        }
    }

    #[test]
    fn each_reply_about_hidden_lines_has_its_exact_text() {
        let names = ["carol", "bob"].map(user);
        for (reply, expected) in [
            (text(|out| push_ignored(out, &names[1])), "lines of bob are hidden from now on: /unignore bob shows them"),
            (text(|out| push_unignored(out, &names[1])), "lines of bob are shown from now on"),
            (
                text(|out| push_not_ignored(out, &names[1])),
                "lines of bob were not hidden: /ignore lists the hidden names",
            ),
            (text(|out| push_ignored_names(out, &names)), "lines of 2 names are hidden: bob, carol"),
            (text(|out| push_ignored_names(out, &names[..1])), "lines of 1 name are hidden: carol"),
            (
                text(|out| push_ignored_names(out, &[])),
                "no lines are hidden; write: /ignore NAME, for example: /ignore bob",
            ),
        ] {
            assert_eq!(reply, format!("*** {expected}\n"));
        }
    }

    #[test]
    fn refused_input_line_says_why_and_what_to_use() {
        for (refusal, expected) in [
            (
                InputLineRefusal::NoAnswer(Duration::from_secs(2)),
                "ui is off: this client did not agree to it within 2 s; use telnet, or PuTTY in telnet mode",
            ),
            (InputLineRefusal::Refused, "ui is off: the client refused it; use telnet, or PuTTY in telnet mode"),
            (
                InputLineRefusal::DumbTerminal,
                "ui is off: the terminal type is dumb; set TERM, for example: TERM=vt100 telnet HOST PORT",
            ),
        ] {
            assert_eq!(refusal.to_string(), expected);
        }
    }

    #[test]
    fn muted_peer_is_told_the_rest_of_its_time_in_whole_seconds() {
        for (left, expected) in [
            (None, "*** you are muted: no member sees this line\n"),
            (Some(59_001), "*** you are muted for 1 min more: no member sees this line\n"),
            (Some(2_000), "*** you are muted for 2 s more: no member sees this line\n"),
            (Some(0), "*** you are muted for 1 s more: no member sees this line\n"),
        ] {
            assert_eq!(text(|out| push_muted(out, left.map(Duration::from_millis))), expected);
        }
    }

    #[test]
    fn duration_is_written_in_the_units_of_people() {
        for (millis, expected) in [
            (0, "0 s"),
            (2_000, "2 s"),
            (500, "500 ms"),
            (90_000, "1 min 30 s"),
            (3_600_000, "1 h"),
            (90_061_001, "25 h 1 min 1 s 1 ms"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(millis)), expected);
        }
    }

    /// Returns every reply that this file makes but the recalled lines.
    fn every_reply(room: &RoomName, name: &UserName) -> Vec<String> {
        let text = |push: &dyn Fn(&mut Vec<u8>)| text(push);
        let (one, rooms) = ([*name], [(*room, 2)]);
        let replies = [
            text(&|out| push_who(out, room, 1, one.iter())),
            text(&|out| push_rooms(out, room, rooms.into_iter())),
            text(&|out| push_whisper_received(out, name, "has joined")),
            text(&|out| push_whisper_sent(out, name, "has joined")),
            text(&|out| push_no_such_member(out, name)),
            text(&|out| push_several_members(out, 2, name)),
            text(&|out| push_whisperer_left(out, name)),
            text(&|out| push_name_kept(out, name)),
            text(&|out| push_name_given_up(out, name, name)),
            text(&|out| push_whisper_unanswered(out, name, &NodeName::parse("has").unwrap())),
            text(&|out| push_muted(out, None)),
            text(&|out| push_muted(out, Some(Duration::from_secs(9)))),
            text(&|out| push_name_taken_in(out, room, name)),
            text(&|out| push_name_taken(out, room, name)),
            text(&|out| push_reply(out, &name_taken_error(room, name))),
            text(&|out| push_already_here(out, room, Some(name))),
            text(&|out| push_join_hint(out, room, 1, one.iter())),
            text(&|out| push_switched(out, "ui", true)),
            text(&|out| push_time_state(out, Some(0))),
            text(&|out| push_ignored(out, name)),
            text(&|out| push_unignored(out, name)),
            text(&|out| push_not_ignored(out, name)),
            text(&|out| push_ignored_names(out, &one)),
            text(&|out| push_ignored_names(out, &[])),
            text(&|out| push_ids_on(out, 7, 9)),
            text(&|out| push_ids_gone(out, 2, 9)),
        ];
        let constants = [
            ARE_YOU_THERE_REPLY,
            NO_IDS,
            IDS_OFF,
            NO_HISTORY,
            NO_WHISPER,
            LINE_DROPPED,
            LINE_DROPPED_BEFORE_JOIN,
            LINE_DROPPED_WITHOUT_COMMANDS,
            LINE_LOST_TO_INTERRUPT,
            messages::SHUTTING_DOWN,
        ];
        let refusals =
            [InputLineRefusal::NoAnswer(Duration::ZERO), InputLineRefusal::Refused, InputLineRefusal::DumbTerminal];
        let constants = constants.map(str::to_owned).into_iter().chain([1, 2].map(messages::skipped_notice));
        let refusals = refusals.map(|refusal| text(&|out| push_reply(out, &refusal)));
        replies.into_iter().chain(constants).chain(refusals).collect()
    }

    #[test]
    fn no_reply_could_be_a_recalled_line() {
        let names = ["bob", "has", "is", "x:y", "you", "lines"].map(user);
        let rooms = ["lobby", "x:", "*", "has", "/msg:"].map(room);
        for (room, name) in rooms.iter().flat_map(|room| names.iter().map(move |name| (room, name))) {
            for reply in every_reply(room, name) {
                assert!(reply.starts_with("*** ") && reply.ends_with('\n') && reply.lines().count() == 1, "{reply}");
                assert!(!could_be_recalled(reply.trim_end_matches('\n')), "{reply}");
            }
        }
    }

    /// The list of replies is written by hand, so a reply that it lacks must be found.
    #[test]
    fn list_of_replies_has_every_function_and_constant_of_this_file() {
        let source = include_str!("replies.rs");
        let (code, tests) = source.split_once("mod tests {").unwrap();
        let list = &tests[tests.find("fn every_reply").unwrap()..tests.find("fn no_reply_could").unwrap()];
        let is_word_end = |c: char| !c.is_alphanumeric() && c != '_';
        let declared = code.lines().filter_map(|line| {
            let declared = line.strip_prefix("pub(crate) fn push_").map(|rest| ("push_", rest));
            let (prefix, rest) = declared.or_else(|| Some(("", line.strip_prefix("pub(crate) const ")?)))?;
            Some(prefix.to_owned() + rest.split(is_word_end).next()?)
        });
        for item in
            declared.filter(|item| !["push_recalled", "push_recalled_with_id", "MAX_LISTED"].contains(&item.as_str()))
        {
            assert!(list.split(is_word_end).any(|word| word == item), "the list of replies lacks {item}");
        }
    }

    #[test]
    fn who_lists_sorted_names_and_counts_the_rest() {
        let (lobby, names) = (room("lobby"), ["bob", "Alice", "carol"].map(user));
        assert_eq!(text(|out| push_who(out, &lobby, 3, names.iter())), "*** 3 in lobby: Alice, bob, carol\n");
        assert_eq!(text(|out| push_who(out, &lobby, 1, names[..1].iter())), "*** 1 in lobby: bob\n");
        let members: Vec<UserName> = (0..10_000).map(|id| user(&format!("{id:020}"))).collect();
        let reply = text(|out| push_who(out, &lobby, members.len(), members.iter()));
        assert!(reply.starts_with("*** 10000 in lobby: 00000000000000000000, 00000000000000000001, "), "{reply}");
        assert!(reply.ends_with(", 00000000000000000049, and 9950 more\n") && reply.len() < 1200, "{reply}");
    }

    #[test]
    fn rooms_lists_the_largest_rooms_first() {
        let rooms = [("dev", 2), ("lobby", 10), ("art", 2)].map(|(name, members)| (room(name), members));
        let reply = text(|out| push_rooms(out, &room("art"), rooms.into_iter()));
        assert_eq!(reply, "*** 3 rooms: lobby (10), art (2), dev (2); you are in art\n");
        let reply = text(|out| push_rooms(out, &room("dev"), rooms[..1].iter().copied()));
        assert_eq!(reply, "*** 1 room: dev (2); you are in dev\n");
        let many = (0..1_000).map(|id| (room(&format!("r{id:03}")), id / 2));
        let reply = text(|out| push_rooms(out, &room("r000"), many));
        assert!(reply.starts_with("*** 1000 rooms: r998 (499), r999 (499), r996 (498), "), "{reply}");
        assert!(reply.ends_with(", r951 (475), and 950 more; you are in r000\n"), "{reply}");
    }
}
