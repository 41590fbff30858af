//! Messages as JSON lines: each message is one line of JSON.
//!
//! A line that comes from another machine is bounded, so that the other side cannot fill the memory of this one.

use std::io::{self, BufRead, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of a line from another machine. The largest message is a report of a run of 24 hours, with about 2 KiB of
/// histogram for each second.
pub(super) const MAX_LINE_BYTES: usize = 256 * 1024 * 1024;

/// Writes a message as one line, in one write.
pub(super) fn write_line(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Reads the next line of at most `bound` bytes. Returns `None` at the end of the input.
///
/// # Errors
/// Fails when a line is longer, or when the input ends within a line.
pub(super) fn read_line(input: &mut impl BufRead, bound: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(bound as u64 + 1).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= bound => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message is longer than {bound} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Decodes a line.
///
/// # Errors
/// Fails when the line is no message of this type.
pub(super) fn decode<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    serde_json::from_slice(line)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("a message is malformed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_up_to_their_bound() {
        let mut input: &[u8] = b"1234\n\n12345\n";
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(b"1234".to_vec()));
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(Vec::new()));
        let error = read_line(&mut input, 4).unwrap_err().to_string();
        assert_eq!(error, "a message is longer than 4 bytes");
    }

    #[test]
    fn end_of_the_input_within_a_line_is_an_error() {
        let mut input: &[u8] = b"12\n3";
        assert_eq!(read_line(&mut input, 9).unwrap(), Some(b"12".to_vec()));
        assert_eq!(read_line(&mut input, 9).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_line(&mut &b""[..], 9).unwrap(), None);
    }

    #[test]
    fn message_is_written_as_one_line() {
        let mut out = Vec::new();
        write_line(&mut out, &(1, "a\nb")).unwrap();
        assert_eq!(out, b"[1,\"a\\nb\"]\n");
        assert_eq!(decode::<(u8, String)>(&out).unwrap(), (1, "a\nb".to_owned()));
        assert!(decode::<u8>(b"{").unwrap_err().to_string().starts_with("a message is malformed"));
    }
}
