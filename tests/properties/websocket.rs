//! The WebSocket decoder in every chunking, beside a reference that has the whole stream in view.

use super::{chunkings, take_header};
use crate::net::codec::websocket::{FrameDecoder, FrameError, PeerClose, pong_frame};

/// The outcome of a stream.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    lines: Vec<u8>,
    frames: u32,
    end: Option<PeerClose>,
    error: Option<FrameError>,
}

fn decode(chunks: &[&[u8]]) -> Decoded {
    let (mut decoder, mut all) = (FrameDecoder::default(), Decoded::default());
    for chunk in chunks {
        match decoder.decode(chunk, &mut all.lines) {
            Ok(read) => {
                all.frames += read.frames;
                all.end = all.end.or(read.end);
                if let Some(ping) = read.ping {
                    assert!(pong_frame(&ping).len() <= 127);
                }
            }
            Err(error) => all.error = all.error.or(Some(error)),
        }
        if all.error.is_some() {
            // Of a line that is not complete more or fewer bytes may have come.
            all.lines.truncate(all.lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        }
        assert!(decoder.held_bytes() <= 300, "{} bytes are held", decoder.held_bytes());
    }
    all
}

/// Returns the lines of a stream that breaks no rule, frame by frame.
fn decode_by_reference(mut wire: &[u8]) -> Vec<u8> {
    let (mut lines, mut message_start) = (Vec::new(), 0);
    while let [first, second, rest @ ..] = wire {
        let (length, rest) = match (second & 0x7F, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, rest) => {
                let Some((length, rest)) = rest.split_first_chunk() else { break };
                (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), rest)
            }
            (126, _) => break,
            (short, rest) => (usize::from(short), rest),
        };
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { break };
        let most = length.min(rest.len());
        if first & 0x0F == 8 {
            break;
        }
        if first & 0x0F < 8 {
            lines.extend(rest[..most].iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
            if most == length && first & 0x80 != 0 {
                if lines[message_start..].last() != Some(&b'\n') {
                    lines.push(b'\n');
                }
                message_start = lines.len();
            }
        }
        wire = &rest[most..];
    }
    lines
}

/// Checks that a stream of frames comes to the same in every chunking, that at most a control frame is held, that complete
/// lines are UTF-8, and that the lines are those of the reference if no rule is broken.
///
/// The first byte is the seed of the chunks.
pub fn check_websocket(mut bytes: &[u8]) {
    let Some(&[seed]) = take_header(&mut bytes) else {
        return;
    };
    let whole = decode(&[bytes]);
    for chunks in chunkings(bytes, seed) {
        let mut decoded = decode(&chunks);
        if decoded.error.is_some() {
            // A call that fails does not tell the frames before.
            decoded.frames = whole.frames;
        }
        assert_eq!(decoded, whole, "{} chunks", chunks.len());
    }
    let end = whole.lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    assert!(str::from_utf8(&whole.lines[..end]).is_ok());
    if whole.error.is_none() {
        assert_eq!(decode_by_reference(bytes), whole.lines);
    }
}
