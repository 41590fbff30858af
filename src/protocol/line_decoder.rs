//! Lines: cuts a stream of bytes into lines as they were meant, and bounds their length.

use memchr::{memchr2, memchr3};
use std::borrow::Cow;

/// BS, which erases: what most terminals' Backspace key sends, or DEL.
const BS: u8 = 0x08;

/// DEL, which erases as [`BS`] does.
const DEL: u8 = 0x7F;

/// The longest character in UTF-8, in bytes (RFC 3629, section 3).
const MAX_CHARACTER_LENGTH: usize = 4;

/// Cuts lines off chunks of any size; keeps memory only for an unfinished line.
///
/// What comes in is data, telnet's commands taken out: commands that edit the line are calls here.
///
/// - LF ends a line, CR LF and CR NUL do (RFC 854, page 11: a bare CR is sent as CR NUL).
/// - A CR before anything else is dropped, and so is a NUL.
/// - BS and DEL erase the last character of the unfinished line, if it has one: a terminal in
///   character mode leaves it to the server.
///
/// A line's length is all bytes before its LF or NUL, those among them that were dropped or erased:
/// who types and erases without end has no line without end. Each byte is looked at three times at
/// most, however the chunks are cut.
#[derive(Debug)]
pub struct LineDecoder {
    /// What is left of the unfinished line.
    unfinished: Vec<u8>,
    /// The longest line, in bytes.
    max_line: u32,
    /// The unfinished line's length so far, in bytes as they came.
    length: u32,
    /// Whether the last byte was a CR, which may be half of a line end. It is counted in `length`.
    after_cr: bool,
    /// Whether a line has ended as an NVT's lines do.
    nvt: bool,
    /// Whether what comes next may be the second half of a line end that somebody else has taken.
    skip_line_end_rest: bool,
}

/// A line grew longer than the bound; nothing behind it is cut any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl LineDecoder {
    /// Cuts lines of at most `max` bytes; 4 GiB is as good as no bound.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        let max_line = u32::try_from(max_line).unwrap_or(u32::MAX);
        Self { unfinished: Vec::new(), max_line, length: 0, after_cr: false, nvt: false, skip_line_end_rest: false }
    }

    /// Takes the next whole line off the front of `input`, without its line end.
    ///
    /// `None`: no line ends in `input`; all of it was taken in as the beginning of one.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as the line can't be within the bound any more.
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

    /// Takes the unfinished line when the stream has ended; `None` when the last line was whole, or
    /// nothing is left of what came behind it. A CR counts as a line: it is how a line end begins.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let has_line = !self.unfinished.is_empty() || self.after_cr;
        let line = self.take_unfinished();
        has_line.then_some(line)
    }

    /// Erases the last character of the unfinished line, if it has one: telnet's EC (RFC 854,
    /// page 13), BS and DEL. A character is one in UTF-8, or one byte of what is none.
    pub fn erase_character(&mut self) {
        let line = &self.unfinished;
        let is_start = |at: &usize| line[*at] & 0xC0 != 0x80;
        let reach = line.len().saturating_sub(MAX_CHARACTER_LENGTH)..line.len();
        let start = reach.rev().find(is_start).filter(|start| match str::from_utf8(&line[*start..]) {
            Ok(_) => true,
            // Half of a character, as it comes when the other half was lost.
            Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
        });
        self.unfinished.truncate(start.unwrap_or(line.len().saturating_sub(1)));
    }

    /// Drops the unfinished line: telnet's EL and IP. Its bytes count no more. A CR at its end may
    /// still be half of a line end.
    pub fn erase_line(&mut self) {
        self.unfinished = Vec::new();
        self.length = u32::from(self.after_cr);
    }

    /// Goes on behind a CR that has ended a line elsewhere, in the line editor: an LF or a NUL right
    /// behind it belongs to that line's end.
    pub fn continue_after_cr(&mut self) {
        self.skip_line_end_rest = true;
    }

    /// Whether a line has ended in CR LF or CR NUL: the peer is an NVT (RFC 854), or is meant as one.
    #[must_use]
    pub fn is_nvt(&self) -> bool {
        self.nvt
    }

    /// Whether the unfinished line begins with these bytes.
    #[must_use]
    pub fn starts_with(&self, bytes: &[u8]) -> bool {
        self.unfinished.starts_with(bytes)
    }

    /// How many bytes of line end `rest` begins with, if the whole line is `text` as it stands.
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

    /// Takes `text`, which holds no LF, CR or NUL, into the unfinished line.
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

    /// Takes an LF, a CR or a NUL; true if the line has ended.
    fn apply_control(&mut self, control: u8) -> Result<bool, LineTooLong> {
        if control == b'\n' || (control == 0 && self.after_cr) {
            self.nvt |= self.after_cr;
            return Ok(true);
        }
        self.add_length(1)?;
        self.after_cr = control == b'\r';
        Ok(false)
    }

    /// Counts bytes of the unfinished line.
    fn add_length(&mut self, bytes: usize) -> Result<(), LineTooLong> {
        let length = self.length as usize + bytes;
        self.length = u32::try_from(length).ok().filter(|length| *length <= self.max_line).ok_or(LineTooLong)?;
        Ok(())
    }

    /// Ends the unfinished line.
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

    /// The lines of a stream, and what `finish` gave behind them or that a line was too long.
    #[derive(Debug, PartialEq)]
    struct Decoded {
        lines: Vec<Vec<u8>>,
        rest: Result<Option<Vec<u8>>, LineTooLong>,
        nvt: bool,
    }

    /// All that comes of `chunks`. What is kept meanwhile stays within the bound.
    fn decode(chunks: &[&[u8]], max: usize) -> Decoded {
        let mut decoder = LineDecoder::new(max);
        let mut cut = Vec::new();
        let mut rest = Ok(None);
        'stream: for chunk in chunks {
            let mut input = *chunk;
            while let Some(line) = decoder.next_line(&mut input) {
                match line {
                    Ok(line) => cut.push(line.into_owned()),
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
        Decoded { lines: cut, rest: rest.map(|_: Option<Vec<u8>>| decoder.finish()), nvt }
    }

    /// The same, written down a second time: byte by byte, and slow.
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
                let mut cut = Vec::new();
                for mut input in typed.as_bytes().chunks(chunk) {
                    cut.extend(
                        std::iter::from_fn(|| decoder.next_line(&mut input)).map(|line| line.unwrap().into_owned()),
                    );
                }
                assert_eq!(cut, [line.as_bytes()], "{typed:?}");
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
        assert_eq!(decode(&[b"12345"], 4).rest, Err(LineTooLong), "known before its end comes");
        let mut decoder = LineDecoder::new(4);
        assert_eq!(decoder.next_line(&mut &b"1234"[..]), None);
        decoder.erase_character();
        assert_eq!(
            decoder.next_line(&mut &b"5"[..]),
            Some(Err(LineTooLong)),
            "what a command erases was sent all the same"
        );
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

    /// Thousands of quiet connections have one each.
    #[test]
    fn line_decoder_stays_within_40_bytes() {
        assert!(size_of::<LineDecoder>() <= 40, "{}", size_of::<LineDecoder>());
    }

    proptest! {
        /// Any chunking of any bytes gives the same lines, and the same as the slow way.
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
