//! The drain of an output buffer: encodes waiting lines and writes encoded bytes.

use super::{OutputBuffer, is_transient};
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{count_lines, extend_with_cr};
use crate::peer::output::{DrainStatus, Encode};
use crate::peer::route::Route;
use crate::peer::waiting_output::{SegmentKind, WaitingOutput};
use std::collections::VecDeque;

/// The most bytes of lines that are encoded at a time: a slow reader's waiting lines stay lines, which are shorter,
/// until they are about to be written.
pub(super) const ENCODED_AT_A_TIME: usize = 32 << 10;

/// The most times that lines are encoded for one stretch if nothing comes of them.
const EMPTY_ENCODINGS: usize = 4;

impl OutputBuffer {
    /// Writes one stretch of what waits. `encode` is asked on [`Route::Buffered`].
    pub(crate) fn drain(
        &mut self,
        route: Route,
        encode: Option<Encode<'_>>,
        sink: &(impl ByteSink + ?Sized),
    ) -> DrainStatus {
        self.settings.route = route;
        self.encode_waiting(encode);
        let status = self.write_encoded(sink);
        self.update_charge();
        status
    }

    /// Writes encoded bytes.
    fn write_encoded(&mut self, sink: &(impl ByteSink + ?Sized)) -> DrainStatus {
        let stretch = self.encoded.as_slices().0;
        if stretch.is_empty() {
            if !self.is_empty() {
                // The peer is shown none of the lines that were encoded, and more wait.
                return DrainStatus::Progress(0);
            }
            (self.encoded, self.waiting) = (VecDeque::new(), WaitingOutput::default());
            self.kernel_full &= self.closed;
            self.registration = None;
            return DrainStatus::Empty;
        }
        match sink.try_write(stretch) {
            Ok(count) => {
                self.sink_blocked = false;
                self.encoded.drain(..count);
                DrainStatus::Progress(count)
            }
            Err(error) if is_transient(&error) => {
                (self.sink_blocked, self.kernel_full) = (true, true);
                DrainStatus::Blocked
            }
            Err(_) => {
                self.close();
                DrainStatus::Failed
            }
        }
    }

    /// Encodes waiting lines until something is encoded, at most [`EMPTY_ENCODINGS`] times: a peer may be shown none of
    /// some lines.
    fn encode_waiting(&mut self, mut encode: Option<Encode<'_>>) {
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
        match (self.waiting.take_front(ENCODED_AT_A_TIME, &mut taken), self.settings.route, encode) {
            (None, _, _) => {}
            (Some(SegmentKind::Raw), _, _) => {
                // As above: these bytes are no lines, but are counted as such when they are thrown away.
                self.lines += count_lines(&taken);
                self.encoded.extend(taken);
            }
            (Some(SegmentKind::Lines(minute)), Route::Buffered, Some(encode)) => {
                encode(&taken, minute, &mut self.encoded);
            }
            (Some(SegmentKind::Lines(_)), Route::DirectCrLf, _) => extend_with_cr(&mut self.encoded, &taken),
            (Some(SegmentKind::Lines(_)), _, _) => self.encoded.extend(taken),
        }
    }
}
