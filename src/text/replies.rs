//! Replies: the lines that the server writes to one peer. Each begins with `*** `.
//!
//! Each `push_…` function appends whole lines with their LF to a buffer.

use super::messages::push_line;
use crate::text::names::{RoomName, UserName};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Display;

/// The most names or rooms that one reply lists, so that a reply has about 1 KiB at most.
pub(crate) const MAX_LISTED: usize = 50;

/// The reply to telnet's "are you there" (AYT; RFC 854, page 13).
pub(crate) const ARE_YOU_THERE_REPLY: &str = "*** yes, roomcast is here\n";

/// The reply to `/last` in a room without history.
pub(crate) const NO_HISTORY: &str = "*** there are no earlier lines of this room\n";

/// Appends `text`, which holds no line end, as a reply: an
/// [error of a command](crate::protocol::commands::CommandError), for example.
pub(crate) fn push_reply(out: &mut Vec<u8>, text: &impl Display) {
    push_line(out, &["*** ", &text.to_string()]);
}

/// Appends the reply to `/who`: `*** 2 here: alice, bob`, sorted by name.
///
/// `total` is the number of members. The function takes at most [`MAX_LISTED`] of `names` and sorts only
/// those, so a room of 10,000 members costs no more than one of 50.
pub(crate) fn push_who<'a>(out: &mut Vec<u8>, total: usize, names: impl Iterator<Item = &'a UserName>) {
    let mut names: Vec<&str> = names.take(MAX_LISTED).map(UserName::as_str).collect();
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    let remainder = format_remainder(total, names.len());
    push_line(out, &["*** ", &total.to_string(), " here: ", &names.join(", "), &remainder]);
}

/// Appends the reply to `/rooms`: `*** 2 rooms: lobby (10), dev (2)`, the rooms with most members first.
///
/// `rooms` yields every room with its number of members. The function holds and lists at most
/// [`MAX_LISTED`] of them.
pub(crate) fn push_rooms(out: &mut Vec<u8>, rooms: impl Iterator<Item = (RoomName, usize)>) {
    let (mut total, mut largest) = (0, BinaryHeap::with_capacity(MAX_LISTED + 1));
    for (name, members) in rooms {
        total += 1;
        // The heap's top is the smallest room; among equal rooms, the last by name.
        largest.push((Reverse(members), name));
        if largest.len() > MAX_LISTED {
            largest.pop();
        }
    }
    let format_room = |(Reverse(members), name): (Reverse<usize>, RoomName)| format!("{name} ({members})");
    let listed: Vec<String> = largest.into_sorted_vec().into_iter().map(format_room).collect();
    let noun = if total == 1 { " room: " } else { " rooms: " };
    push_line(out, &["*** ", &total.to_string(), noun, &listed.join(", "), &format_remainder(total, listed.len())]);
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

/// Appends the reply to a `/join` into `room` as `name` when a member of `room` has that name.
pub(crate) fn push_name_taken_in(out: &mut Vec<u8>, room: &RoomName, name: &UserName) {
    let (room, name) = (room.as_str(), name.as_str());
    push_line(out, &["*** the name ", name, " is taken in ", room, ": you stay here; write: /join ", room, " NAME"]);
}

/// Appends the reply to a `/join` into the room that the peer is in.
pub(crate) fn push_already_here(out: &mut Vec<u8>, room: &RoomName) {
    push_line(out, &["*** you are in ", room.as_str(), " already"]);
}

/// Appends the reply to a `/nick` when another member of the room has `name`.
pub(crate) fn push_name_taken(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** the name ", name.as_str(), " is taken here: choose another"]);
}

/// Appends that `setting`, such as `ui`, is on or off from now on.
pub(crate) fn push_switched(out: &mut Vec<u8>, setting: &str, on: bool) {
    push_line(out, &["*** ", setting, if on { " is on" } else { " is off" }]);
}

/// Appends a line of the room's history, given without its LF. The `*** ` before it distinguishes the
/// old line from a new one.
pub(crate) fn push_recalled(out: &mut Vec<u8>, history_line: &[u8]) {
    out.reserve(history_line.len() + 5);
    out.extend_from_slice(b"*** ");
    out.extend_from_slice(history_line);
    out.push(b'\n');
}

/// Returns the end of a list that shows `shown` of `total` entries: `, and 7 more`, or nothing.
fn format_remainder(total: usize, shown: usize) -> String {
    match total.saturating_sub(shown) {
        0 => String::new(),
        remainder => format!(", and {remainder} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (text(|out| push_no_such_member(out, &bob)), "no member here is called bob: /who lists the members"),
            (
                text(|out| push_name_taken_in(out, &lobby, &bob)),
                "the name bob is taken in lobby: you stay here; write: /join lobby NAME",
            ),
            (text(|out| push_already_here(out, &lobby)), "you are in lobby already"),
            (text(|out| push_name_taken(out, &bob)), "the name bob is taken here: choose another"),
            (text(|out| push_switched(out, "ui", true)), "ui is on"),
            (text(|out| push_switched(out, "time", false)), "time is off"),
            (text(|out| push_recalled(out, b"bob: hi")), "bob: hi"),
            (ARE_YOU_THERE_REPLY.to_owned(), "yes, roomcast is here"),
            (NO_HISTORY.to_owned(), "there are no earlier lines of this room"),
        ] {
            assert_eq!(reply, format!("*** {expected}\n"));
        }
    }

    #[test]
    fn who_lists_sorted_names_and_counts_the_rest() {
        let names = ["bob", "Alice", "carol"].map(user);
        assert_eq!(text(|out| push_who(out, 3, names.iter())), "*** 3 here: Alice, bob, carol\n");
        assert_eq!(text(|out| push_who(out, 1, names[..1].iter())), "*** 1 here: bob\n");
        let members: Vec<UserName> = (0..10_000).map(|id| user(&format!("{id:020}"))).collect();
        let reply = text(|out| push_who(out, members.len(), members.iter()));
        assert!(reply.starts_with("*** 10000 here: 00000000000000000000, 00000000000000000001, "), "{reply}");
        assert!(reply.ends_with(", 00000000000000000049, and 9950 more\n") && reply.len() < 1200, "{reply}");
    }

    #[test]
    fn rooms_lists_the_largest_rooms_first() {
        let rooms = [("dev", 2), ("lobby", 10), ("art", 2)].map(|(name, members)| (room(name), members));
        assert_eq!(text(|out| push_rooms(out, rooms.into_iter())), "*** 3 rooms: lobby (10), art (2), dev (2)\n");
        assert_eq!(text(|out| push_rooms(out, rooms[..1].iter().copied())), "*** 1 room: dev (2)\n");
        let many = (0..1_000).map(|id| (room(&format!("r{id:03}")), id / 2));
        let reply = text(|out| push_rooms(out, many));
        assert!(reply.starts_with("*** 1000 rooms: r998 (499), r999 (499), r996 (498), "), "{reply}");
        assert!(reply.ends_with(", r951 (475), and 950 more\n"), "{reply}");
    }
}
