//! Ours: the server's own registry, rooms and peers, with sinks in place of sockets.

use super::sink::Sink;
use roomcast::SlowReader;
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

/// As it stands in ids and tables.
pub(crate) const NAME: &str = "ours";

/// Lines that a speaker has on their way at a time. The designs with locks have one: there a
/// speaker delivers its line itself before it says the next.
pub(crate) const IN_FLIGHT: usize = 32;

/// What is said, without the speaker's name.
pub(crate) const TEXT: &str = "the quick brown fox jumps over the lazy dog";

/// A bound of inboxes and backlogs that is not reached here.
const ROOMY: usize = 1 << 20;

/// A member with a sink.
pub(crate) struct Member {
    membership: Membership,
    peer: Arc<Peer<Sink>>,
}

/// A server without sockets, and those who stay in its rooms.
pub(crate) struct Ours {
    runtime: Runtime,
    registry: Arc<Registry>,
    /// In the order in which they came.
    pub(crate) residents: Vec<Arc<Member>>,
}

impl Ours {
    /// With so many worker threads.
    pub(crate) fn new(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(threads).build();
        let runtime = runtime.unwrap_or_else(|error| unreachable!("no runtime: {error}"));
        Self { runtime, registry: Arc::new(Registry::new(ROOMY, false)), residents: Vec::new() }
    }

    /// The rooms.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Runs a future on a worker thread, as connections run.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let done = self.runtime.block_on(self.runtime.spawn(future));
        done.unwrap_or_else(|error| unreachable!("nothing ends the runtime: {error}"))
    }

    /// Lets members with these sinks come to stay in `room`, and waits until all are in.
    pub(crate) fn settle(&mut self, room: &str, sinks: impl Iterator<Item = Sink>) {
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

impl Drop for Ours {
    /// Who leaves needs the runtime.
    fn drop(&mut self) {
        let _context = self.runtime.enter();
        self.residents.clear();
    }
}

impl Member {
    /// Asks for a seat; returns before it is given.
    pub(crate) fn join(registry: &Arc<Registry>, room: &str, peer: Arc<Peer<Sink>>) -> Self {
        let names = RoomName::parse(room).ok().zip(UserName::parse(&user(peer.id().0)).ok());
        let joined =
            names.and_then(|(room, user)| registry.join(room, user, Arc::clone(&peer) as _, MembershipSlot::A).ok());
        let membership = joined.unwrap_or_else(|| unreachable!("the names are good and the server is not ending"));
        Self { membership, peer }
    }

    /// Where its lines go.
    pub(crate) fn sink(&self) -> &Sink {
        self.peer.sink()
    }

    /// Says `count` lines at once, and waits until its own sink, watched for [`last_words`], got
    /// the last of them. Others may not have it yet.
    pub(crate) async fn burst(&self, count: usize) {
        self.sink().forget();
        let user = self.membership.user();
        for at in 1..=count {
            let line = if at == count { last_words(user.as_str()) } else { line(user.as_str()) };
            let said = self.membership.send_lines(line.into_bytes().into_boxed_slice(), 1);
            assert!(said.is_ok(), "an inbox of 1 MiB has room for so few");
        }
        self.sink().seen().await;
    }
}

/// A peer for [`Member::join`].
pub(crate) fn peer(number: u64, sink: Sink) -> Arc<Peer<Sink>> {
    Arc::new(Peer::new(PeerId(number), ROOMY, SlowReader::Skip, sink))
}

/// The name of a member.
pub(crate) fn user(number: u64) -> String {
    format!("u{number}")
}

/// A line as it is laid out.
pub(crate) fn line(user: &str) -> String {
    format!("{user}: {TEXT}\n")
}

/// The last line of a burst.
pub(crate) fn last_words(user: &str) -> String {
    format!("{user}: {TEXT}!\n")
}

/// A sink for somebody who says [bursts](Member::burst).
pub(crate) fn speaker(number: usize, price: Duration) -> Sink {
    Sink::watched(price, &last_words(&user(number as u64)))
}
