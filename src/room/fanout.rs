//! A delivery: a batch that is laid out, and how it gets to peer after peer.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::line_batch::{BatchOffset, EncodedBatch};
use crate::room::replay::Replay;
use crate::room::roster::Members;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// A peer that came or went in a batch: its part, and what it is told when it has it.
pub(crate) struct PartialDelivery {
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
    /// The slot in which `then_raise` is raised.
    pub(crate) slot: MembershipSlot,
    /// The place in the replay up to which it is shown the past first; 0: not at all.
    pub(crate) replay_end: usize,
    pub(crate) from: BatchOffset,
    /// `None`: to the end.
    pub(crate) to: Option<BatchOffset>,
    pub(crate) then_raise: PeerEvents,
}

/// Parts that were not handed out yet.
#[derive(Default)]
pub(crate) struct PartialDeliveries(pub(crate) Vec<PartialDelivery>);

impl Drop for PartialDeliveries {
    /// A panic in the midst of it: who came or went in this batch may be in no roster, and nobody
    /// else would tell it.
    fn drop(&mut self) {
        for part in self.0.drain(..) {
            let events = part.then_raise | PeerEvents::ROOM_FAILED;
            part.peer.raise(events.in_slot(part.slot), &mut MetricsDelta::default());
        }
    }
}

/// A batch laid out, to be handed to peer after peer.
pub(crate) struct Fanout {
    /// The whole batch.
    pub(crate) all: EncodedBatch,
    pub(crate) end: BatchOffset,
    /// Who came or went in it.
    pub(crate) partials: PartialDeliveries,
    /// Who was there before it.
    pub(crate) members: Arc<Members>,
    /// Those of them who went in it.
    pub(crate) left: HashSet<PeerId>,
    /// The past for those who came, if they are shown any.
    pub(crate) replay: Option<Replay>,
}

impl Fanout {
    /// Hands their part to those who came or went, one for each step of the iterator, and tells
    /// them. A newcomer is told only then: what its connection writes comes behind its
    /// `has joined`.
    pub(crate) fn deliver_partial<'a>(&'a mut self, metrics: &'a mut MetricsDelta) -> impl Iterator<Item = ()> + 'a {
        self.partials.0.reverse();
        std::iter::from_fn(move || {
            let part = self.partials.0.last()?;
            let to = part.to.unwrap_or(self.end);
            if let Some(replay) = self.replay.as_ref().filter(|_| part.replay_end > 0) {
                let (lines, count) = replay.lines_before(part.replay_end);
                part.peer.deliver_batch(&EncodedBatch::new(Bytes::copy_from_slice(lines), count), metrics);
            }
            if to.bytes > part.from.bytes {
                part.peer.deliver(&self.all.part(part.peer.route(), part.from, to), metrics);
            }
            if part.then_raise != PeerEvents::NONE {
                part.peer.raise(part.then_raise.in_slot(part.slot), metrics);
            }
            self.partials.0.pop();
            Some(())
        })
    }

    /// Hands the whole batch to those who were here before it and still are, one for each step
    /// of the iterator.
    pub(crate) fn deliver_all<'a>(&'a self, metrics: &'a mut MetricsDelta) -> impl Iterator<Item = ()> + 'a {
        let anything = self.all.lines() > 0;
        let stayed = |peer: &Peer| self.left.is_empty() || !self.left.contains(&peer.id());
        let rest = self.members.values().filter(move |peer| anything && stayed(peer));
        rest.map(|peer| peer.deliver_batch(&self.all, metrics))
    }
}
