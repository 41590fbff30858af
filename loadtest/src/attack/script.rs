//! The bytes that one connection of a bad client writes, in their order.

use super::kind::{End, Group, Room, Turn, Writes};
use crate::random::mix;

/// The bytes of one connection. The same seed, socket and connection give the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// The group of the connection's socket.
    group: &'static Group,
    /// The number of the group in the attack, which makes user names unique.
    group_number: usize,
    /// The seed of this connection.
    seed: u64,
    /// The position of the next segment.
    turn: Turn,
}

impl Script {
    pub(super) fn new(group: &'static Group, group_number: usize, socket: usize, connection: u64, seed: u64) -> Self {
        let seed = mix(seed ^ mix(group_number as u64) ^ mix((socket as u64) << 32 | (connection & 0xffff_ffff)));
        Self { group, group_number, seed, turn: Turn { socket, connection, segment: 0, random: 0 } }
    }

    /// Appends the JOIN line, where the group joins a room, and the group's opening.
    pub(super) fn open(&self, out: &mut Vec<u8>) {
        let Turn { socket, connection, .. } = self.turn;
        let room = match self.group.room {
            Room::None => String::new(),
            Room::Shared(name) => name.to_owned(),
            Room::PerSocket(name) => format!("{name}{socket}"),
            Room::PerConnection(name) => format!("{name}{socket}x{connection}"),
        };
        if !room.is_empty() {
            out.extend_from_slice(format!("JOIN {room} b{}x{socket}x{connection}\r\n", self.group_number).as_bytes());
        }
        out.extend_from_slice(self.group.opening);
    }

    /// Appends the next segment. Returns `false` when the connection writes no further one.
    pub(super) fn next_segment(&mut self, out: &mut Vec<u8>) -> bool {
        if matches!(self.group.ends, End::After { segments, .. } if self.turn.segment >= segments) {
            return false;
        }
        self.turn.random = mix(self.seed.wrapping_add(self.turn.segment));
        match self.group.writes {
            Writes::Nothing => return false,
            Writes::Cycle(segments) => {
                let count = segments.len() as u64;
                let at = usize::try_from(self.turn.segment % count.max(1)).unwrap_or(0);
                fill_in(segments[at], &self.turn, out);
            }
            Writes::Made(make) => make(&self.turn, out),
        }
        self.turn.segment += 1;
        true
    }
}

/// Appends a segment with its numbers filled in.
fn fill_in(segment: &[u8], turn: &Turn, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < segment.len() {
        let number = match &segment[at..] {
            [b'{', b'n', b'}', ..] => Some(turn.segment),
            [b'{', b's', b'}', ..] => Some(turn.socket as u64),
            [b'{', b'c', b'}', ..] => Some(turn.connection),
            _ => None,
        };
        if let Some(number) = number {
            out.extend_from_slice(number.to_string().as_bytes());
            at += 3;
        } else {
            out.push(segment[at]);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::{Ending, QUIET};
    use super::*;
    use std::time::Duration;

    static COUNTING: Group = Group {
        room: Room::Shared("pit"),
        opening: b"hello\n",
        writes: Writes::Cycle(&[b"a{n} {s}\n", b"{c}b\n"]),
        ends: End::After { segments: 3, hold: Duration::ZERO, how: Ending::Close },
        ..QUIET
    };

    #[test]
    fn script_joins_opens_and_numbers_its_segments() {
        let mut script = Script::new(&COUNTING, 2, 7, 5, 1);
        let mut out = Vec::new();
        script.open(&mut out);
        while script.next_segment(&mut out) {}
        assert_eq!(String::from_utf8(out).unwrap(), "JOIN pit b2x7x5\r\nhello\na0 7\n5b\na2 7\n");
    }

    #[test]
    fn random_numbers_follow_from_the_seed_and_the_position() {
        static RANDOM: Group =
            Group { writes: Writes::Made(|turn, out| out.extend_from_slice(&turn.random.to_le_bytes())), ..QUIET };
        let bytes = |socket, seed| {
            let mut out = Vec::new();
            Script::new(&RANDOM, 0, socket, 0, seed).next_segment(&mut out);
            out
        };
        assert_eq!(bytes(1, 2), bytes(1, 2));
        assert!(bytes(1, 2) != bytes(2, 2) && bytes(1, 2) != bytes(1, 3));
    }
}
