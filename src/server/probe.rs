//! The probe: shows that the runtime runs tasks, that delivery passes go on and reach members, and that listeners accept.
//!
//! A room of the probe's own shows that a pass goes all the way, and the stall check looks at the server's own passes.

use super::ServerStats;
use super::stall_check::{Stall, StallCheck};
use crate::config::{RoomSettings, SlowReader};
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::peer::{Peer, PeerId};
use crate::room::membership::Membership;
use crate::room::registry::Registry;
use crate::text::names::{RoomName, UserName};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// The line that a probe sends, without its LF.
const LINE: &[u8] = b"probe";

/// A bound on the lines that wait for the probe's member, in bytes. It takes every line at once.
const BACKLOG: usize = 4 << 10;

/// The check of the server's own work, and a room of its own, which no listing of rooms shows, with one member that takes
/// every line at once.
#[derive(Debug)]
pub struct ServerProbe {
    stalls: StallCheck,
    room: ProbeRoom,
}

/// The room of a probe.
#[derive(Debug)]
struct ProbeRoom {
    membership: Membership,
    delivered: Arc<DeliveredLines>,
    /// The lines that were sent.
    sent: u64,
}

/// The probe's lines that passes have delivered to its member.
#[derive(Debug, Default)]
struct DeliveredLines {
    /// Relaxed: the count publishes no other memory, and `changed` wakes its reader after each change.
    lines: AtomicU64,
    changed: Notify,
}

/// The member's end of a delivery.
struct ProbeSink(Arc<DeliveredLines>);

impl ByteSink for ProbeSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| *line == LINE).count();
        self.0.lines.fetch_add(lines as u64, Ordering::Relaxed);
        self.0.changed.notify_one();
        Ok(bytes.len())
    }
}

impl ServerProbe {
    /// Opens the room. Needs a runtime, the one that is probed.
    pub(super) fn new(stats: ServerStats) -> Option<Self> {
        Some(Self { stalls: StallCheck::new(stats), room: ProbeRoom::new()? })
    }

    /// Looks for work of the server that has stood still since the last call, and then waits until a pass has delivered a
    /// line. A caller bounds the wait.
    ///
    /// # Errors
    /// The [`Stall`] that was found. The first call finds none.
    pub async fn check(&mut self) -> Result<(), Stall> {
        self.stalls.check().await?;
        self.room.deliver_line().await;
        Ok(())
    }
}

impl ProbeRoom {
    /// Opens the room. Needs a runtime, the one that is probed.
    fn new() -> Option<Self> {
        let settings = RoomSettings { history_lines: 0, ..RoomSettings::default() };
        // A registry of its own: the server's counters, listings and shutdown do not see the room.
        Self::in_registry(&Arc::new(Registry::new(settings, TaskTracker::new())))
    }

    fn in_registry(registry: &Arc<Registry>) -> Option<Self> {
        let delivered = Arc::new(DeliveredLines::default());
        let sink = ProbeSink(Arc::clone(&delivered));
        let peer = Arc::new(Peer::new(PeerId(0), BACKLOG, SlowReader::Skip, sink));
        let (room, name) = (RoomName::parse("probe").ok()?, UserName::parse("probe").ok()?);
        let membership = registry.join(room, name, peer, MembershipSlot::A).ok()?;
        Some(Self { membership, delivered, sent: 0 })
    }

    /// Sends a line to the room, and waits until a pass has delivered it. While an earlier line is not delivered, it waits
    /// for that one and sends none, so a room whose passes fail gets one line at most.
    async fn deliver_line(&mut self) {
        if self.delivered.count() >= self.sent {
            self.sent += 1;
            // An empty inbox takes any line.
            let _ = self.membership.send_lines([LINE, b"\n"].concat().into(), 1);
        }
        while self.delivered.count() < self.sent {
            self.delivered.changed.notified().await;
        }
    }
}

impl DeliveredLines {
    fn count(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::time::Duration;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    #[tokio::test]
    async fn each_probe_is_answered_by_a_delivery() {
        let mut probe = ProbeRoom::new().unwrap();
        for number in 1..=3 {
            assert!(probe.deliver_line().now_or_never().is_none(), "an answer without a pass");
            probe.deliver_line().await;
            assert_eq!((probe.delivered.count(), probe.sent), (number, number));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_delivers_no_line_gives_no_answer() {
        let registry = Arc::new(Registry::new(RoomSettings::default(), TaskTracker::new()));
        let mut probe = ProbeRoom::in_registry(&registry).unwrap();
        probe.deliver_line().await;
        registry.shut_down();
        while probe.membership.member_count() > 0 {
            yield_now().await;
        }
        for _ in 0..3 {
            assert!(timeout(Duration::from_secs(15), probe.deliver_line()).await.is_err());
        }
        assert_eq!((probe.delivered.count(), probe.sent), (1, 2), "one line waits at most");
    }
}
