//! Subjects: `rc.<cluster>.l.<room>.c` for changes of a room, `rc.<cluster>.l.<room>.s` for its other frames,
//! `rc.<cluster>.a` and `rc.<cluster>.n.<node>`.
//!
//! One subscription takes both subjects of a room, so that its frames come in the order in which a server sends them. In a
//! cluster with one order `rc.<cluster>.t.<room>` takes all frames of a room to the log, and on `rc.<cluster>.o.<room>` they
//! come from there.
//!
//! In a room's name letters, digits, `_` and `-` stand as they are, and any other byte is `=` and two hexadecimal digits:
//! one legal token, readable, of at most 60 bytes, and one for each name.

use crate::cluster::core::Channel;
use crate::text::names::{NodeName, RoomName};
use std::fmt::Write;

/// Returns the subject on which frames of a channel are published.
pub(super) fn subject(cluster: NodeName, channel: Channel) -> String {
    match channel {
        Channel::All => format!("rc.{cluster}.a"),
        Channel::Node(node) => format!("rc.{cluster}.n.{node}"),
        Channel::Room(room) => of_room(cluster, room) + ".s",
        Channel::Changes(room) => of_room(cluster, room) + CHANGES,
    }
}

/// Returns the subject to subscribe to for the frames of a channel: for a room with its changes.
pub(super) fn subscription(cluster: NodeName, channel: Channel) -> String {
    match channel {
        Channel::Room(room) | Channel::Changes(room) => of_room(cluster, room) + ".*",
        Channel::All | Channel::Node(_) => subject(cluster, channel),
    }
}

/// Returns the channel of a frame that came for the subscription of `channel` on `subject`.
pub(super) fn received_on(channel: Channel, subject: &str) -> Channel {
    match channel {
        Channel::Room(room) if subject.ends_with(CHANGES) => Channel::Changes(room),
        _ => channel,
    }
}

/// Returns the subject of the changes of all rooms.
pub(super) fn changes_of_all_rooms(cluster: NodeName) -> String {
    format!("rc.{cluster}.l.*{CHANGES}")
}

/// The end of the subject of a room's changes.
const CHANGES: &str = ".c";

fn of_room(cluster: NodeName, room: RoomName) -> String {
    room_subject(cluster, 'l', Some(room))
}

/// Returns the subject of frames for the log of a room, or of all rooms.
pub(super) fn log_subject(cluster: NodeName, room: Option<RoomName>) -> String {
    room_subject(cluster, 't', room)
}

/// Returns the subject of frames that come from the log of a room, or of all rooms.
pub(super) fn ordered_subject(cluster: NodeName, room: Option<RoomName>) -> String {
    room_subject(cluster, 'o', room)
}

/// Returns the name of the stream that is the log of a cluster. A cluster's name is a legal part of it.
pub(super) fn log_stream(cluster: NodeName) -> String {
    format!("RC_{cluster}_LOG")
}

fn room_subject(cluster: NodeName, kind: char, room: Option<RoomName>) -> String {
    let mut subject = format!("rc.{cluster}.{kind}.");
    let Some(room) = room else { return subject + ">" };
    for byte in room.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            subject.push(char::from(byte));
        } else {
            let _ = write!(subject, "={byte:02X}");
        }
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn room(name: &str) -> String {
        subject(NodeName::parse("c").unwrap(), Channel::Room(RoomName::parse(name).unwrap()))
    }

    #[test]
    fn each_room_has_one_legal_subject() {
        assert_eq!(room("lobby"), "rc.c.l.lobby.s");
        assert_eq!(room("#a.b*>"), "rc.c.l.=23a=2Eb=2A=3E.s");
        assert_eq!(room("=23"), "rc.c.l.=3D23.s");
        assert_eq!(room(&"~".repeat(20)).len(), "rc.c.l..s".len() + 60);
        let names = (0x21..=0x7E_u8).map(|byte| char::from(byte).to_string());
        let subjects: HashSet<String> = names.map(|name| room(&name)).collect();
        assert_eq!(subjects.len(), 94);
        assert!(subjects.iter().all(|subject| subject.split('.').count() == 5 && !subject.contains(['*', '>', ' '])));
    }

    #[test]
    fn changes_have_a_subject_of_their_own_in_the_subscription_of_their_room() {
        let (cluster, lobby) = (NodeName::parse("c").unwrap(), RoomName::parse("a.c").unwrap());
        let (state, changes) = (subject(cluster, Channel::Room(lobby)), subject(cluster, Channel::Changes(lobby)));
        assert_eq!((&*state, &*changes), ("rc.c.l.a=2Ec.s", "rc.c.l.a=2Ec.c"));
        assert_eq!(subscription(cluster, Channel::Room(lobby)), "rc.c.l.a=2Ec.*");
        assert_eq!(received_on(Channel::Room(lobby), &changes), Channel::Changes(lobby));
        assert_eq!(received_on(Channel::Room(lobby), &state), Channel::Room(lobby));
        assert_eq!(received_on(Channel::All, "rc.c.a"), Channel::All);
        assert_eq!(changes_of_all_rooms(cluster), "rc.c.l.*.c");
    }

    #[test]
    fn nodes_and_all_have_subjects_of_their_own() {
        let cluster = NodeName::parse("c").unwrap();
        assert_eq!(subject(cluster, Channel::All), "rc.c.a");
        assert_eq!(subject(cluster, Channel::Node(NodeName::parse("n-1").unwrap())), "rc.c.n.n-1");
    }
}
