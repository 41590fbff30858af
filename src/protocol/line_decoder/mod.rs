//! Line decoder: cuts a peer's data into lines and bounds their length.
//!
//! The decoder takes data without telnet commands, in chunks of any size, and returns lines without their
//! line ends. The sender's erase characters are applied here; the text of a line is made safe later, by
//! [`sanitize`](crate::text::sanitize::sanitize).

mod erase;
#[cfg(test)]
mod tests;

use erase::length_without_last_character;
use memchr::{memchr2, memchr3};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// BS, which erases a character: the Backspace key of some terminals sends it.
const BS: u8 = 0x08;

/// DEL, which erases a character: the Backspace key of most terminals sends it.
const DEL: u8 = 0x7F;

/// Cuts chunks of any size into lines; allocates only for an unfinished line.
///
/// The input is data without telnet commands. Telnet commands that edit the line are method calls.
///
/// - LF, CR LF, CR CR LF and CR NUL end a line (RFC 854, page 11, sends a bare CR as CR NUL).
/// - Until the connection has sent its first LF, a CR alone ends a line, too, because a terminal in raw mode
///   sends nothing else for Enter. The decoder returns the line at once and drops an LF or NUL that comes next.
///   After a second CR it waits for one more byte: an LF completes CR CR LF, and anything else shows that the
///   second CR ended an empty line.
/// - After the first LF, a CR before any other byte is dropped.
/// - Any other NUL is dropped.
/// - BS and DEL erase the last character of the unfinished line, if there is one: a terminal in character mode
///   leaves editing to the server. A character is a grapheme cluster. Escape sequences are invisible, so
///   those at the end are erased with the character before them.
///
/// The length of a line counts all bytes before its LF, or up to the CR that ends it, including dropped and
/// erased ones. So a peer that types and erases forever still reaches the bound, and a CR counts whether an LF
/// follows or not. The decoder reads each byte three times at most, in chunks of any size; an erase character
/// reads a bounded number of bytes again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineDecoder {
    /// The bytes of the unfinished line that were not dropped or erased.
    unfinished: Vec<u8>,
    /// The longest line, in bytes.
    max_line: u32,
    /// The length of the unfinished line, in bytes received.
    length: u32,
    /// The part of a line end that the bytes so far leave open.
    line_end: LineEnd,
    /// Whether the connection has sent an LF: from then on a CR alone ends no line.
    has_sent_lf: bool,
    /// Whether a line has ended in CR LF, CR NUL or CR.
    nvt: bool,
    /// Whether the line that ends next is dropped.
    discards_line: bool,
}

/// The part of a line end that the bytes so far leave open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum LineEnd {
    /// Nothing is open.
    Settled,
    /// The last byte was a CR after the first LF: it ends the line with an LF or NUL that comes next.
    /// The length of the line counts it.
    Begun,
    /// The last byte was a CR that ended a line: an LF or NUL that comes next belongs to that line end.
    EndedByCr,
    /// One more CR came after a CR that ended a line: it belongs to that line end if an LF comes next.
    SecondCr,
}

/// A line is longer than the bound. The decoder must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl LineDecoder {
    /// Creates a decoder for lines of at most `max_line` bytes; 4 GiB or more is a bound of 4 GiB.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        let max_line = u32::try_from(max_line).unwrap_or(u32::MAX);
        Self {
            unfinished: Vec::new(),
            max_line,
            length: 0,
            line_end: LineEnd::Settled,
            has_sent_lf: false,
            nvt: false,
            discards_line: false,
        }
    }

    /// Removes the next whole line from the front of `input` and returns it without its line end.
    ///
    /// Returns `None` if no line ends in `input`; the decoder has then taken all of `input` into the
    /// unfinished line.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as the unfinished line exceeds the bound.
    pub fn next_line<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Cow<'a, [u8]>, LineTooLong>> {
        let line = self.decode_line(input);
        if matches!(line, Some(Ok(_))) && std::mem::take(&mut self.discards_line) {
            return self.decode_line(input);
        }
        line
    }

    /// Removes the next whole line from the front of `input`, whether or not it is to be dropped.
    fn decode_line<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Cow<'a, [u8]>, LineTooLong>> {
        if self.continue_line_end(input) {
            return Some(Ok(Cow::Borrowed(b"")));
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
        let has_line = !self.unfinished.is_empty() || matches!(self.line_end, LineEnd::Begun | LineEnd::SecondCr);
        let line = self.take_unfinished();
        self.line_end = LineEnd::Settled;
        (has_line && !self.discards_line).then_some(line)
    }

    /// Erases the last character of the unfinished line, if there is one, as telnet's EC (RFC 854,
    /// page 13), BS and DEL do.
    pub(crate) fn erase_character(&mut self) {
        self.unfinished.truncate(length_without_last_character(&self.unfinished));
    }

    /// Drops the unfinished line, as telnet's EL and IP do. The length of the line starts again from
    /// zero, but a CR at its end may still begin a line end.
    pub(crate) fn erase_line(&mut self) {
        self.unfinished = Vec::new();
        self.length = u32::from(self.line_end == LineEnd::Begun);
    }

    /// Drops the unfinished line up to its end, which is still to come. Returns false if that was decided before.
    pub(crate) fn discard_line(&mut self) -> bool {
        self.erase_line();
        !std::mem::replace(&mut self.discards_line, true)
    }

    /// Takes the unfinished line, for a line editor that opens in the middle of it, and starts a new one. Drops a line
    /// that is to be discarded.
    ///
    /// The line editor takes what belongs to the line end of the last line, too.
    pub(crate) fn take_draft(&mut self) -> Vec<u8> {
        self.line_end = LineEnd::Settled;
        let draft = self.take_unfinished();
        if std::mem::take(&mut self.discards_line) { Vec::new() } else { draft }
    }

    /// Tells the decoder that the line editor has ended a line with a CR: an LF or NUL that comes next
    /// belongs to the same line end and is dropped.
    pub(crate) fn continue_after_cr(&mut self) {
        self.line_end = LineEnd::EndedByCr;
    }

    /// Returns how many bytes the unfinished line has.
    pub(crate) fn held_bytes(&self) -> usize {
        self.unfinished.len()
    }

    /// Returns the longest line, in bytes.
    pub(crate) fn max_line(&self) -> usize {
        self.max_line as usize
    }

    /// Returns whether a line has ended in CR LF, CR NUL or CR, as a network virtual terminal (NVT, RFC 854)
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

    /// Returns whether the unfinished line ends in the first bytes of an incomplete UTF-8 character.
    ///
    /// A telnet client that is not in binary mode takes some bytes of characters for keys that interrupt, so
    /// an interrupt after such bytes shows that the client has lost a part of the line.
    #[must_use]
    pub(crate) fn ends_in_partial_character(&self) -> bool {
        erase::ends_in_partial_character(&self.unfinished)
    }

    /// Removes from the front of `input` what belongs to the line end of the last line; returns whether a
    /// second CR turned out to be the line end of an empty line.
    fn continue_line_end(&mut self, input: &mut &[u8]) -> bool {
        while matches!(self.line_end, LineEnd::EndedByCr | LineEnd::SecondCr)
            && let Some((byte, rest)) = input.split_first()
        {
            let second_cr = self.line_end == LineEnd::SecondCr;
            self.line_end = match byte {
                b'\r' if !self.has_sent_lf => LineEnd::SecondCr,
                _ => LineEnd::Settled,
            };
            self.has_sent_lf |= *byte == b'\n';
            if matches!(byte, b'\n' | 0) || self.line_end == LineEnd::SecondCr {
                *input = rest;
            }
            if second_cr && *byte != b'\n' {
                return true;
            }
        }
        false
    }

    /// Returns the length of the line end at the start of `rest`, if `text` is a whole line that can be
    /// borrowed as it is.
    fn whole_line_end(&mut self, text: &[u8], rest: &[u8]) -> Option<usize> {
        let (end, line_end) = match rest {
            [b'\n', ..] => (1, LineEnd::Settled),
            [b'\r', b'\n' | 0, ..] => (2, LineEnd::Settled),
            [b'\r', ..] if !self.has_sent_lf => (1, LineEnd::EndedByCr),
            _ => return None,
        };
        let has_cr = rest[0] == b'\r';
        let length = text.len() + usize::from(has_cr);
        if self.length > 0 || length > self.max_line as usize || memchr2(BS, DEL, text).is_some() {
            return None;
        }
        self.nvt |= has_cr;
        self.has_sent_lf |= rest[end - 1] == b'\n';
        self.line_end = line_end;
        Some(end)
    }

    /// Appends `text`, which holds no LF, CR or NUL, to the unfinished line and applies its BS and DEL.
    fn append_text(&mut self, mut text: &[u8]) -> Result<(), LineTooLong> {
        if text.is_empty() {
            return Ok(());
        }
        self.add_length(text.len())?;
        self.line_end = LineEnd::Settled;
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
        let after_cr = std::mem::replace(&mut self.line_end, LineEnd::Settled) == LineEnd::Begun;
        if control == b'\n' || (control == 0 && after_cr) {
            self.has_sent_lf |= control == b'\n';
            self.nvt |= after_cr;
            return Ok(true);
        }
        self.add_length(1)?;
        if control == 0 {
            return Ok(false);
        }
        let ends_line = !self.has_sent_lf;
        self.line_end = if ends_line { LineEnd::EndedByCr } else { LineEnd::Begun };
        self.nvt |= ends_line;
        Ok(ends_line)
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
        std::mem::take(&mut self.unfinished)
    }
}
