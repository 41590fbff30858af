//! Moved buffers: an output buffer as another process continues it.

use super::OutputBuffer;
use crate::limits::memory::MemoryBudget;
use crate::peer::output::OutputSettings;
use crate::peer::waiting_output::{MovedSegment, WaitingOutput};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An output buffer without its charge. The lines that slow readers share are copied.
#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "those of an output buffer")]
pub(crate) struct MovedBuffer {
    encoded: Vec<u8>,
    waiting: Vec<MovedSegment>,
    framed_lines: u32,
    gap: u64,
    low_gap: u64,
    lines: u64,
    lines_lost: u64,
    skipped: u64,
    sink_blocked: bool,
    kernel_full: bool,
    made_under_pressure: bool,
    closed: bool,
}

impl OutputBuffer {
    /// Returns a copy for another process. Sealed bytes are left out: a transport that seals can't be moved.
    pub(crate) fn export(&self) -> MovedBuffer {
        MovedBuffer {
            encoded: self.encoded.iter().copied().collect(),
            waiting: self.waiting.export(),
            framed_lines: self.framed_lines,
            gap: self.gap,
            low_gap: self.low_gap,
            lines: self.lines,
            lines_lost: self.lines_lost,
            skipped: self.skipped,
            sink_blocked: self.sink_blocked,
            kernel_full: self.kernel_full,
            made_under_pressure: self.made_under_pressure,
            closed: self.closed,
        }
    }

    /// Returns the buffer of another process, whose memory is charged to `budget`.
    pub(crate) fn import(moved: MovedBuffer, settings: OutputSettings, budget: Option<&Arc<MemoryBudget>>) -> Self {
        let mut buffer = Self {
            encoded: moved.encoded.into(),
            waiting: WaitingOutput::import(&moved.waiting),
            framed_lines: moved.framed_lines,
            gap: moved.gap,
            low_gap: moved.low_gap,
            lines: moved.lines,
            lines_lost: moved.lines_lost,
            skipped: moved.skipped,
            sink_blocked: moved.sink_blocked,
            kernel_full: moved.kernel_full,
            made_under_pressure: moved.made_under_pressure,
            closed: moved.closed,
            ..Self::new(settings, budget)
        };
        buffer.update_charge();
        buffer
    }
}
