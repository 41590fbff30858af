//! The catalog of kinds: every attack of the zoo. Each kind stays in rooms of its own, so that the rooms of good clients
//! share the server with it but no room.

use super::kind::Kind;

mod commands;
mod connections;
mod input_line;
mod lines;
mod readers;
mod telnet;

/// Returns all kinds, in the order in which they run.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    [connections::KINDS, readers::KINDS, commands::KINDS, telnet::KINDS, input_line::KINDS, lines::KINDS]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::kind::{Group, Room, Writes};
    use super::super::script::Script;
    use super::kinds;

    /// Returns the bytes of the first `segments` segments of a kind's group, without the JOIN line.
    fn written(kind: &str, group: usize, connection: u64, segments: usize) -> Vec<u8> {
        let group = group_of(kind, group);
        let mut script = Script::new(group, 0, 3, connection, 1);
        let mut out = group.opening.to_vec();
        for _ in 0..segments {
            script.next_segment(&mut out);
        }
        out
    }

    fn group_of(kind: &str, group: usize) -> &'static Group {
        &kinds().find(|known| known.name == kind).unwrap().groups[group]
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn names_are_unique_and_rooms_are_legal() {
        let names: HashSet<_> = kinds().map(|kind| kind.name).collect();
        assert_eq!(names.len(), kinds().count());
        assert!(names.len() >= 30, "{} kinds", names.len());
        for kind in kinds() {
            assert!((1..=600).contains(&kind.sockets()), "{} has {} sockets", kind.name, kind.sockets());
            assert!(!kind.about.is_empty() && kind.name.len() <= 14, "{}", kind.name);
            for group in kind.groups {
                let (name, numbers) = match group.room {
                    Room::None => continue,
                    Room::Shared(name) => (name, 0),
                    Room::PerSocket(name) => (name, 3),
                    Room::PerConnection(name) => (name, 10),
                };
                assert!(name.len() + numbers <= 20, "{name} is too long for a room");
                assert!(name.starts_with("z-"), "the room {name} of {} may be a room of good clients", kind.name);
            }
        }
    }

    #[test]
    fn every_kind_but_the_silent_one_writes_or_connects_again() {
        for kind in kinds().filter(|kind| kind.name != "silent") {
            let writes = |group: &Group| !matches!(group.writes, Writes::Nothing);
            let ends = |group: &Group| matches!(group.ends, super::super::kind::End::After { .. });
            assert!(kind.groups.iter().any(|group| writes(group) || ends(group)), "{}", kind.name);
        }
    }

    #[test]
    fn command_kinds_write_their_commands() {
        for (kind, group, command) in [
            ("who", 1, "/who\r\n"),
            ("rooms", 1, "/rooms\r\n"),
            ("join", 1, "/join z-join-b"),
            ("nick", 1, "/nick "),
            ("msg", 1, "/msg b0x3x0 "),
            ("last", 1, "/last 100\r\n"),
            ("help", 0, "/help\r\n"),
            ("ui", 0, "/ui off\r\n"),
            ("ignore", 0, "/ignore n"),
        ] {
            let bytes = written(kind, group, 0, 4);
            assert!(contains(&bytes, command.as_bytes()), "{kind} wrote {}", String::from_utf8_lossy(&bytes));
        }
        let light = written("light", 0, 0, 20);
        for command in ["/me ", "/time ", "/color ", "/reply ", "/unignore ", "/nonsense", "/?", "//who"] {
            assert!(contains(&light, command.as_bytes()), "`light` does not write {command}");
        }
        assert!(contains(&written("light-again", 0, 0, 200), b"/quit"));
        let again = written("who-again", 1, 0, 5000);
        assert_eq!(again.windows(4).filter(|window| window == b"/who").count(), 1900);
        assert!(again.ends_with(b"/quit\r\n"));
    }

    #[test]
    fn telnet_kinds_write_their_commands() {
        assert!(written("telnet-nop", 0, 0, 3).ends_with(b"\xff\xf1\xff\xf1"));
        assert!(contains(&written("telnet-ayt", 0, 0, 3), b"\xff\xf6"));
        assert!(contains(&written("telnet-ayt", 0, 0, 3), b"\xff\xf4"));
        let options = written("telnet-options", 0, 0, 2048);
        for option in [0, 1, 24, 31, 127, 254] {
            for verb in 0xfb..=0xfe {
                assert!(contains(&options, &[0xff, verb, option]), "{verb} of option {option} is missing");
            }
        }
        assert!(contains(&written("telnet-naws", 0, 0, 3), b"\xff\xfa\x1f"));
        let endless = written("telnet-sb", 0, 0, 50);
        assert!(contains(&endless, b"\xff\xfa\x18") && !contains(&endless, b"\xff\xf0"));
        let erase = written("telnet-erase", 0, 0, 4);
        assert!(contains(&erase, b"\xff\xf8") && contains(&erase, b"\xff\xf7") && !erase.contains(&b'\n'));
    }

    #[test]
    fn input_line_kinds_agree_to_the_input_line_first() {
        for kind in ["keys", "redraw", "draft", "tab"] {
            let bytes = written(kind, 0, 0, 4);
            assert!(bytes.starts_with(b"/ui on\r\n\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f"), "{kind}");
        }
        assert!(group_of("keys", 0).alone && group_of("redraw", 0).alone);
        assert!(contains(&written("redraw", 0, 0, 2), b"\x0c"));
        assert!(contains(&written("tab", 0, 0, 4), b"\t"));
        let draft = written("draft", 0, 0, 3);
        assert_eq!(draft.windows(3).filter(|window| window == b"e\xcc\x81").count(), 1300);
        assert!(contains(&draft, b"\xff\xfa\x1f\x00\x01\x00\x01\xff\xf0"), "the window of one cell is missing");
    }

    #[test]
    fn line_kinds_write_lines_of_their_length() {
        let long = written("long-lines", 0, 0, 1);
        assert_eq!((long.len(), long.last()), (20_001, Some(&b'\n')));
        let endless = written("endless-line", 0, 0, 30);
        assert!(endless.len() > 20_001 && !endless.contains(&b'\n'));
        assert!(written("empty-lines", 0, 0, 3).iter().all(|byte| b"\r\n".contains(byte)));
        let painter = written("painter", 0, 0, 40);
        assert!(contains(&painter, b"\x1b[2J") && contains(&painter, "\u{202e}".as_bytes()));
        assert!(contains(&painter, "\u{301}\u{301}\u{301}".as_bytes()));
        assert!(written("random", 0, 0, 4) != written("random", 0, 1, 4));
    }

    #[test]
    fn reset_kind_ends_in_the_middle_of_each_thing() {
        let parts = [&b"JOIN z-re"[..], b"half a li", b"\xff\xfa\x1f\x00", b"/last 100\r\n"];
        for (connection, part) in parts.iter().enumerate() {
            assert!(written("reset", 0, connection as u64, 1).ends_with(part), "connection {connection}");
        }
    }

    #[test]
    fn rooms_and_names_are_new_each_time() {
        let rooms = written("new-rooms", 0, 0, 3);
        assert!(contains(&rooms, b"/join z-new3x0\r\n") && contains(&rooms, b"/join z-new3x1\r\n"));
        let names = written("names", 0, 0, 3);
        assert!(contains(&names, b"/nick n3x0x0\r\n") && contains(&names, b"/nick n3x0x1\r\n"));
    }
}
