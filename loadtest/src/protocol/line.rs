//! Roomcast's own protocol: text lines.

use super::{Frame, Protocol, cut_line, parse_number};

/// The start of a notice of the server.
const NOTICE: &[u8] = b"*** ";

/// The protocol of Roomcast.
pub(super) struct Line;

impl Protocol for Line {
    fn encode_open(&self, _name: &str, _room: &str, _out: &mut Vec<u8>) {}

    fn encode_join(&self, name: &str, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("JOIN {room} {name}\n").as_bytes());
    }

    fn encode_line(&self, _room: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    fn encode_pong(&self, _token: &[u8], _out: &mut Vec<u8>) {}

    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
        let (length, line) = cut_line(bytes)?;
        // User lines are decoded first, because nearly all lines are user lines, and no message of the server looks
        // like one. User lines end with a bare LF: a CR before it belongs to the text.
        let frame = decode_user_line(&bytes[..length - 1]).unwrap_or_else(|| classify(line));
        Some((length, frame))
    }

    fn announces_joins(&self) -> bool {
        true
    }

    fn is_name_taken(&self, refusal: &str) -> bool {
        refusal.starts_with("the name ") && refusal.contains(" is taken in ")
    }

    fn server_greets(&self) -> bool {
        true
    }
}

/// Decodes the line of a user, whose name has no space. Texts of notices may contain a colon.
fn decode_user_line(line: &[u8]) -> Option<Frame<'_>> {
    if line.starts_with(NOTICE) {
        return None;
    }
    let at = memchr::memmem::find(&line[..line.len().min(24)], b": ")?;
    Some(Frame::Line { sender: Some(&line[..at]), text: &line[at + 2..] })
}

fn classify(line: &[u8]) -> Frame<'_> {
    if let Some(name) = line.strip_suffix(b" has joined") {
        return Frame::Joined(name);
    }
    if let Some(name) = line.strip_suffix(b" has left") {
        return Frame::Left(name);
    }
    if let Some(notice) = line.strip_prefix(NOTICE) {
        return classify_notice(notice);
    }
    match line {
        b"Welcome! Use the command:" => Frame::Ignored,
        b"JOIN <ROOMNAME> <USERNAME>" => Frame::Ready,
        b"ERROR" => Frame::Error(line),
        _ => Frame::Unknown(line),
    }
}

/// Decodes the text of a notice of the server. A notice that the generator does not know is ignored.
fn classify_notice(notice: &[u8]) -> Frame<'_> {
    if notice.starts_with(b"this room is on ") || notice.starts_with(b"the room is whole again") {
        return Frame::Split;
    }
    let skipped = notice.strip_suffix(b" lines skipped").or_else(|| notice.strip_suffix(b" line skipped"));
    let skipped = skipped.and_then(parse_number).map(Frame::Skipped);
    skipped.or_else(|| decode_gap(notice).map(Frame::Missing)).unwrap_or(Frame::Ignored)
}

/// Returns the number of a notice of missing lines: `32 lines from node n2 are missing`, or `1 line from node n2 is missing`.
fn decode_gap(notice: &[u8]) -> Option<u64> {
    let digits = notice.iter().position(|byte| *byte == b' ')?;
    let (count, rest) = notice.split_at(digits);
    let lines: u32 = parse_number(count)?;
    let node = match lines {
        1 => rest.strip_prefix(b" line from node ")?.strip_suffix(b" is missing")?,
        _ => rest.strip_prefix(b" lines from node ")?.strip_suffix(b" are missing")?,
    };
    (!node.is_empty()).then_some(lines.into())
}

#[cfg(test)]
mod tests {
    use super::super::assert_decodes;
    use super::*;

    #[test]
    fn every_kind_of_message_is_decoded() {
        let cases = [
            ("Welcome! Use the command:\n", Frame::Ignored),
            ("JOIN <ROOMNAME> <USERNAME>\n", Frame::Ready),
            ("u1 has joined\n", Frame::Joined(b"u1")),
            ("u1 has left\r\n", Frame::Left(b"u1")),
            ("u1: #text\n", Frame::Line { sender: Some(b"u1"), text: b"#text" }),
            ("u1: #text\r\n", Frame::Line { sender: Some(b"u1"), text: b"#text\r" }),
            ("*** 12 lines skipped\n", Frame::Skipped(12)),
            ("*** 1 line skipped\n", Frame::Skipped(1)),
            ("*** server is shutting down\n", Frame::Ignored),
            ("*** 32 lines from node n2 are missing\n", Frame::Missing(32)),
            ("*** 1 line from node n2 is missing\r\n", Frame::Missing(1)),
            ("*** 3 lines from node a: b are missing\n", Frame::Missing(3)),
            ("*** 1 lines from node n2 are missing\n", Frame::Ignored),
            ("*** 2 lines from node  are missing\n", Frame::Ignored),
            ("*** many lines from node n2 are missing\n", Frame::Ignored),
            ("*** this room is on n1 only for now\n", Frame::Split),
            ("*** this room is on n1: n2 is away\n", Frame::Split),
            ("*** the room is whole again: 2 came, 1 left\n", Frame::Split),
            ("ERROR\n", Frame::Error(b"ERROR")),
            ("HTTP/1.1 400 Bad Request\r\n", Frame::Unknown(b"HTTP/1.1 400 Bad Request")),
        ];
        assert_decodes(&Line, &cases);
        assert_eq!(Line.decode(b"u1: half"), None);
    }

    #[test]
    fn refusal_of_a_taken_name_is_told_apart() {
        assert!(
            Line.is_name_taken("the name u1 is taken in r1: connect again and choose another, for example: JOIN r1 u2")
        );
        assert!(!Line.is_name_taken("the server is full"));
    }
}
