//! Redis pub/sub over RESP3, in which a subscriber may publish: a room is a channel.

use super::{Frame, Protocol, cut_line, parse_number};

/// The Redis protocol.
pub(super) struct Redis;

impl Protocol for Redis {
    fn encode_open(&self, _name: &str, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("HELLO 3\r\nSUBSCRIBE {room}\r\n").as_bytes());
    }

    fn encode_join(&self, _name: &str, _room: &str, _out: &mut Vec<u8>) {}

    fn encode_line(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        let (channel, size) = (room.len(), text.len());
        out.extend_from_slice(format!("*3\r\n$7\r\nPUBLISH\r\n${channel}\r\n{room}\r\n${size}\r\n").as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn encode_pong(&self, _token: &[u8], _out: &mut Vec<u8>) {}

    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
        let (head, line) = cut_line(bytes)?;
        let frame = match line.first() {
            Some(b'>') => return decode_push(bytes, head, line),
            Some(b'-' | b'!') => Frame::Error(line),
            Some(b'%' | b'*' | b'~' | b'$' | b'=' | b':' | b'+' | b'_' | b'#' | b',') => Frame::Ignored,
            _ => Frame::Unknown(line),
        };
        Some((value_length(bytes)?, frame))
    }

    fn announces_joins(&self) -> bool {
        false
    }

    fn server_greets(&self) -> bool {
        false
    }
}

/// Decodes a push: `>3`, then either `message`, channel and text, or `subscribe`, channel and count.
fn decode_push<'a>(bytes: &'a [u8], head: usize, line: &'a [u8]) -> Option<(usize, Frame<'a>)> {
    let total = value_length(bytes)?;
    if line != b">3" {
        return Some((total, Frame::Ignored));
    }
    let (kind_end, kind) = bulk_string(bytes, head)?;
    let channel_end = kind_end + value_length(&bytes[kind_end..])?;
    match kind {
        b"message" => Some((total, Frame::Line { sender: None, text: bulk_string(bytes, channel_end)?.1 })),
        b"subscribe" => Some((total, Frame::Entered)),
        _ => Some((total, Frame::Ignored)),
    }
}

/// Returns the end and the text of the bulk string at an offset.
fn bulk_string(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let (head, line) = cut_line(&bytes[at..])?;
    let size = parse_number::<usize>(line.strip_prefix(b"$")?)?;
    Some((at + head + size + 2, bytes.get(at + head..at + head + size)?))
}

/// Returns the length of the first value of any type; `None` when it is incomplete.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, line) = cut_line(bytes)?;
    let (kind, count) = line.split_first()?;
    let count = || parse_number::<usize>(count).unwrap_or(0);
    let values = match kind {
        b'$' | b'=' | b'!' => {
            let end = at + count() + 2;
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'>' | b'~' => count(),
        b'%' => 2 * count(),
        _ => 0,
    };
    for _ in 0..values {
        at += value_length(bytes.get(at..)?)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::super::assert_decodes;
    use super::*;

    #[test]
    fn every_kind_of_message_is_decoded() {
        let cases = [
            ("%1\r\n$5\r\nproto\r\n:3\r\n", Frame::Ignored),
            (">3\r\n$9\r\nsubscribe\r\n$2\r\nr1\r\n:1\r\n", Frame::Entered),
            (">3\r\n$7\r\nmessage\r\n$2\r\nr1\r\n$5\r\nhe\nlo\r\n", Frame::Line { sender: None, text: b"he\nlo" }),
            (":12\r\n", Frame::Ignored),
            ("-ERR no\r\n", Frame::Error(b"-ERR no")),
        ];
        assert_decodes(&Redis, &cases);
        for (text, _) in cases {
            assert_eq!(Redis.decode(&text.as_bytes()[..text.len() - 1]), None, "{text}");
        }
    }
}
