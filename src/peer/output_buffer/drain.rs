//! The drain of an output buffer: encodes waiting lines, seals encoded bytes, and writes.

use super::sealed::SealedOutput;
use super::{OutputBuffer, is_transient};
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{count_lines, extend_with_cr};
use crate::peer::line_frames::extend_with_frames;
use crate::peer::output::{DrainStatus, Encode, Seal};
use crate::peer::route::Route;
use crate::peer::waiting_output::{SegmentKind, WaitingOutput};
use std::collections::VecDeque;

/// The most bytes of lines that are encoded at a time: a slow reader's waiting lines stay lines, which are shorter,
/// until they are about to be written.
pub(super) const ENCODED_AT_A_TIME: usize = 32 << 10;

/// The most times that lines are encoded for one stretch if nothing comes of them.
const EMPTY_ENCODINGS: usize = 4;

impl OutputBuffer {
    /// Writes one stretch of what waits. `encode` is asked where passes do not write, and `seal` for all bytes of a peer whose
    /// transport is not plain.
    pub(crate) fn drain(
        &mut self,
        route: Route,
        encode: Option<Encode<'_>>,
        seal: Option<Seal<'_>>,
        sink: &(impl ByteSink + ?Sized),
    ) -> DrainStatus {
        self.settings.route = route;
        self.encode_waiting(encode);
        let is_sealed = seal.is_none_or(|seal| self.seal_encoded(seal));
        let status = if is_sealed { self.write_encoded(sink) } else { self.fail() };
        self.update_charge();
        status
    }

    /// Seals encoded bytes, where no sealed bytes are left; returns false if the transport takes nothing any more.
    fn seal_encoded(&mut self, seal: Seal<'_>) -> bool {
        !self.sealed.is_empty() || self.encoded.is_empty() || self.sealed.seal(&mut self.encoded, seal)
    }

    /// Writes sealed bytes, or encoded bytes where none are sealed.
    fn write_encoded(&mut self, sink: &(impl ByteSink + ?Sized)) -> DrainStatus {
        let is_sealed = !self.sealed.is_empty();
        let stretch = if is_sealed { self.sealed.unwritten() } else { self.encoded.as_slices().0 };
        if stretch.is_empty() {
            if !self.is_empty() {
                // The peer is shown none of the lines that were encoded, and more wait.
                return DrainStatus::Progress(0);
            }
            (self.encoded, self.waiting) = (VecDeque::new(), WaitingOutput::default());
            (self.sealed, self.framed_lines) = (SealedOutput::default(), 0);
            self.kernel_full &= self.closed;
            self.registration = None;
            return DrainStatus::Empty;
        }
        match sink.try_write(stretch) {
            Ok(count) => {
                self.sink_blocked = false;
                if is_sealed {
                    self.sealed.advance(count);
                } else {
                    self.encoded.drain(..count);
                }
                DrainStatus::Progress(count)
            }
            Err(error) if is_transient(&error) => {
                (self.sink_blocked, self.kernel_full) = (true, true);
                DrainStatus::Blocked
            }
            Err(_) => self.fail(),
        }
    }

    /// Takes nothing any more: what waited is lost.
    fn fail(&mut self) -> DrainStatus {
        self.close();
        DrainStatus::Failed
    }

    /// Encodes waiting lines until something is encoded, at most [`EMPTY_ENCODINGS`] times: a peer may be shown none of
    /// some lines.
    fn encode_waiting(&mut self, mut encode: Option<Encode<'_>>) {
        if self.encoded.is_empty() && self.sealed.is_empty() {
            self.framed_lines = 0;
        }
        for _ in 0..EMPTY_ENCODINGS {
            if !self.encoded.is_empty() || self.is_empty() {
                break;
            }
            self.encode_next(&mut encode);
        }
    }

    /// Encodes the next waiting lines, where nothing encoded is left.
    fn encode_next(&mut self, encode: &mut Option<Encode<'_>>) {
        if self.waiting.is_empty() {
            self.tell_gap();
        }
        let mut taken = Vec::new();
        let kind = self.waiting.take_front(ENCODED_AT_A_TIME, &mut taken);
        if self.settings.route.has_frames() && matches!(kind, Some(SegmentKind::Lines(_))) {
            self.framed_lines =
                self.framed_lines.saturating_add(u32::try_from(count_lines(&taken)).unwrap_or(u32::MAX));
        }
        match (kind, self.settings.route, encode) {
            (None, _, _) => {}
            (Some(SegmentKind::Raw), route, _) => {
                // As above: these bytes are no lines, but are counted as such when they are thrown away.
                self.lines += if route.has_frames() { 0 } else { count_lines(&taken) };
                self.encoded.extend(taken);
            }
            (Some(SegmentKind::Lines(minute)), Route::Buffered, Some(encode)) => {
                encode(&taken, minute, &mut self.encoded);
            }
            (Some(SegmentKind::Lines(minute)), Route::BufferedFrames, Some(encode)) => {
                let mut encoded = VecDeque::new();
                encode(&taken, minute, &mut encoded);
                extend_with_frames(&mut self.encoded, encoded.make_contiguous());
            }
            (Some(SegmentKind::Lines(_)), Route::DirectFrames | Route::BufferedFrames, _) => {
                extend_with_frames(&mut self.encoded, &taken);
            }
            (Some(SegmentKind::Lines(_)), Route::DirectCrLf, _) => extend_with_cr(&mut self.encoded, &taken),
            (Some(SegmentKind::Lines(_)), _, _) => self.encoded.extend(taken),
        }
    }
}
