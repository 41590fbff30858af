//! IRC (RFC 1459, RFC 2812): a room is a channel. A server does not send a sender its own lines.

use super::{Frame, Protocol, cut_line};

/// The IRC protocol.
pub(super) struct Irc;

impl Protocol for Irc {
    fn encode_open(&self, name: &str, _room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n").as_bytes());
    }

    fn encode_join(&self, _name: &str, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("JOIN #{room}\r\n").as_bytes());
    }

    fn encode_line(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PRIVMSG #{room} :").as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn encode_pong(&self, token: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"PONG ");
        out.extend_from_slice(token);
        out.extend_from_slice(b"\r\n");
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
        let (length, line) = cut_line(bytes)?;
        Some((length, classify(line)))
    }

    fn echoes_to_sender(&self) -> bool {
        false
    }

    fn announces_joins(&self) -> bool {
        true
    }

    fn server_greets(&self) -> bool {
        false
    }
}

fn classify(line: &[u8]) -> Frame<'_> {
    if let Some(token) = line.strip_prefix(b"PING ") {
        return Frame::Ping(token);
    }
    if line.starts_with(b"ERROR ") {
        return Frame::Error(line);
    }
    // Before registration some servers tell of their lookups without a source.
    if line.starts_with(b"NOTICE ") {
        return Frame::Ignored;
    }
    let Some(rest) = line.strip_prefix(b":") else { return Frame::Unknown(line) };
    let mut words = rest.splitn(3, |byte| *byte == b' ');
    let source = words.next().unwrap_or_default();
    let nick = source.split(|byte| *byte == b'!').next().unwrap_or_default();
    let command = words.next().unwrap_or_default();
    let arguments = words.next().unwrap_or_default();
    match command {
        b"PRIVMSG" => match memchr::memmem::find(arguments, b" :") {
            Some(at) => Frame::Line { sender: Some(nick), text: &arguments[at + 2..] },
            None => Frame::Unknown(line),
        },
        b"PING" => Frame::Ping(arguments),
        b"JOIN" => Frame::Joined(nick),
        b"PART" | b"QUIT" => Frame::Left(nick),
        b"001" => Frame::Ready,
        // 422 reports a missing message of the day. All other 4xx and 5xx replies are refusals.
        [b'4' | b'5', _, _] if command != b"422" => Frame::Error(line),
        _ => Frame::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::super::assert_decodes;
    use super::*;

    #[test]
    fn every_kind_of_message_is_decoded() {
        let cases = [
            (":s.net 001 u1 :Welcome\r\n", Frame::Ready),
            (":s.net 422 u1 :no motd\r\n", Frame::Ignored),
            (":s.net 433 * u1 :Nickname in use\r\n", Frame::Error(b":s.net 433 * u1 :Nickname in use")),
            (":u1!u1@127.0.0.1 JOIN :#r1\r\n", Frame::Joined(b"u1")),
            (":u1!u1@127.0.0.1 QUIT :gone\r\n", Frame::Left(b"u1")),
            (":u1!u1@127.0.0.1 PRIVMSG #r1 :#text here\r\n", Frame::Line { sender: Some(b"u1"), text: b"#text here" }),
            ("PING :s.net\r\n", Frame::Ping(b":s.net")),
            (":s.net PING :123\r\n", Frame::Ping(b":123")),
            ("NOTICE * :*** Checking ident\r\n", Frame::Ignored),
            ("ERROR :Closing link\r\n", Frame::Error(b"ERROR :Closing link")),
        ];
        assert_decodes(&Irc, &cases);
    }
}
