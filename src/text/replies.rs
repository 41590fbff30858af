//! The answers to one peer: each a line that begins with `*** `, or several.

use super::messages::push_line;
use crate::text::names::{RoomName, UserName};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Display;

/// The most names, or rooms, that one answer lists: about 1 KiB.
pub const MAX_LISTED: usize = 50;

/// The answer to telnet's "are you there" (RFC 854, page 13).
pub const ARE_YOU_THERE_REPLY: &str = "*** yes, roomcast is here\n";

/// What `/last` shows where there is nothing to show.
pub const NO_HISTORY: &str = "*** there are no earlier lines of this room\n";

/// Answers `text`, which is one line and begins otherwise: a [misuse](crate::protocol::commands::Misuse), say.
pub fn push_reply(out: &mut Vec<u8>, text: &impl Display) {
    push_line(out, &["*** ", &text.to_string()]);
}

/// Answers `/who`: `*** 2 here: alice, bob`. `names` may be all of the `total`; at most [`MAX_LISTED`]
/// are taken of it, and sorted, so a room of 10,000 costs no more than one of 50.
pub fn push_who<'a>(out: &mut Vec<u8>, total: usize, names: impl Iterator<Item = &'a UserName>) {
    let mut names: Vec<&str> = names.take(MAX_LISTED).map(UserName::as_str).collect();
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    let more = format_remainder(total, names.len());
    push_line(out, &["*** ", &total.to_string(), " here: ", &names.join(", "), &more]);
}

/// Answers `/rooms`: `*** 2 rooms: lobby (10), dev (2)`. `rooms` are all there are, with how many
/// are in each; the busiest [`MAX_LISTED`] are shown, and no more than those are held.
pub fn push_rooms(out: &mut Vec<u8>, rooms: impl Iterator<Item = (RoomName, usize)>) {
    let (mut total, mut busiest) = (0, BinaryHeap::with_capacity(MAX_LISTED + 1));
    for (name, members) in rooms {
        total += 1;
        // The least busy on top; of equals the last by name.
        busiest.push((Reverse(members), name));
        if busiest.len() > MAX_LISTED {
            busiest.pop();
        }
    }
    let format_room = |(Reverse(members), name): (Reverse<usize>, RoomName)| format!("{name} ({members})");
    let shown: Vec<String> = busiest.into_sorted_vec().into_iter().map(format_room).collect();
    let noun = if total == 1 { " room: " } else { " rooms: " };
    push_line(out, &["*** ", &total.to_string(), noun, &shown.join(", "), &format_remainder(total, shown.len())]);
}

/// Shows somebody what was whispered to them.
pub fn push_whisper_received(out: &mut Vec<u8>, from: &UserName, text: &str) {
    push_line(out, &["*** ", from.as_str(), " whispers: ", text]);
}

/// Shows somebody what they have whispered.
pub fn push_whisper_sent(out: &mut Vec<u8>, to: &UserName, text: &str) {
    push_line(out, &["*** you whisper to ", to.as_str(), ": ", text]);
}

/// Answers that nobody in the room has the name.
pub fn push_no_such_member(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** nobody here is called ", name.as_str(), ": /who lists who is"]);
}

/// Answers a `/join` under a name that somebody has in `room`.
pub fn push_name_taken_in(out: &mut Vec<u8>, room: &RoomName, name: &UserName) {
    let (room, name) = (room.as_str(), name.as_str());
    push_line(out, &["*** the name ", name, " is taken in ", room, ": you stay here; write: /join ", room, " NAME"]);
}

/// Answers a `/join` into the room that one is in.
pub fn push_already_here(out: &mut Vec<u8>, room: &RoomName) {
    push_line(out, &["*** you are in ", room.as_str(), " already"]);
}

/// Answers a `/nick` to a name that somebody in the room has.
pub fn push_name_taken(out: &mut Vec<u8>, name: &UserName) {
    push_line(out, &["*** the name ", name.as_str(), " is taken here: choose another"]);
}

/// Answers that something of one's own, as `ui`, is on or off now.
pub fn push_switched(out: &mut Vec<u8>, what: &str, on: bool) {
    push_line(out, &["*** ", what, if on { " is on" } else { " is off" }]);
}

/// Shows a line of the past, given without its end: what was said earlier can't be taken for new.
pub fn push_recalled(out: &mut Vec<u8>, past: &[u8]) {
    out.reserve(past.len() + 5);
    out.extend_from_slice(b"*** ");
    out.extend_from_slice(past);
    out.push(b'\n');
}

/// How a list goes on that shows `shown` of `total`.
fn format_remainder(total: usize, shown: usize) -> String {
    match total.saturating_sub(shown) {
        0 => String::new(),
        more => format!(", and {more} more"),
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
    fn each_reply_has_the_contracts_bytes() {
        let (bob, lobby) = (user("bob"), room("lobby"));
        for (reply, expected) in [
            (
                text(|out| push_reply(out, &crate::protocol::commands::CommandError::TakesNoArguments("who"))),
                "/who takes nothing more; write: /who",
            ),
            (text(|out| push_whisper_received(out, &bob, "hi")), "bob whispers: hi"),
            (text(|out| push_whisper_sent(out, &bob, "hi")), "you whisper to bob: hi"),
            (text(|out| push_no_such_member(out, &bob)), "nobody here is called bob: /who lists who is"),
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
        let crowd: Vec<UserName> = (0..10_000).map(|id| user(&format!("{id:020}"))).collect();
        let reply = text(|out| push_who(out, crowd.len(), crowd.iter()));
        assert!(reply.starts_with("*** 10000 here: 00000000000000000000, 00000000000000000001, "), "{reply}");
        assert!(reply.ends_with(", 00000000000000000049, and 9950 more\n") && reply.len() < 1200, "{reply}");
    }

    #[test]
    fn rooms_lists_the_largest_rooms_first() {
        let some = [("dev", 2), ("lobby", 10), ("art", 2)].map(|(name, members)| (room(name), members));
        assert_eq!(text(|out| push_rooms(out, some.into_iter())), "*** 3 rooms: lobby (10), art (2), dev (2)\n");
        assert_eq!(text(|out| push_rooms(out, some[..1].iter().copied())), "*** 1 room: dev (2)\n");
        let many = (0..1_000).map(|id| (room(&format!("r{id:03}")), id / 2));
        let reply = text(|out| push_rooms(out, many));
        assert!(reply.starts_with("*** 1000 rooms: r998 (499), r999 (499), r996 (498), "), "{reply}");
        assert!(reply.ends_with(", r951 (475), and 950 more\n"), "{reply}");
    }
}
