//! Lines: cuts a stream of bytes into lines, and bounds their length.

use memchr::memchr2;
use std::borrow::Cow;

/// Cuts lines off chunks of any size; keeps memory only for an unfinished line.
///
/// A line ends in LF, CR LF or CR NUL (RFC 854, page 11: a bare CR is sent as CR NUL).
/// A line's length is all bytes before its LF or NUL, a CR among them.
#[derive(Debug)]
pub struct Lines {
    /// What came of the unfinished line. A CR at its end may be half of a line end.
    unfinished: Vec<u8>,
    /// The longest line, in bytes.
    max: usize,
}

/// A line grew longer than the bound; nothing behind it is cut any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Cuts lines of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { unfinished: Vec::new(), max }
    }

    /// Takes the next whole line off the front of `input`, without its line end.
    ///
    /// `None`: no line ends in `input`; all of it was taken in as the beginning of one.
    ///
    /// # Errors
    /// [`TooLong`], as soon as the line can't be within the bound any more.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Cow<'a, [u8]>, TooLong>> {
        let Some(end) = self.find_end(input) else {
            return self.keep(input).err().map(Err);
        };
        let (before, after) = input.split_at(end);
        *input = &after[1..];
        if self.unfinished.len() + before.len() > self.max {
            return Some(Err(TooLong));
        }
        if self.unfinished.is_empty() {
            return Some(Ok(Cow::Borrowed(before.strip_suffix(b"\r").unwrap_or(before))));
        }
        let mut line = std::mem::take(&mut self.unfinished);
        line.extend_from_slice(before);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(Ok(Cow::Owned(line)))
    }

    /// Takes the unfinished line when the stream has ended; `None` when the last line was whole.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.unfinished);
        if line.is_empty() {
            return None;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    /// Where in `input` the LF, or the NUL behind a CR, stands. Each byte is looked at once.
    fn find_end(&self, input: &[u8]) -> Option<usize> {
        if self.unfinished.last() == Some(&b'\r') && input.first() == Some(&0) {
            return Some(0);
        }
        let mut from = 0;
        loop {
            let at = from + memchr2(b'\n', b'\r', &input[from..])?;
            if input[at] == b'\n' {
                return Some(at);
            }
            if input.get(at + 1) == Some(&0) {
                return Some(at + 1);
            }
            from = at + 1;
        }
    }

    /// Keeps all of `input` as a part of the unfinished line.
    fn keep(&mut self, input: &mut &[u8]) -> Result<(), TooLong> {
        let part = std::mem::take(input);
        if self.unfinished.len() + part.len() > self.max {
            return Err(TooLong);
        }
        self.unfinished.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `finish` gives, or that a line was too long.
    type Rest = Result<Option<Vec<u8>>, TooLong>;

    /// All lines of `chunks`, and what came behind the last.
    fn cut(chunks: &[&[u8]], max: usize) -> (Vec<Vec<u8>>, Rest) {
        let mut lines = Lines::new(max);
        let mut cut = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(line) = lines.next(&mut input) {
                match line {
                    Ok(line) => cut.push(line.into_owned()),
                    Err(too_long) => return (cut, Err(too_long)),
                }
            }
        }
        (cut, Ok(lines.finish()))
    }

    #[test]
    fn three_line_ends() {
        let (lines, rest) = cut(&[b"one\ntwo\r\nthree\r\0\n\r\nrest\r"], 100);
        assert_eq!(lines, [&b"one"[..], b"two", b"three", b"", b""]);
        assert_eq!(rest, Ok(Some(b"rest".to_vec())));
    }

    #[test]
    fn a_cr_inside_a_line_does_not_end_it() {
        assert_eq!(cut(&[b"a\rb\r\r\n"], 100).0, [b"a\rb\r"]);
    }

    #[test]
    fn the_bound_counts_a_cr_and_not_the_line_end() {
        for (line, fits) in [("1234\n", true), ("12345\n", false), ("123\r\n", true), ("1234\r\n", false)] {
            assert_eq!(cut(&[line.as_bytes()], 4).1.is_ok(), fits, "{line:?}");
        }
        assert_eq!(cut(&[b"123\r\0"], 4).0, [b"123"]);
        assert_eq!(cut(&[b"1234\r\0"], 4).1, Err(TooLong));
        assert_eq!(cut(&[b"1234"], 4).1, Ok(Some(b"1234".to_vec())));
        assert_eq!(cut(&[b"12345"], 4).1, Err(TooLong), "known before its end comes");
    }

    #[test]
    fn a_whole_line_costs_no_copy() {
        let mut input = &b"hello\r\n"[..];
        assert!(matches!(Lines::new(9).next(&mut input), Some(Ok(Cow::Borrowed(b"hello")))));
    }

    proptest! {
        /// Any chunking of any bytes gives the same lines.
        #[test]
        fn chunks_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..20),
            max in 1usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = cut(&[&bytes], max);
            prop_assert_eq!(&cut(&chunks, max), &whole);
            prop_assert_eq!(&cut(&single, max), &whole);
        }
    }
}
