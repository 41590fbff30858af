//! Subjects: `rc.<cluster>.l.<room>`, `rc.<cluster>.a` and `rc.<cluster>.n.<node>`; in a cluster with one order
//! `rc.<cluster>.t.<room>` for what goes to the log, and `rc.<cluster>.o.<room>` for what comes from there.
//!
//! In a room's name letters, digits, `_` and `-` stand as they are, and any other byte is `=` and two hexadecimal digits:
//! one legal token, readable, of at most 60 bytes, and one for each name.

use crate::cluster::core::Channel;
use crate::text::names::{NodeName, RoomName};
use std::fmt::Write;

/// Returns the subject of a channel.
pub(super) fn subject(cluster: NodeName, channel: Channel) -> String {
    let mut subject = format!("rc.{cluster}.");
    match channel {
        Channel::All => subject.push('a'),
        Channel::Node(node) => {
            let _ = write!(subject, "n.{node}");
        }
        Channel::Room(room) => {
            subject.push_str("l.");
            push_room(&mut subject, room);
        }
    }
    subject
}

/// Returns the subject of frames for the log of a room, or of all rooms.
pub(super) fn log_subject(cluster: NodeName, room: Option<RoomName>) -> String {
    room_subject(cluster, 't', room)
}

/// Returns the subject of frames that come from the log of a room, or of all rooms.
pub(super) fn ordered_subject(cluster: NodeName, room: Option<RoomName>) -> String {
    room_subject(cluster, 'o', room)
}

/// Returns the name of the stream that is the log of a cluster.
pub(super) fn log_stream(cluster: NodeName) -> String {
    format!("RC_{cluster}_LOG")
}

fn room_subject(cluster: NodeName, kind: char, room: Option<RoomName>) -> String {
    let mut subject = format!("rc.{cluster}.{kind}.");
    match room {
        Some(room) => push_room(&mut subject, room),
        None => subject.push('>'),
    }
    subject
}

fn push_room(subject: &mut String, room: RoomName) {
    for byte in room.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            subject.push(char::from(byte));
        } else {
            let _ = write!(subject, "={byte:02X}");
        }
    }
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
        assert_eq!(room("lobby"), "rc.c.l.lobby");
        assert_eq!(room("#a.b*>"), "rc.c.l.=23a=2Eb=2A=3E");
        assert_eq!(room("=23"), "rc.c.l.=3D23");
        assert_eq!(room(&"~".repeat(20)).len(), "rc.c.l.".len() + 60);
        let names = (0x21..=0x7E_u8).map(|byte| char::from(byte).to_string());
        let subjects: HashSet<String> = names.map(|name| room(&name)).collect();
        assert_eq!(subjects.len(), 94);
        assert!(subjects.iter().all(|subject| subject.split('.').count() == 4 && !subject.contains(['*', '>', ' '])));
    }

    #[test]
    fn nodes_and_all_have_subjects_of_their_own() {
        let cluster = NodeName::parse("c").unwrap();
        assert_eq!(subject(cluster, Channel::All), "rc.c.a");
        assert_eq!(subject(cluster, Channel::Node(NodeName::parse("n-1").unwrap())), "rc.c.n.n-1");
    }
}
