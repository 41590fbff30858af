//! NATS core: a room is a subject. A server sends a publisher that subscribes its own lines.

use super::{Frame, Protocol, cut_line, parse_number};

/// The NATS protocol.
pub(super) struct Nats;

impl Protocol for Nats {
    fn encode_open(&self, _name: &str, _room: &str, _out: &mut Vec<u8>) {}

    fn encode_join(&self, name: &str, room: &str, out: &mut Vec<u8>) {
        let options =
            format!(r#"{{"verbose":false,"pedantic":false,"name":"{name}","lang":"loadtest","version":"1"}}"#);
        // The reply to PING confirms the subscription before it.
        out.extend_from_slice(format!("CONNECT {options}\r\nSUB {room} 1\r\nPING\r\n").as_bytes());
    }

    fn encode_line(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PUB {room} {}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn encode_pong(&self, _token: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"PONG\r\n");
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
        let (length, line) = cut_line(bytes)?;
        let frame = match line {
            b"PONG" => Frame::Entered,
            b"PING" => Frame::Ping(b""),
            b"+OK" => Frame::Ignored,
            _ if line.starts_with(b"INFO ") => Frame::Ready,
            _ if line.starts_with(b"-ERR") => Frame::Error(line),
            _ if line.starts_with(b"MSG ") => return decode_message(bytes, length, line),
            _ => Frame::Unknown(line),
        };
        Some((length, frame))
    }

    fn announces_joins(&self) -> bool {
        false
    }

    fn server_greets(&self) -> bool {
        true
    }
}

/// Decodes `MSG subject sid size`, the text and CR LF. `head` is the length of the first line.
fn decode_message<'a>(bytes: &'a [u8], head: usize, line: &'a [u8]) -> Option<(usize, Frame<'a>)> {
    let size = line.rsplit(|byte| *byte == b' ').next().and_then(parse_number::<usize>);
    let Some(size) = size else { return Some((head, Frame::Unknown(line))) };
    let text = bytes.get(head..head + size)?;
    bytes.get(head + size..head + size + 2)?;
    Some((head + size + 2, Frame::Line { sender: None, text }))
}

#[cfg(test)]
mod tests {
    use super::super::assert_decodes;
    use super::*;

    #[test]
    fn every_kind_of_message_is_decoded() {
        let cases = [
            ("INFO {}\r\n", Frame::Ready),
            ("PONG\r\n", Frame::Entered),
            ("PING\r\n", Frame::Ping(b"")),
            ("MSG r1 1 5\r\nhe\nlo\r\n", Frame::Line { sender: None, text: b"he\nlo" }),
            ("-ERR 'bad'\r\n", Frame::Error(b"-ERR 'bad'")),
        ];
        assert_decodes(&Nats, &cases);
        assert_eq!(Nats.decode(b"MSG r1 1 5\r\nhello\r"), None);
    }
}
