//! Fan-out: a committed batch, and which part of it each peer gets.

use crate::limits::memory::MemoryCharge;
use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::line_batch::{BatchOffset, EncodedBatch};
use crate::room::history::HistoryOffset;
use crate::room::passes::REPLY_COST;
use crate::room::replay::Replay;
use crate::room::roster::Members;
use std::collections::HashSet;
use std::sync::Arc;

/// The bytes that cost as much to write as the call that writes them: about 5 µs.
pub(super) const BYTES_PER_DELIVERY: usize = 8 << 10;

/// The part of a batch for a peer that joined or left in it, and the events that follow the part.
pub(crate) struct PartialDelivery {
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
    /// The slot in which `then_raise` is raised.
    pub(crate) slot: MembershipSlot,
    /// The place in the replay up to which the peer is shown earlier lines first; `None` shows none.
    pub(crate) replay_end: Option<HistoryOffset>,
    pub(crate) from: BatchOffset,
    /// The end of the part; `None` is the end of the batch.
    pub(crate) to: Option<BatchOffset>,
    pub(crate) then_raise: PeerEvents,
}

/// The partial deliveries that are still to be made.
#[derive(Default)]
pub(crate) struct PartialDeliveries(pub(crate) Vec<PartialDelivery>);

impl Drop for PartialDeliveries {
    /// Raises `ROOM_FAILED` for the peers that are left after a panic: a peer that joined or left in this
    /// batch may be in no roster, so `close_failed_room` does not find it.
    fn drop(&mut self) {
        for part in self.0.drain(..) {
            let events = part.then_raise | PeerEvents::ROOM_FAILED;
            part.peer.raise(events.in_slot(part.slot), &mut MetricsDelta::default());
        }
    }
}

/// A committed batch, to be delivered to peer after peer.
pub(crate) struct Fanout {
    batch: EncodedBatch,
    end: BatchOffset,
    /// The parts for peers that joined or left in the batch, the first one last.
    partials: PartialDeliveries,
    /// The members before the batch.
    members: Arc<Members>,
    /// Those of `members` that left in the batch.
    left: HashSet<PeerId>,
    /// The earlier lines for peers that joined, if the room replays any.
    replay: Option<Box<Replay>>,
    /// The memory of the lines, which is held until the batch is delivered to all members.
    _memory: MemoryCharge,
}

impl Fanout {
    /// Creates the fan-out of the lines in `batch`, which end at `end`.
    pub(crate) fn new(
        (batch, end): (EncodedBatch, BatchOffset),
        mut partials: PartialDeliveries,
        (members, left): (Arc<Members>, HashSet<PeerId>),
        (replay, memory): (Option<Box<Replay>>, MemoryCharge),
    ) -> Self {
        partials.0.reverse();
        Self { batch, end, partials, members, left, replay, _memory: memory }
    }

    /// Returns the whole batch.
    pub(crate) fn batch(&self) -> &EncodedBatch {
        &self.batch
    }

    /// Returns the cost of the delivery of the whole batch to one peer, in deliveries of a few lines.
    pub(crate) fn delivery_cost(&self) -> usize {
        1 + self.end.bytes / BYTES_PER_DELIVERY
    }

    /// Returns the number of deliveries that are left.
    pub(crate) fn deliveries(&self) -> usize {
        let whole = if self.batch.lines() > 0 { self.members.len() - self.left.len() } else { 0 };
        self.partials.0.len() + whole
    }

    /// Returns the cost of the next partial delivery in deliveries, or `None` after the last one.
    pub(crate) fn next_partial_cost(&self) -> Option<usize> {
        let part = self.partials.0.last()?;
        Some(if part.replay_end.is_some() { REPLY_COST } else { self.delivery_cost() })
    }

    /// Delivers the next part, and raises the peer's events. The peer's connection writes after that, so
    /// its own output follows its `has joined`.
    pub(crate) fn deliver_next_partial(&mut self, metrics: &mut MetricsDelta) {
        // The part stays in the list until it is delivered: a panic raises ROOM_FAILED for its peer, too.
        let Some(part) = self.partials.0.last() else { return };
        let to = part.to.unwrap_or(self.end);
        if let Some((replay, end)) = self.replay.as_mut().zip(part.replay_end) {
            let lines = replay.lines_before(end);
            if !lines.is_empty() {
                part.peer.deliver_batch(&lines.into_batch(), metrics);
            }
        }
        if to.bytes > part.from.bytes {
            part.peer.deliver_part(&self.batch, part.from, to, metrics);
        }
        if part.then_raise != PeerEvents::NONE {
            part.peer.raise(part.then_raise.in_slot(part.slot), metrics);
        }
        self.partials.0.pop();
    }

    /// Returns the members that get the whole batch: they were members before it and did not leave in it.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &Arc<Peer<dyn ByteSink>>> {
        let members = (self.batch.lines() > 0).then(|| self.members.values());
        members.into_iter().flatten().filter(|peer| self.left.is_empty() || !self.left.contains(&peer.id()))
    }
}
