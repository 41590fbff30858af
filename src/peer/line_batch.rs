//! Line batches: whole lines on their way to peers, in the encodings that direct routes share.

use crate::peer::deferred_list::Deferrable;
use crate::peer::route::Route;
use bytes::Bytes;
use memchr::memchr_iter;
use std::sync::OnceLock;

/// Whole lines in shared memory, for one peer.
#[derive(Clone, Debug)]
pub struct LineBatch {
    /// The lines, each with its LF.
    lf: Bytes,
    /// The same lines with CR LF, where a peer of that route was expected.
    cr_lf: Option<Bytes>,
    /// How many lines these are.
    lines: u64,
    /// How many lines after these were dropped before they reached the output buffer.
    dropped_after: u64,
}

impl LineBatch {
    /// Returns a batch of `lines` whole lines that end in LF.
    #[must_use]
    pub fn new(bytes: Bytes, lines: u64) -> Self {
        Self { lf: bytes, cr_lf: None, lines, dropped_after: 0 }
    }

    /// Returns how many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns how many lines after these were dropped.
    pub(crate) fn dropped_after(&self) -> u64 {
        self.dropped_after
    }

    /// Returns the lines, each with its LF.
    pub(crate) fn lf(&self) -> &[u8] {
        &self.lf
    }

    /// Returns the bytes that go out directly on `route`; `None` where the batch has no such encoding.
    pub(crate) fn direct_bytes(&self, route: Route) -> Option<&[u8]> {
        match route {
            Route::DirectLf => Some(&self.lf),
            Route::DirectCrLf => self.cr_lf.as_deref(),
            Route::Buffered => None,
        }
    }

    /// Returns the batch with both encodings. For the holder of a write lock that meets a batch which was chosen
    /// before the peer's route changed.
    pub(crate) fn with_cr_lf(&self) -> Self {
        let mut encoded = Vec::with_capacity(self.lf.len() + usize::try_from(self.lines).unwrap_or_default());
        extend_with_cr(&mut encoded, &self.lf);
        Self { cr_lf: Some(encoded.into()), ..self.clone() }
    }
}

impl Deferrable for LineBatch {
    fn weight(&self) -> usize {
        self.lf.len()
    }

    fn record_loss(&mut self, lost: &Self) {
        self.dropped_after += lost.lines + lost.dropped_after;
    }
}

/// Returns how many lines end in `bytes`.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Appends `lines`, which end in LF, with CR LF.
pub(crate) fn extend_with_cr(out: &mut impl for<'a> Extend<&'a u8>, lines: &[u8]) {
    let mut from = 0;
    for end in memchr_iter(b'\n', lines) {
        out.extend(&lines[from..end]);
        out.extend(b"\r\n");
        from = end + 1;
    }
    out.extend(&lines[from..]);
}

/// A position between two lines of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchOffset {
    /// Bytes before it, with LF.
    pub(crate) bytes: usize,
    /// Lines before it.
    pub(crate) lines: u64,
}

/// Lines for many peers: encoded at most once for each direct route, never for each peer.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    lf: LineBatch,
    /// Made for the first peer whose lines end in CR LF. Boxed: most batches have none.
    cr_lf: OnceLock<Box<LineBatch>>,
}

impl EncodedBatch {
    /// Returns a batch of `lines` whole lines that end in LF.
    pub(crate) fn new(bytes: Bytes, lines: u64) -> Self {
        Self { lf: LineBatch::new(bytes, lines), cr_lf: OnceLock::new() }
    }

    /// Returns how many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lf.lines
    }

    /// Returns all lines, with the encoding that `route` writes.
    pub(crate) fn whole(&self, route: Route) -> &LineBatch {
        match route {
            Route::DirectLf | Route::Buffered => &self.lf,
            Route::DirectCrLf => self.cr_lf.get_or_init(|| Box::new(self.lf.with_cr_lf())),
        }
    }

    /// Returns the lines from one position to another, with the encoding that `route` writes. No byte is copied.
    pub(crate) fn part(&self, route: Route, from: BatchOffset, to: BatchOffset) -> LineBatch {
        let whole = self.whole(route);
        // With CR LF each line before a position is a byte longer.
        let in_cr_lf = |at: BatchOffset| at.bytes + usize::try_from(at.lines).unwrap_or_default();
        LineBatch {
            lf: whole.lf.slice(from.bytes..to.bytes),
            cr_lf: whole.cr_lf.as_ref().map(|bytes| bytes.slice(in_cr_lf(from)..in_cr_lf(to))),
            lines: to.lines - from.lines,
            dropped_after: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_encoded_once_for_each_route() {
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        assert_eq!(batch.whole(Route::DirectLf).direct_bytes(Route::DirectLf), Some(&b"a\nbc\n\nd\n"[..]));
        assert!(batch.cr_lf.get().is_none(), "no peer needs CR LF yet");
        let encoded = batch.whole(Route::DirectCrLf).direct_bytes(Route::DirectCrLf).unwrap();
        assert_eq!(encoded, b"a\r\nbc\r\n\r\nd\r\n");
        let again = batch.whole(Route::DirectCrLf).direct_bytes(Route::DirectCrLf).unwrap();
        assert_eq!(again.as_ptr(), encoded.as_ptr());
    }

    #[test]
    fn a_part_has_the_same_lines_in_each_encoding() {
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        let (from, to) = (BatchOffset { bytes: 2, lines: 1 }, BatchOffset { bytes: 6, lines: 3 });
        for (route, direct) in [
            (Route::DirectLf, Some(&b"bc\n\n"[..])),
            (Route::DirectCrLf, Some(&b"bc\r\n\r\n"[..])),
            (Route::Buffered, None),
        ] {
            let part = batch.part(route, from, to);
            assert_eq!((part.direct_bytes(route), part.lf(), part.lines()), (direct, &b"bc\n\n"[..], 2));
        }
    }

    #[test]
    fn a_batch_that_is_encoded_late_keeps_its_counts() {
        let mut batch = LineBatch::new(Bytes::from_static(b"a\n\nb\n"), 3);
        batch.record_loss(&LineBatch::new(Bytes::from_static(b"c\n"), 1));
        assert_eq!(batch.direct_bytes(Route::DirectCrLf), None);
        let encoded = batch.with_cr_lf();
        assert_eq!(encoded.direct_bytes(Route::DirectCrLf), Some(&b"a\r\n\r\nb\r\n"[..]));
        assert_eq!((encoded.lf(), encoded.lines(), encoded.dropped_after()), (batch.lf(), 3, 1));
    }
}
