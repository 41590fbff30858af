//! The line decoder, beside a reference that has the whole stream in view.

use super::{chunkings, take_header};
use crate::protocol::line_decoder::{LineDecoder, LineTooLong};

/// The bytes that erase a character, BS and DEL.
const ERASING: [u8; 2] = [0x08, 0x7F];

/// The lines of a stream, and the error with which it ended.
#[derive(Debug, Default, PartialEq)]
struct Lines {
    texts: Vec<Vec<u8>>,
    too_long: Option<LineTooLong>,
    nvt: bool,
}

fn decode(chunks: &[&[u8]], max_line: usize) -> Lines {
    let (mut decoder, mut lines) = (LineDecoder::new(max_line), Lines::default());
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(line) = decoder.next_line(&mut input) {
            match line {
                Ok(line) => lines.texts.push(line.into_owned()),
                Err(too_long) => return Lines { too_long: Some(too_long), ..lines },
            }
        }
        assert!(input.is_empty(), "the decoder takes all of its input");
    }
    lines.texts.extend(decoder.finish());
    lines.nvt = decoder.is_nvt();
    lines
}

/// Decodes a stream without [`ERASING`] bytes by the rules above [`LineDecoder`].
fn decode_by_reference(stream: &[u8], max_line: usize) -> Lines {
    let (mut decoded, mut line, mut length) = (Lines::default(), Vec::new(), 0);
    let (mut has_sent_lf, mut ends_in_cr, mut at) = (false, false, 0);
    while let Some(&byte) = stream.get(at) {
        at += 1;
        length += usize::from(byte != b'\n');
        if length > max_line {
            return Lines { too_long: Some(LineTooLong), nvt: false, ..decoded };
        }
        let next = stream.get(at);
        let ends = match byte {
            b'\n' => true,
            b'\r' => !has_sent_lf || matches!(next, Some(b'\n' | 0)),
            _ => false,
        };
        ends_in_cr = byte == b'\r' && !ends;
        match byte {
            _ if ends => {
                decoded.texts.push(std::mem::take(&mut line));
                length = 0;
                decoded.nvt |= byte == b'\r';
                if byte == b'\r' {
                    at += skip_line_end(&stream[at..], has_sent_lf, &mut decoded.texts);
                }
                has_sent_lf |= stream[at - 1] == b'\n';
            }
            b'\r' | 0 => {}
            _ => line.push(byte),
        }
    }
    if ends_in_cr || !line.is_empty() {
        decoded.texts.push(line);
    }
    decoded
}

/// Returns the length of what belongs to the line end of a line that a CR ended, and adds the empty lines that further
/// CRs end.
fn skip_line_end(mut rest: &[u8], has_sent_lf: bool, lines: &mut Vec<Vec<u8>>) -> usize {
    let length = rest.len();
    while !has_sent_lf && rest.first() == Some(&b'\r') && rest.get(1) != Some(&b'\n') {
        lines.push(Vec::new());
        rest = &rest[1..];
    }
    let end = match rest {
        [b'\r', b'\n', ..] if !has_sent_lf => 2,
        [b'\n' | 0, ..] => 1,
        _ => 0,
    };
    length - rest.len() + end
}

/// Checks that a stream has the same lines in every chunking, that no line exceeds the bound or holds a byte that ends a
/// line or erases, and that the lines are those of the reference if no byte erases.
///
/// The first byte is the longest line, the second byte the seed of the chunks.
pub fn check_lines(mut bytes: &[u8]) {
    let Some(&[max_line, seed]) = take_header(&mut bytes) else {
        return;
    };
    let max_line = usize::from(max_line);
    let whole = decode(&[bytes], max_line);
    for chunks in chunkings(bytes, seed) {
        assert_eq!(decode(&chunks, max_line), whole, "{} chunks", chunks.len());
    }
    for line in &whole.texts {
        assert!(line.len() <= max_line, "a line exceeds the bound");
        assert!(!line.iter().any(|byte| b"\n\r\0\x08\x7F".contains(byte)), "{:?}", line.escape_ascii());
    }
    if !bytes.iter().any(|byte| ERASING.contains(byte)) {
        assert_eq!(decode_by_reference(bytes, max_line), whole);
    }
}
