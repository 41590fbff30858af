//! Roomcast's own registry, rooms and peers, with sinks in place of sockets.

use super::sink::Sink;
use roomcast::SlowReader;
use roomcast::config::RoomSettings;
use roomcast::peer::Peer;
use roomcast::peer::PeerId;
use roomcast::peer::events::MembershipSlot;
use roomcast::room::membership::Membership;
use roomcast::room::registry::Registry;
use roomcast::text::names::{RoomName, UserName};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

/// The name in ids, tables and JSON.
pub(crate) const NAME: &str = "ours";

/// Lines that a sender has in flight. In designs with locks it is one line, because a sender delivers its
/// line itself before it sends the next.
pub(crate) const IN_FLIGHT: usize = 32;

/// The text of a line, without the sender's name.
pub(crate) const TEXT: &str = "the quick brown fox jumps over the lazy dog";

/// A limit of inboxes and backlogs that the benches do not reach.
const UNREACHED_LIMIT: usize = 1 << 20;

/// A member with a sink.
pub(crate) struct Member {
    membership: Membership,
    peer: Arc<Peer<Sink>>,
}

/// A server without sockets, and its permanent members.
pub(crate) struct InMemoryServer {
    runtime: Runtime,
    registry: Arc<Registry>,
    /// The permanent members, in the order of their joins.
    pub(crate) residents: Vec<Arc<Member>>,
}

impl InMemoryServer {
    /// Creates a server with this number of worker threads.
    pub(crate) fn new(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(threads).build();
        let runtime = runtime.unwrap_or_else(|error| unreachable!("no runtime: {error}"));
        Self {
            runtime,
            registry: Arc::new(Registry::new(
                RoomSettings { history_lines: 0, ..RoomSettings::default() },
                TaskTracker::new(),
            )),
            residents: Vec::new(),
        }
    }

    /// Returns the registry of rooms.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Runs a future on a worker thread, as connections run.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let done = self.runtime.block_on(self.runtime.spawn(future));
        done.unwrap_or_else(|error| unreachable!("nothing ends the runtime: {error}"))
    }

    /// Joins permanent members with these sinks to `room`, and waits until all are in.
    pub(crate) fn add_members(&mut self, room: &str, sinks: impl Iterator<Item = Sink>) {
        let context = self.runtime.enter();
        for sink in sinks {
            let number = self.residents.len() as u64;
            self.residents.push(Arc::new(Member::join(&self.registry, room, peer(number, sink))));
        }
        drop(context);
        let (registry, wanted) = (Arc::clone(&self.registry), self.residents.len() as u64);
        self.run(async move {
            while registry.counters().read().joins < wanted {
                yield_now().await;
            }
        });
    }
}

impl Drop for InMemoryServer {
    /// Drops the members inside the runtime, which a leave needs.
    fn drop(&mut self) {
        let _context = self.runtime.enter();
        self.residents.clear();
    }
}

impl Member {
    /// Requests a join. Returns before the room has admitted the member.
    pub(crate) fn join(registry: &Arc<Registry>, room: &str, peer: Arc<Peer<Sink>>) -> Self {
        let names = RoomName::parse(room).ok().zip(UserName::parse(&user_name(peer.id().0)).ok());
        let joined =
            names.and_then(|(room, user)| registry.join(room, user, Arc::clone(&peer) as _, MembershipSlot::A).ok());
        let membership = joined.unwrap_or_else(|| unreachable!("the names are good and the server is not ending"));
        Self { membership, peer }
    }

    /// Returns the member's sink.
    pub(crate) fn sink(&self) -> &Sink {
        self.peer.sink()
    }

    /// Sends `count` lines at once, and waits until its own sink, which awaits [`last_line`], has the last of
    /// them. Other members may not have it yet.
    pub(crate) async fn send_burst(&self, count: usize) {
        self.sink().reset();
        let user = self.membership.user();
        for at in 1..=count {
            let line = if at == count { last_line(user.as_str()) } else { chat_line(user.as_str()) };
            // Lines that exceed the inbox's capacity wait in the room: they are delivered all the same.
            let _status = self.membership.send_lines(line.into_bytes().into_boxed_slice(), 1);
        }
        self.sink().wait_for_text().await;
    }
}

/// Creates a peer for [`Member::join`].
pub(crate) fn peer(number: u64, sink: Sink) -> Arc<Peer<Sink>> {
    Arc::new(Peer::new(PeerId(number), UNREACHED_LIMIT, SlowReader::Skip, sink))
}

/// Returns the name of a member.
pub(crate) fn user_name(number: u64) -> String {
    format!("u{number}")
}

/// Returns a line as a room delivers it.
pub(crate) fn chat_line(user: &str) -> String {
    format!("{user}: {TEXT}\n")
}

/// Returns the last line of a burst.
pub(crate) fn last_line(user: &str) -> String {
    format!("{user}: {TEXT}!\n")
}

/// Creates a sink for a member that sends [bursts](Member::send_burst).
pub(crate) fn sender(number: usize, write_cost: Duration) -> Sink {
    Sink::awaiting(write_cost, &last_line(&user_name(number as u64)))
}
