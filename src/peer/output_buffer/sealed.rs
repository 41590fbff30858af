//! Sealed output: the bytes of a transport that is not plain, such as TLS records.

use crate::peer::line_batch::count_lines;
use crate::peer::output::Seal;
use std::collections::VecDeque;

/// The most bytes that are sealed at a time: the content of one TLS record. A slow reader's bytes stay as they are, which is
/// shorter, until they are about to be written.
const SEALED_AT_A_TIME: usize = 16 << 10;

/// Bytes that a transport has made, in their final form.
#[derive(Debug, Default)]
pub(super) struct SealedOutput {
    bytes: Vec<u8>,
    /// How many of the bytes are written.
    written: usize,
    /// The lines that are in the bytes, the written ones included.
    lines: u64,
}

impl SealedOutput {
    /// Returns whether no byte waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes that wait.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Returns the capacity in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns how many lines are lost if the bytes are thrown away. A line of which the first bytes are written counts, too:
    /// the peer can't open a record without its end.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Appends bytes that the transport has made on its own.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Seals the first bytes of `encoded`, and takes them out; returns false if the transport takes nothing any more.
    pub(super) fn seal(&mut self, encoded: &mut VecDeque<u8>, seal: Seal<'_>) -> bool {
        let stretch = encoded.as_slices().0;
        let stretch = &stretch[..stretch.len().min(SEALED_AT_A_TIME)];
        let (count, lines) = (stretch.len(), count_lines(stretch));
        let is_sealed = seal(stretch, &mut self.bytes);
        self.lines += lines;
        encoded.drain(..count);
        is_sealed
    }

    /// Drops bytes that were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.bytes.len() {
            self.bytes.clear();
            (self.written, self.lines) = (0, 0);
        }
    }
}
