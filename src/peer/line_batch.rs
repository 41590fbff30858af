//! Pieces: whole lines on their way to peers, and the forms in which peers get them.

use crate::peer::deferred_list;
use bytes::Bytes;
use memchr::memchr_iter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The route in which a peer gets its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Route {
    /// Each line ends in LF.
    #[default]
    DirectLf,
    /// Each line ends in CR LF: the peer is a network virtual terminal (RFC 854, page 11).
    DirectCrLf,
    /// The peer's own connection makes of each line what the peer gets; until then it is kept, and
    /// ends in LF.
    Buffered,
}

/// A peer's route, which its connection sets and passes read. Relaxed: a line that comes meanwhile
/// may get either route, and what a peer says after its connection has set it is in the room's inbox
/// behind that, whose queue orders it.
#[derive(Debug, Default)]
pub(crate) struct AtomicRoute(AtomicU8);

impl AtomicRoute {
    pub(crate) fn get(&self) -> Route {
        match self.0.load(Ordering::Relaxed) {
            1 => Route::DirectCrLf,
            2 => Route::Buffered,
            _ => Route::DirectLf,
        }
    }

    pub(crate) fn set(&self, route: Route) {
        self.0.store(route as u8, Ordering::Relaxed);
    }
}

/// Whole lines, shared by all who get them.
#[derive(Clone, Debug)]
pub struct LineBatch {
    /// The lines, each with its line end.
    pub bytes: Bytes,
    /// How many lines these are.
    pub lines: u64,
    /// Whether they end in CR LF.
    pub(crate) cr_lf: bool,
    /// How many lines that came behind these were lost before they reached the buffer.
    pub(crate) dropped_after: u64,
}

impl LineBatch {
    /// `lines` whole lines that end in LF.
    #[must_use]
    pub fn new(bytes: Bytes, lines: u64) -> Self {
        Self { bytes, lines, cr_lf: false, dropped_after: 0 }
    }

    /// The same lines in another route.
    pub(crate) fn encoded_for(&self, route: Route) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() + usize::try_from(self.lines).unwrap_or_default());
        match route {
            Route::DirectCrLf => push_with_cr(&mut bytes, &self.bytes),
            // Clean text has no CR but those of line ends.
            Route::DirectLf | Route::Buffered => bytes.extend(self.bytes.iter().filter(|byte| **byte != b'\r')),
        }
        Self { bytes: bytes.into(), cr_lf: route == Route::DirectCrLf, ..*self }
    }
}

impl deferred_list::Deferrable for LineBatch {
    fn weight(&self) -> usize {
        self.bytes.len()
    }

    fn record_loss(&mut self, lost: &Self) {
        self.dropped_after += lost.lines + lost.dropped_after;
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

/// A place between two lines of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchOffset {
    /// Bytes before it, with LF.
    pub(crate) bytes: usize,
    /// Lines before it.
    pub(crate) lines: u64,
}

/// Lines that many peers get: laid out once for each route that somebody has, never for each peer.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    lf: LineBatch,
    /// Made for the first peer that wants it.
    cr_lf: OnceLock<LineBatch>,
}

impl EncodedBatch {
    /// `lines` whole lines that end in LF.
    pub(crate) fn new(bytes: Bytes, lines: u64) -> Self {
        Self { lf: LineBatch::new(bytes, lines), cr_lf: OnceLock::new() }
    }

    /// How many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lf.lines
    }

    /// All of them.
    pub(crate) fn whole(&self, route: Route) -> &LineBatch {
        match route {
            Route::DirectLf | Route::Buffered => &self.lf,
            Route::DirectCrLf => self.cr_lf.get_or_init(|| self.lf.encoded_for(route)),
        }
    }

    /// Those from one mark to another.
    pub(crate) fn part(&self, route: Route, from: BatchOffset, to: BatchOffset) -> LineBatch {
        let whole = self.whole(route);
        // With CR LF each line before a mark is a byte longer.
        let more = |mark: BatchOffset| if whole.cr_lf { usize::try_from(mark.lines).unwrap_or_default() } else { 0 };
        let bytes = whole.bytes.slice(from.bytes + more(from)..to.bytes + more(to));
        LineBatch { bytes, lines: to.lines - from.lines, ..*whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_laid_out_once_for_each_form() {
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        assert_eq!(batch.whole(Route::DirectLf).bytes, "a\nbc\n\nd\n");
        assert!(batch.cr_lf.get().is_none(), "nobody wants it yet");
        assert_eq!(batch.whole(Route::DirectCrLf).bytes, "a\r\nbc\r\n\r\nd\r\n");
        assert_eq!(batch.whole(Route::DirectCrLf).bytes.as_ptr(), batch.whole(Route::DirectCrLf).bytes.as_ptr());
        let (from, to) = (BatchOffset { bytes: 2, lines: 1 }, BatchOffset { bytes: 6, lines: 3 });
        for (route, text) in
            [(Route::DirectLf, "bc\n\n"), (Route::DirectCrLf, "bc\r\n\r\n"), (Route::Buffered, "bc\n\n")]
        {
            let part = batch.part(route, from, to);
            assert_eq!((part.bytes, part.lines, part.cr_lf), (Bytes::from(text), 2, route == Route::DirectCrLf));
        }
    }

    #[test]
    fn a_piece_changes_its_form_and_back() {
        let batch = LineBatch { dropped_after: 3, ..LineBatch::new(Bytes::from_static(b"a\n\nb\n"), 3) };
        let nvt = batch.encoded_for(Route::DirectCrLf);
        assert_eq!((nvt.bytes.as_ref(), nvt.lines, nvt.dropped_after), (&b"a\r\n\r\nb\r\n"[..], 3, 3));
        assert_eq!(nvt.encoded_for(Route::Buffered).bytes, batch.bytes);
    }
}
