//! The answers to one peer: each a line that begins with `*** `, or several.

use super::messages::line;
use crate::text::names::{RoomName, UserName};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Display;

/// The most names, or rooms, that one answer lists: about 1 KiB.
pub const LISTED: usize = 50;

/// The answer to telnet's "are you there" (RFC 854, page 13).
pub const HERE: &str = "*** yes, roomcast is here\n";

/// What `/last` shows where there is nothing to show.
pub const NOTHING_KEPT: &str = "*** there are no earlier lines of this room\n";

/// Answers `text`, which is one line and begins otherwise: a [misuse](crate::protocol::commands::Misuse), say.
pub fn answer(out: &mut Vec<u8>, text: &impl Display) {
    line(out, &["*** ", &text.to_string()]);
}

/// Answers `/who`: `*** 2 here: alice, bob`. `names` may be all of the `total`; at most [`LISTED`]
/// are taken of it, and sorted, so a room of 10,000 costs no more than one of 50.
pub fn who<'a>(out: &mut Vec<u8>, total: usize, names: impl Iterator<Item = &'a UserName>) {
    let mut names: Vec<&str> = names.take(LISTED).map(UserName::as_str).collect();
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    let more = more(total, names.len());
    line(out, &["*** ", &total.to_string(), " here: ", &names.join(", "), &more]);
}

/// Answers `/rooms`: `*** 2 rooms: lobby (10), dev (2)`. `rooms` are all there are, with how many
/// are in each; the busiest [`LISTED`] are shown, and no more than those are held.
pub fn rooms(out: &mut Vec<u8>, rooms: impl Iterator<Item = (RoomName, usize)>) {
    let (mut total, mut busiest) = (0, BinaryHeap::with_capacity(LISTED + 1));
    for (name, heads) in rooms {
        total += 1;
        // The least busy on top; of equals the last by name.
        busiest.push((Reverse(heads), name));
        if busiest.len() > LISTED {
            busiest.pop();
        }
    }
    let show = |(Reverse(heads), name): (Reverse<usize>, RoomName)| format!("{name} ({heads})");
    let shown: Vec<String> = busiest.into_sorted_vec().into_iter().map(show).collect();
    let noun = if total == 1 { " room: " } else { " rooms: " };
    line(out, &["*** ", &total.to_string(), noun, &shown.join(", "), &more(total, shown.len())]);
}

/// Shows somebody what was whispered to them.
pub fn whispered(out: &mut Vec<u8>, from: &UserName, text: &str) {
    line(out, &["*** ", from.as_str(), " whispers: ", text]);
}

/// Shows somebody what they have whispered.
pub fn whispering(out: &mut Vec<u8>, to: &UserName, text: &str) {
    line(out, &["*** you whisper to ", to.as_str(), ": ", text]);
}

/// Answers that nobody in the room has the name.
pub fn nobody(out: &mut Vec<u8>, name: &UserName) {
    line(out, &["*** nobody here is called ", name.as_str(), ": /who lists who is"]);
}

/// Answers a `/join` under a name that somebody has in `room`.
pub fn taken_there(out: &mut Vec<u8>, room: &RoomName, name: &UserName) {
    let (room, name) = (room.as_str(), name.as_str());
    line(out, &["*** the name ", name, " is taken in ", room, ": you stay here; write: /join ", room, " NAME"]);
}

/// Answers a `/join` into the room that one is in.
pub fn here_already(out: &mut Vec<u8>, room: &RoomName) {
    line(out, &["*** you are in ", room.as_str(), " already"]);
}

/// Answers a `/nick` to a name that somebody in the room has.
pub fn taken_here(out: &mut Vec<u8>, name: &UserName) {
    line(out, &["*** the name ", name.as_str(), " is taken here: choose another"]);
}

/// Answers that something of one's own, as `ui`, is on or off now.
pub fn switched(out: &mut Vec<u8>, what: &str, on: bool) {
    line(out, &["*** ", what, if on { " is on" } else { " is off" }]);
}

/// Shows a line of the past, given without its end: what was said earlier can't be taken for new.
pub fn recalled(out: &mut Vec<u8>, past: &[u8]) {
    out.reserve(past.len() + 5);
    out.extend_from_slice(b"*** ");
    out.extend_from_slice(past);
    out.push(b'\n');
}

/// How a list goes on that shows `shown` of `total`.
fn more(total: usize, shown: usize) -> String {
    match total.saturating_sub(shown) {
        0 => String::new(),
        more => format!(", and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lay_out: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        lay_out(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    #[test]
    fn each_answer_to_the_letter() {
        let (bob, lobby) = (user("bob"), room("lobby"));
        for (told, expected) in [
            (
                text(|out| answer(out, &crate::protocol::commands::CommandError::Alone("who"))),
                "/who takes nothing more; write: /who",
            ),
            (text(|out| whispered(out, &bob, "hi")), "bob whispers: hi"),
            (text(|out| whispering(out, &bob, "hi")), "you whisper to bob: hi"),
            (text(|out| nobody(out, &bob)), "nobody here is called bob: /who lists who is"),
            (
                text(|out| taken_there(out, &lobby, &bob)),
                "the name bob is taken in lobby: you stay here; write: /join lobby NAME",
            ),
            (text(|out| here_already(out, &lobby)), "you are in lobby already"),
            (text(|out| taken_here(out, &bob)), "the name bob is taken here: choose another"),
            (text(|out| switched(out, "ui", true)), "ui is on"),
            (text(|out| switched(out, "time", false)), "time is off"),
            (text(|out| recalled(out, b"bob: hi")), "bob: hi"),
            (HERE.to_owned(), "yes, roomcast is here"),
            (NOTHING_KEPT.to_owned(), "there are no earlier lines of this room"),
        ] {
            assert_eq!(told, format!("*** {expected}\n"));
        }
    }

    #[test]
    fn who_is_here_in_order_and_cut_with_a_count() {
        let names = ["bob", "Alice", "carol"].map(user);
        assert_eq!(text(|out| who(out, 3, names.iter())), "*** 3 here: Alice, bob, carol\n");
        assert_eq!(text(|out| who(out, 1, names[..1].iter())), "*** 1 here: bob\n");
        let crowd: Vec<UserName> = (0..10_000).map(|id| user(&format!("{id:020}"))).collect();
        let told = text(|out| who(out, crowd.len(), crowd.iter()));
        assert!(told.starts_with("*** 10000 here: 00000000000000000000, 00000000000000000001, "), "{told}");
        assert!(told.ends_with(", 00000000000000000049, and 9950 more\n") && told.len() < 1200, "{told}");
    }

    #[test]
    fn the_busiest_rooms_come_first() {
        let some = [("dev", 2), ("lobby", 10), ("art", 2)].map(|(name, heads)| (room(name), heads));
        assert_eq!(text(|out| rooms(out, some.into_iter())), "*** 3 rooms: lobby (10), art (2), dev (2)\n");
        assert_eq!(text(|out| rooms(out, some[..1].iter().copied())), "*** 1 room: dev (2)\n");
        let many = (0..1_000).map(|id| (room(&format!("r{id:03}")), id / 2));
        let told = text(|out| rooms(out, many));
        assert!(told.starts_with("*** 1000 rooms: r998 (499), r999 (499), r996 (498), "), "{told}");
        assert!(told.ends_with(", r951 (475), and 950 more\n"), "{told}");
    }
}
