//! Pieces: whole lines on their way to peers, and the forms in which peers get them.

use crate::peer::deferred_list;
use bytes::Bytes;
use memchr::memchr_iter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The form in which a peer gets its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// Each line ends in LF.
    #[default]
    Lf,
    /// Each line ends in CR LF: the peer is a network virtual terminal (RFC 854, page 11).
    CrLf,
    /// The peer's own connection makes of each line what the peer gets; until then it is kept, and
    /// ends in LF.
    Own,
}

/// A peer's form, which its connection sets and passes read. Relaxed: a line that comes meanwhile
/// may get either form, and what a peer says after its connection has set it is in the room's inbox
/// behind that, whose queue orders it.
#[derive(Debug, Default)]
pub(crate) struct AtomicForm(AtomicU8);

impl AtomicForm {
    pub(crate) fn get(&self) -> Form {
        match self.0.load(Ordering::Relaxed) {
            1 => Form::CrLf,
            2 => Form::Own,
            _ => Form::Lf,
        }
    }

    pub(crate) fn set(&self, form: Form) {
        self.0.store(form as u8, Ordering::Relaxed);
    }
}

/// Whole lines, shared by all who get them.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The lines, each with its line end.
    pub bytes: Bytes,
    /// How many lines these are.
    pub lines: u64,
    /// Whether they end in CR LF.
    pub(crate) cr_lf: bool,
    /// How many lines that came behind these were lost before they reached the outbox.
    pub(crate) lost_behind: u64,
}

impl Piece {
    /// `lines` whole lines that end in LF.
    #[must_use]
    pub fn new(bytes: Bytes, lines: u64) -> Self {
        Self { bytes, lines, cr_lf: false, lost_behind: 0 }
    }

    /// The same lines in another form.
    pub(crate) fn to_form(&self, form: Form) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() + usize::try_from(self.lines).unwrap_or_default());
        match form {
            Form::CrLf => push_with_cr(&mut bytes, &self.bytes),
            // Clean text has no CR but those of line ends.
            Form::Lf | Form::Own => bytes.extend(self.bytes.iter().filter(|byte| **byte != b'\r')),
        }
        Self { bytes: bytes.into(), cr_lf: form == Form::CrLf, ..*self }
    }
}

impl deferred_list::Piece for Piece {
    fn weight(&self) -> usize {
        self.bytes.len()
    }

    fn lose(&mut self, lost: &Self) {
        self.lost_behind += lost.lines + lost.lost_behind;
    }
}

/// How many lines end in `bytes`.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Appends `lines`, which end in LF, with CR LF.
pub(crate) fn push_with_cr(out: &mut Vec<u8>, lines: &[u8]) {
    let mut from = 0;
    for end in memchr_iter(b'\n', lines) {
        out.extend_from_slice(&lines[from..end]);
        out.extend_from_slice(b"\r\n");
        from = end + 1;
    }
    out.extend_from_slice(&lines[from..]);
}

/// A place between two lines of a sheet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// Bytes before it, with LF.
    pub(crate) bytes: usize,
    /// Lines before it.
    pub(crate) lines: u64,
}

/// Lines that many peers get: laid out once for each form that somebody has, never for each peer.
#[derive(Debug)]
pub(crate) struct Sheet {
    lf: Piece,
    /// Made for the first peer that wants it.
    cr_lf: OnceLock<Piece>,
}

impl Sheet {
    /// `lines` whole lines that end in LF.
    pub(crate) fn new(bytes: Bytes, lines: u64) -> Self {
        Self { lf: Piece::new(bytes, lines), cr_lf: OnceLock::new() }
    }

    /// How many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lf.lines
    }

    /// All of them.
    pub(crate) fn whole(&self, form: Form) -> &Piece {
        match form {
            Form::Lf | Form::Own => &self.lf,
            Form::CrLf => self.cr_lf.get_or_init(|| self.lf.to_form(form)),
        }
    }

    /// Those from one mark to another.
    pub(crate) fn part(&self, form: Form, from: Mark, to: Mark) -> Piece {
        let whole = self.whole(form);
        // With CR LF each line before a mark is a byte longer.
        let more = |mark: Mark| if whole.cr_lf { usize::try_from(mark.lines).unwrap_or_default() } else { 0 };
        let bytes = whole.bytes.slice(from.bytes + more(from)..to.bytes + more(to));
        Piece { bytes, lines: to.lines - from.lines, ..*whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_laid_out_once_for_each_form() {
        let sheet = Sheet::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        assert_eq!(sheet.whole(Form::Lf).bytes, "a\nbc\n\nd\n");
        assert!(sheet.cr_lf.get().is_none(), "nobody wants it yet");
        assert_eq!(sheet.whole(Form::CrLf).bytes, "a\r\nbc\r\n\r\nd\r\n");
        assert_eq!(sheet.whole(Form::CrLf).bytes.as_ptr(), sheet.whole(Form::CrLf).bytes.as_ptr());
        let (from, to) = (Mark { bytes: 2, lines: 1 }, Mark { bytes: 6, lines: 3 });
        for (form, text) in [(Form::Lf, "bc\n\n"), (Form::CrLf, "bc\r\n\r\n"), (Form::Own, "bc\n\n")] {
            let part = sheet.part(form, from, to);
            assert_eq!((part.bytes, part.lines, part.cr_lf), (Bytes::from(text), 2, form == Form::CrLf));
        }
    }

    #[test]
    fn a_piece_changes_its_form_and_back() {
        let piece = Piece { lost_behind: 3, ..Piece::new(Bytes::from_static(b"a\n\nb\n"), 3) };
        let nvt = piece.to_form(Form::CrLf);
        assert_eq!((nvt.bytes.as_ref(), nvt.lines, nvt.lost_behind), (&b"a\r\n\r\nb\r\n"[..], 3, 3));
        assert_eq!(nvt.to_form(Form::Own).bytes, piece.bytes);
    }
}
