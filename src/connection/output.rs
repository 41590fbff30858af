//! Output: what a connection itself writes to its peer, and the draining of its output buffer.

use super::input_line::InputLine;
use super::poll_slice::SYSTEM_CALL_WORK;
use super::timers::Deadline;
use super::{Connection, OutputStatus};
use crate::config::SlowReader;
use crate::metrics::counters::MetricsDelta;
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::extend_with_cr;
use crate::peer::{DrainStatus, OutputOp, Seal};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long the input of a peer that can't be written to any more is still read.
const READ_GRACE: Duration = Duration::from_secs(5);

impl Connection {
    /// Sends lines of the server's own to this peer, after all output that waits and whatever its backlog's bound.
    pub(super) fn send_notice(&mut self, lines: &str) {
        self.add_output([OutputOp::Lines(lines.into())]);
    }

    /// Adds output of the connection's own and writes what the socket takes. While another thread holds the write
    /// lock the output waits, and so does input.
    pub(super) fn add_output(&mut self, ops: impl IntoIterator<Item = OutputOp>) {
        self.pending_output.get_or_insert_default().0.extend(ops);
        self.begin_draining();
        self.drain_output();
    }

    /// Notes that bytes wait to be written. Additional bytes do not extend the stall deadline.
    pub(super) fn begin_draining(&mut self) {
        self.output_status = OutputStatus::Waiting;
        if !self.deadlines.is_set(Deadline::Stall) {
            self.restart_stall_deadline();
        }
    }

    /// Writes what the socket takes; returns whether it took something.
    pub(super) fn drain_output(&mut self) -> bool {
        let mut metrics = MetricsDelta::default();
        let progress = self.apply_pending_output(&mut metrics) && self.drain_stretches(&mut metrics);
        self.context.registry.counters().add(&metrics);
        if progress && self.output_status != OutputStatus::Empty {
            self.restart_stall_deadline();
        }
        progress
    }

    /// Adds pending output, and what the input line drew, to the output buffer; returns false while another thread
    /// holds the write lock. No line may be encoded before that: the editor computes each update of the screen from what
    /// it drew before.
    fn apply_pending_output(&mut self, metrics: &mut MetricsDelta) -> bool {
        let drawn = self.input_line_mut().map(InputLine::take_drawn).unwrap_or_default();
        if !drawn.is_empty() {
            self.pending_output.get_or_insert_default().0.push_back(OutputOp::Encoded(drawn));
        }
        let Some(pending) = &mut self.pending_output else {
            return true;
        };
        let Some(encoded) = self.peer.apply(&mut pending.0, metrics) else {
            self.output_status = OutputStatus::Contended;
            return false;
        };
        self.pending_output = None;
        self.note_unwritten(encoded);
        true
    }

    fn drain_stretches(&mut self, metrics: &mut MetricsDelta) -> bool {
        let (mut progress, line_end) = (false, self.line_end());
        // At least one stretch, or a slice that input has used up would keep output back.
        while !self.waits_to_encode() {
            self.slice.charge(SYSTEM_CALL_WORK);
            let Some((status, encoded)) = self.drain_stretch(line_end, metrics) else {
                self.output_status = OutputStatus::Contended;
                break;
            };
            self.note_unwritten(encoded);
            match status {
                DrainStatus::Progress(count) => {
                    progress = true;
                    self.slice.charge_bytes(count);
                    if self.slice.is_used_up() {
                        break;
                    }
                }
                DrainStatus::Blocked => break,
                DrainStatus::Empty | DrainStatus::Failed => {
                    self.end_draining();
                    if status == DrainStatus::Failed {
                        self.start_read_grace();
                    }
                    break;
                }
            }
        }
        progress
    }

    /// Encodes, seals and writes one stretch of the output, as [`Peer::drain`](crate::peer::Peer::drain) does, and charges the
    /// work that is not the write's.
    fn drain_stretch(&mut self, line_end: &str, metrics: &mut MetricsDelta) -> Option<(DrainStatus, usize)> {
        let (mut encoded, mut sealed) = (0, 0);
        let drained = match (&mut self.display, &mut self.transport) {
            (None, None) => self.peer.drain(None, None, metrics),
            (display, transport) => {
                let mut encode = |lines: &[u8], said, out: &mut VecDeque<u8>| match display {
                    Some(display) => {
                        encoded += lines.len();
                        display.encode(lines, said, line_end, out);
                    }
                    None if line_end == "\n" => out.extend(lines),
                    None => extend_with_cr(out, lines),
                };
                let mut seal = transport.as_mut().map(|transport| {
                    |bytes: &[u8], wire: &mut Vec<u8>| {
                        sealed += bytes.len();
                        transport.seal(bytes, wire)
                    }
                });
                self.peer.drain(Some(&mut encode), seal.as_mut().map(|seal| seal as Seal<'_>), metrics)
            }
        };
        self.charge_encoding(encoded);
        self.slice.charge_bytes(sealed);
        drained
    }

    /// Lets the memory budget find what waits for this peer.
    pub(super) fn register_waiting_output(&mut self) {
        let mut metrics = MetricsDelta::default();
        self.peer.register_waiting_output(&mut metrics);
        self.context.registry.counters().add(&metrics);
    }

    /// Returns whether the connection of this blocked peer has to end at the memory ceiling: slow readers are to be closed, or
    /// dropped lines alone can't bring the server below the ceiling.
    pub(super) fn has_to_free_memory(&self) -> bool {
        let is_exhausted = self.peer.sink().memory().is_some_and(|memory| memory.is_exhausted_by_kernel_buffers());
        self.output_status != OutputStatus::Empty && (is_exhausted || self.peer.slow_reader() == SlowReader::Kick)
    }

    /// Charges lines that were encoded for this peer to the slice and to the budget of its address.
    pub(super) fn charge_encoding(&mut self, bytes: usize) {
        if bytes > 0 {
            self.slice.charge_encoding(bytes);
        }
        if bytes > 0 && !self.has_no_line_limit() && self.state.admitted_membership().is_some() {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.peer.sink().address_budget().charge_encoding(bytes, Instant::now().into_std());
        }
    }

    /// Returns whether the budget of the address delays what the connection encodes next; sets the deadline then. Bytes that
    /// are encoded already are not delayed, and neither is the end of a connection or of the server. The peer does not stall
    /// meanwhile.
    pub(super) fn waits_to_encode(&mut self) -> bool {
        if self.unwritten > 0
            || self.peer.route().is_direct()
            || (self.transport.is_some() && !self.display_encodes_lines())
            || self.has_no_line_limit()
            || self.state.admitted_membership().is_none()
        {
            return false;
        }
        let now = Instant::now().into_std();
        let allowed_at = self.peer.sink().address_budget().encoding_allowed_at(now);
        if allowed_at > now {
            self.deadlines.set(Deadline::Encoding, allowed_at.into());
            self.deadlines.clear(Deadline::Stall);
        }
        allowed_at > now
    }

    /// Ends a delay by the budget for encoded lines, so that the caller can go on with the output.
    pub(super) fn end_encoding_delay(&mut self) {
        if self.deadlines.is_set(Deadline::Encoding) {
            self.deadlines.clear(Deadline::Encoding);
            self.begin_draining();
        }
    }

    fn end_draining(&mut self) {
        self.output_status = OutputStatus::Empty;
        self.deadlines.clear(Deadline::Stall);
    }

    fn restart_stall_deadline(&mut self) {
        self.deadlines.set_after(Deadline::Stall, self.context.live.get().stall_timeout);
    }

    fn note_unwritten(&mut self, encoded: usize) {
        self.unwritten = u32::try_from(encoded).unwrap_or(u32::MAX);
    }

    /// Starts the time in which a peer that can't be written to any more is still read: what it sent before its end
    /// is delivered, and the read finds that end; but the peer must not stay a member for long.
    pub(super) fn start_read_grace(&mut self) {
        if !self.deadlines.is_set(Deadline::ReadGrace) {
            self.deadlines.set(Deadline::ReadGrace, Instant::now() + READ_GRACE);
        }
    }
}
