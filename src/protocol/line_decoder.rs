//! Line decoder: cuts a peer's data into lines and bounds their length.

use memchr::{memchr2, memchr3};
use std::borrow::Cow;

/// BS, which erases a character: the Backspace key of some terminals sends it.
const BS: u8 = 0x08;

/// DEL, which erases a character: the Backspace key of most terminals sends it.
const DEL: u8 = 0x7F;

/// The longest UTF-8 character, in bytes (RFC 3629, section 3).
const MAX_CHARACTER_LENGTH: usize = 4;

/// Cuts chunks of any size into lines; allocates only for an unfinished line.
///
/// The input is data without telnet commands. Telnet commands that edit the line are method calls.
///
/// - LF, CR LF and CR NUL end a line (RFC 854, page 11, sends a bare CR as CR NUL).
/// - A CR before any other byte is dropped, and so is any other NUL.
/// - BS and DEL erase the last character of the unfinished line, if there is one: a terminal in
///   character mode leaves editing to the server.
///
/// The length of a line counts all bytes before its LF or NUL, including dropped and erased ones, so a
/// peer that types and erases forever still reaches the bound. The decoder reads each byte three times at
/// most, in chunks of any size.
#[derive(Debug)]
pub struct LineDecoder {
    /// The bytes of the unfinished line that were not dropped or erased.
    unfinished: Vec<u8>,
    /// The longest line, in bytes.
    max_line: u32,
    /// The length of the unfinished line, in bytes received.
    length: u32,
    /// Whether the last byte was a CR, which may begin a line end. `length` counts it.
    after_cr: bool,
    /// Whether a line has ended in CR LF or CR NUL.
    nvt: bool,
    /// Whether an LF or NUL that comes next belongs to a line end whose CR the line editor has taken.
    skip_line_end_rest: bool,
}

/// A line is longer than the bound. The decoder must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl LineDecoder {
    /// Creates a decoder for lines of at most `max_line` bytes; 4 GiB or more is a bound of 4 GiB.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        let max_line = u32::try_from(max_line).unwrap_or(u32::MAX);
        Self { unfinished: Vec::new(), max_line, length: 0, after_cr: false, nvt: false, skip_line_end_rest: false }
    }

    /// Removes the next whole line from the front of `input` and returns it without its line end.
    ///
    /// Returns `None` if no line ends in `input`; the decoder has then taken all of `input` into the
    /// unfinished line.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as the unfinished line exceeds the bound.
    pub fn next_line<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Cow<'a, [u8]>, LineTooLong>> {
        if let [first, rest @ ..] = *input
            && std::mem::take(&mut self.skip_line_end_rest)
            && matches!(first, b'\n' | 0)
        {
            *input = rest;
        }
        while !input.is_empty() {
            let (text, rest) = input.split_at(memchr3(b'\n', b'\r', 0, input).unwrap_or(input.len()));
            if let Some(end) = self.whole_line_end(text, rest) {
                *input = &rest[end..];
                return Some(Ok(Cow::Borrowed(text)));
            }
            if let Err(too_long) = self.append_text(text) {
                return Some(Err(too_long));
            }
            let Some((control, after)) = rest.split_first() else {
                *input = rest;
                break;
            };
            *input = after;
            match self.apply_control(*control) {
                Ok(false) => {}
                Ok(true) => return Some(Ok(Cow::Owned(self.take_unfinished()))),
                Err(too_long) => return Some(Err(too_long)),
            }
        }
        None
    }

    /// Returns the unfinished line at the end of the stream, or `None` if nothing is left of it.
    ///
    /// A CR alone is an empty line, since a CR begins a line end.
    pub(crate) fn finish(&mut self) -> Option<Vec<u8>> {
        let has_line = !self.unfinished.is_empty() || self.after_cr;
        let line = self.take_unfinished();
        has_line.then_some(line)
    }

    /// Erases the last character of the unfinished line, if there is one, as telnet's EC (RFC 854,
    /// page 13), BS and DEL do. A character is a UTF-8 character or one byte of invalid UTF-8.
    pub(crate) fn erase_character(&mut self) {
        let line = &self.unfinished;
        let is_start = |at: &usize| line[*at] & 0xC0 != 0x80;
        let reach = line.len().saturating_sub(MAX_CHARACTER_LENGTH)..line.len();
        let start = reach.rev().find(is_start).filter(|start| match str::from_utf8(&line[*start..]) {
            Ok(_) => true,
            // The line ends in an incomplete character, which counts as one.
            Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
        });
        self.unfinished.truncate(start.unwrap_or(line.len().saturating_sub(1)));
    }

    /// Drops the unfinished line, as telnet's EL and IP do. The length of the line starts again from
    /// zero, but a CR at its end may still begin a line end.
    pub(crate) fn erase_line(&mut self) {
        self.unfinished = Vec::new();
        self.length = u32::from(self.after_cr);
    }

    /// Tells the decoder that the line editor has ended a line with a CR: an LF or NUL that comes next
    /// belongs to the same line end and is dropped.
    pub(crate) fn continue_after_cr(&mut self) {
        self.skip_line_end_rest = true;
    }

    /// Returns the longest line, in bytes.
    pub(crate) fn max_line(&self) -> usize {
        self.max_line as usize
    }

    /// Returns whether a line has ended in CR LF or CR NUL, as a network virtual terminal (NVT, RFC 854)
    /// ends lines.
    #[must_use]
    pub(crate) fn is_nvt(&self) -> bool {
        self.nvt
    }

    /// Returns whether the unfinished line starts with `bytes`.
    #[must_use]
    pub(crate) fn starts_with(&self, bytes: &[u8]) -> bool {
        self.unfinished.starts_with(bytes)
    }

    /// Returns the length of the line end at the start of `rest`, if `text` is a whole line that can be
    /// borrowed as it is.
    fn whole_line_end(&mut self, text: &[u8], rest: &[u8]) -> Option<usize> {
        let end = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n' | 0, ..] => 2,
            _ => return None,
        };
        let length = text.len() + end - 1;
        if self.length > 0 || length > self.max_line as usize || memchr2(BS, DEL, text).is_some() {
            return None;
        }
        self.nvt |= end == 2;
        Some(end)
    }

    /// Appends `text`, which holds no LF, CR or NUL, to the unfinished line and applies its BS and DEL.
    fn append_text(&mut self, mut text: &[u8]) -> Result<(), LineTooLong> {
        if text.is_empty() {
            return Ok(());
        }
        self.add_length(text.len())?;
        self.after_cr = false;
        while let Some(at) = memchr2(BS, DEL, text) {
            self.unfinished.extend_from_slice(&text[..at]);
            self.erase_character();
            text = &text[at + 1..];
        }
        self.unfinished.extend_from_slice(text);
        Ok(())
    }

    /// Applies an LF, CR or NUL; returns whether it ends the unfinished line.
    fn apply_control(&mut self, control: u8) -> Result<bool, LineTooLong> {
        if control == b'\n' || (control == 0 && self.after_cr) {
            self.nvt |= self.after_cr;
            return Ok(true);
        }
        self.add_length(1)?;
        self.after_cr = control == b'\r';
        Ok(false)
    }

    /// Adds `bytes` to the length of the unfinished line.
    fn add_length(&mut self, bytes: usize) -> Result<(), LineTooLong> {
        let length = self.length as usize + bytes;
        self.length = u32::try_from(length).ok().filter(|length| *length <= self.max_line).ok_or(LineTooLong)?;
        Ok(())
    }

    /// Takes the unfinished line and starts a new one.
    fn take_unfinished(&mut self) -> Vec<u8> {
        self.length = 0;
        self.after_cr = false;
        std::mem::take(&mut self.unfinished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a stream, then the result of `finish` or the error.
    #[derive(Debug, PartialEq)]
    struct Decoded {
        lines: Vec<Vec<u8>>,
        rest: Result<Option<Vec<u8>>, LineTooLong>,
        nvt: bool,
    }

    /// Decodes `chunks` and checks that the unfinished line stays within the bound.
    fn decode(chunks: &[&[u8]], max: usize) -> Decoded {
        let mut decoder = LineDecoder::new(max);
        let mut lines = Vec::new();
        let mut rest = Ok(None);
        'stream: for chunk in chunks {
            let mut input = *chunk;
            while let Some(line) = decoder.next_line(&mut input) {
                match line {
                    Ok(line) => lines.push(line.into_owned()),
                    Err(too_long) => {
                        rest = Err(too_long);
                        break 'stream;
                    }
                }
            }
            assert!(input.is_empty() && decoder.unfinished.len() <= max, "{} of {max}", decoder.unfinished.len());
            assert!(decoder.unfinished.capacity() <= (2 * max).max(8), "{} for {max}", decoder.unfinished.capacity());
        }
        let nvt = decoder.is_nvt();
        Decoded { lines, rest: rest.map(|_: Option<Vec<u8>>| decoder.finish()), nvt }
    }

    /// Decodes byte by byte: the specification that the tests compare `LineDecoder` with.
    fn reference_decode(bytes: &[u8], max: usize) -> Decoded {
        let mut stream = Decoded { lines: Vec::new(), rest: Ok(None), nvt: false };
        let (mut line, mut length, mut after_cr) = (Vec::new(), 0, false);
        for byte in bytes {
            let was_cr = std::mem::replace(&mut after_cr, *byte == b'\r');
            if *byte == b'\n' || (*byte == 0 && was_cr) {
                stream.nvt |= was_cr;
                stream.lines.push(std::mem::take(&mut line));
                length = 0;
                continue;
            }
            length += 1;
            if length > max {
                stream.rest = Err(LineTooLong);
                return stream;
            }
            match byte {
                b'\r' | 0 => {}
                0x08 | 0x7F => {
                    let width = line.utf8_chunks().last().map_or(0, |last| match last.invalid().len() {
                        0 => last.valid().chars().next_back().map_or(0, char::len_utf8),
                        invalid => invalid,
                    });
                    line.truncate(line.len() - width);
                }
                byte => line.push(*byte),
            }
        }
        stream.rest = Ok(Some(line).filter(|line| after_cr || !line.is_empty()));
        stream
    }

    #[track_caller]
    fn assert_lines(typed: &[u8], lines: &[&[u8]]) {
        let stream = decode(&[typed], 100);
        assert_eq!(stream.lines, lines, "{:?}", typed.escape_ascii().to_string());
        assert_eq!(stream.rest, Ok(None));
    }

    #[test]
    fn lf_cr_lf_and_cr_nul_end_a_line() {
        assert_lines(b"one\ntwo\r\nthree\r\0\n\r\nend\n", &[b"one", b"two", b"three", b"", b"", b"end"]);
    }

    #[test]
    fn cr_inside_a_line_is_dropped() {
        assert_lines(b"a\rb\r\r\n\r\r\0\rc\n", &[b"ab", b"", b"c"]);
    }

    #[test]
    fn lf_or_nul_after_a_cr_that_ended_a_line_elsewhere_is_skipped() {
        for (typed, line) in [("\nnext\n", "next"), ("\0next\n", "next"), ("next\n", "next"), ("\n\n", "")] {
            for chunk in [1, 100] {
                let mut decoder = LineDecoder::new(100);
                decoder.continue_after_cr();
                let mut lines = Vec::new();
                for mut input in typed.as_bytes().chunks(chunk) {
                    lines.extend(
                        std::iter::from_fn(|| decoder.next_line(&mut input)).map(|line| line.unwrap().into_owned()),
                    );
                }
                assert_eq!(lines, [line.as_bytes()], "{typed:?}");
            }
        }
    }

    #[test]
    fn nul_inside_a_line_is_dropped() {
        assert_lines(b"\0a\0\0b\0\nc\r\0\0d\n", &[b"ab", b"c", b"d"]);
    }

    #[test]
    fn backspace_erases_one_character_of_the_unfinished_line() {
        for erase in ["\u{8}", "\u{7F}"] {
            let typed = |line: &str| format!("{}\n", line.replace('<', erase)).into_bytes();
            assert_lines(&typed("hellp<o"), &[b"hello"]);
            assert_lines(&typed("<<a<<b"), &[b"b"]);
            assert_lines(&typed("gr\u{FC}<u\u{1F600}<!"), &[b"gru!"]);
            assert_lines(&typed("one\n<two"), &[b"one", b"two"]);
            assert_lines(&typed("ab\r<"), &[b"a"]);
            assert_lines(&typed("ab<\r"), &[b"a"]);
        }
        for (typed, line) in [
            (&b"a\xFF\xFF\x08"[..], &b"a\xFF"[..]),
            (b"a\x80\x80\x08", b"a\x80"),
            (b"a\xC3\xA9\x80\x08", b"a\xC3\xA9"),
            (b"a\xE2\x82\x08", b"a"),
        ] {
            assert_lines(&[typed, b"\n"].concat(), &[line]);
        }
    }

    #[test]
    fn erase_calls_edit_the_unfinished_line() {
        let mut decoder = LineDecoder::new(10);
        decoder.erase_character();
        decoder.erase_line();
        for (before, erase, after, line) in [
            ("caf\u{E9}", LineDecoder::erase_character as fn(&mut LineDecoder), "e\n", "cafe"),
            ("dropped", LineDecoder::erase_line, "kept\n", "kept"),
            ("erased\r", LineDecoder::erase_line, "\n", ""),
            ("erased\r", LineDecoder::erase_character, "\0", "erase"),
            ("0123456789", LineDecoder::erase_line, "0123456789\n", "0123456789"),
        ] {
            let mut input = before.as_bytes();
            assert_eq!(decoder.next_line(&mut input), None);
            erase(&mut decoder);
            input = after.as_bytes();
            assert_eq!(decoder.next_line(&mut input), Some(Ok(line.as_bytes().into())), "{before}");
        }
        assert!(decoder.is_nvt());
    }

    #[test]
    fn max_line_counts_dropped_and_erased_bytes_but_not_the_line_end() {
        for (typed, fits) in [
            ("1234\n", true),
            ("12345\n", false),
            ("123\r\n", true),
            ("1234\r\n", false),
            ("123\r\0", true),
            ("1234\r\0", false),
            ("12\u{8}3\n", true),
            ("12\u{8}34\n", false),
            ("\u{8}\u{8}\u{8}\u{8}\n", true),
            ("\u{8}\u{8}\u{8}\u{8}\u{8}\n", false),
            ("\0\0\0\0\0", false),
            ("\r\r\r\r\r\n", false),
            ("1234\n1234", true),
        ] {
            assert_eq!(decode(&[typed.as_bytes()], 4).rest.is_ok(), fits, "{typed:?}");
        }
        assert_eq!(decode(&[b"12345"], 4).rest, Err(LineTooLong), "the error comes before the line end");
        let mut decoder = LineDecoder::new(4);
        assert_eq!(decoder.next_line(&mut &b"1234"[..]), None);
        decoder.erase_character();
        assert_eq!(decoder.next_line(&mut &b"5"[..]), Some(Err(LineTooLong)), "an erased byte still counts");
    }

    #[test]
    fn finish_returns_the_unfinished_line() {
        for (typed, rest) in
            [("a", Some("a")), ("a\r", Some("a")), ("\r", Some("")), ("", None), ("a\n", None), ("a\u{8}\0", None)]
        {
            assert_eq!(decode(&[typed.as_bytes()], 9).rest, Ok(rest.map(Vec::from)), "{typed:?}");
        }
    }

    #[test]
    fn cr_lf_and_cr_nul_show_that_the_peer_is_an_nvt() {
        for (typed, nvt) in [("a\n\rb\n\0\n", false), ("a\r\n", true), ("\r\0", true), ("a\r\r\n", true)] {
            assert_eq!(decode(&[typed.as_bytes()], 9).nvt, nvt, "{typed:?}");
        }
    }

    #[test]
    fn line_that_is_whole_in_the_input_is_borrowed() {
        for typed in ["hello\n", "hello\r\n", "hello\r\0"] {
            let mut decoder = LineDecoder::new(9);
            assert!(matches!(decoder.next_line(&mut typed.as_bytes()), Some(Ok(Cow::Borrowed(b"hello")))));
            assert_eq!(decoder.unfinished.capacity(), 0);
        }
    }

    /// Every connection holds a decoder, so its size bounds the memory of a quiet connection.
    #[test]
    fn line_decoder_stays_within_40_bytes() {
        assert!(size_of::<LineDecoder>() <= 40, "{}", size_of::<LineDecoder>());
    }

    proptest! {
        /// Any chunking of any bytes gives the same lines as the byte-by-byte specification.
        #[test]
        fn chunking_does_not_change_the_lines(
            bytes in prop::collection::vec(prop_oneof![
                prop::sample::select(&b"\n\r\0\x08\x7F\xC3\xA9\xE2\x82\xACab"[..]),
                any::<u8>(),
            ], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..20),
            max in 1usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let expected = reference_decode(&bytes, max);
            prop_assert_eq!(&decode(&[&bytes], max), &expected);
            prop_assert_eq!(&decode(&chunks, max), &expected);
            prop_assert_eq!(&decode(&single, max), &expected);
        }
    }
}
