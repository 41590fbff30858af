//! Membership charges: what the joins, leaves and renames of a batch pay for its deliveries.

use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use std::sync::Arc;

/// The members whose joins, leaves and renames the room was told of in one batch.
#[derive(Default)]
pub(crate) struct MembershipCharges {
    /// One entry for each operation: a member that joins and leaves pays twice.
    peers: Vec<Arc<Peer<dyn ByteSink>>>,
    /// The operations of the batch that added a line, those of `peers` included.
    speaking: usize,
}

impl MembershipCharges {
    /// Records an operation that added lines of a member.
    pub(super) fn record_lines(&mut self) {
        self.speaking += 1;
    }

    /// Records a join, a leave or a rename that added a notice.
    pub(super) fn record_notice(&mut self, peer: Arc<Peer<dyn ByteSink>>) {
        self.speaking += 1;
        self.peers.push(peer);
    }

    /// Returns the number of charges that are still to be made.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns each operation's share of `deliveries`, rounded up, and at least 1.
    pub(super) fn share(&self, deliveries: usize) -> u32 {
        u32::try_from(deliveries.div_ceil(self.speaking.max(1))).unwrap_or(u32::MAX).max(1)
    }

    /// Charges the last `most` of the operations `share` deliveries each.
    pub(super) fn charge_some(&mut self, most: usize, share: u32) {
        for peer in self.peers.drain(self.peers.len().saturating_sub(most)..) {
            peer.charge_membership_change(share);
        }
    }
}
