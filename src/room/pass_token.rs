//! The pass token: the obligation to run a room's passes, as a value that can't be lost.

use crate::metrics::counters::{Counters, MetricsDelta};
use crate::peer::events::PeerEvents;
use crate::room::Room;
use crate::room::inbox::PassDue;
use crate::room::operation::Operation;
use crate::room::passes::PassHost;
use crate::room::registry::Registry;
use crate::room::roster::Members;
use crate::text::names::RoomName;
use crate::text::panics::panic_message;
use pin_project_lite::pin_project;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;
use tracing::error;

pin_project! {
    /// The obligation to run a room's passes until the room is quiet.
    ///
    /// The token is the future that runs them. It is spawned as a task; when it is dropped before it has
    /// completed (no runtime runs, the runtime shuts down, the task is aborted), the drop runs the rest of
    /// the passes in place: they wait for nothing, since their only awaits are yields.
    #[must_use = "a token that is dropped runs its passes in place"]
    pub(super) struct PassToken<F: Future<Output = ()>> {
        #[pin]
        passes: F,
        completed: bool,
    }

    impl<F: Future<Output = ()>> PinnedDrop for PassToken<F> {
        fn drop(this: Pin<&mut Self>) {
            let (mut token, mut context) = (this, Context::from_waker(Waker::noop()));
            while token.as_mut().poll(&mut context).is_pending() {}
        }
    }
}

impl<F: Future<Output = ()>> Future for PassToken<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let token = self.project();
        if !*token.completed {
            ready!(token.passes.poll(context));
            *token.completed = true;
        }
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()> + Send + 'static> PassToken<F> {
    /// Spawns the passes as a task that ends when the room is quiet. Without a runtime, runs them here.
    pub(super) fn spawn(self, tracker: &TaskTracker) {
        match Handle::try_current() {
            Ok(runtime) => drop(tracker.spawn_on(self, &runtime)),
            Err(_) => drop(self),
        }
    }
}

/// Takes over the obligation that `due` stands for.
pub(super) fn pass_token(
    _due: PassDue,
    registry: Arc<Registry>,
    room: Arc<Room>,
) -> PassToken<impl Future<Output = ()> + Send> {
    PassToken { passes: run(registry, room, Instant::now()), completed: false }
}

/// The registry, for the passes of one of its rooms.
struct RoomHost<'a> {
    registry: &'a Registry,
    room: &'a Arc<Room>,
    first_sent_at: Instant,
}

impl PassHost for RoomHost<'_> {
    fn counters(&self) -> &Counters {
        self.registry.counters()
    }

    fn room_count(&self) -> usize {
        self.registry.len()
    }

    fn rooms(&self) -> Vec<(RoomName, usize)> {
        self.registry.rooms()
    }

    fn on_quiet(&self) {
        self.registry.remove_if_empty(self.room);
    }

    fn first_sent_at(&self) -> Option<Instant> {
        Some(self.first_sent_at)
    }
}

/// Runs passes until the room is quiet. Closes the room when a pass panics: a room without a pass would
/// deliver no line to its members for ever. The first operation was sent at `first_sent_at`.
async fn run(registry: Arc<Registry>, room: Arc<Room>, first_sent_at: Instant) {
    // The connections read everything that is readable already, and it comes into the same batch.
    yield_now().await;
    let host = RoomHost { registry: &registry, room: &room, first_sent_at };
    let mut passes = pin!(room.run_passes(&host));
    let outcome = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| passes.as_mut().poll(context))) {
        Ok(progress) => progress.map(Ok),
        Err(cause) => Poll::Ready(Err(cause)),
    });
    if let Err(cause) = outcome.await {
        error!(room = room.name().as_str(), cause = panic_message(&*cause), "a pass panicked: the room is closed");
        close_failed_room(&registry, &room);
    }
}

/// Removes the room from the registry and raises `ROOM_FAILED` for its members and for the peers whose
/// joins, leaves and blocked lines wait in its inbox. `Inbox::complete` is not called, so that no pass starts any more.
fn close_failed_room(registry: &Registry, room: &Arc<Room>) {
    registry.remove(room);
    if let Some(link) = &room.link {
        link.tap.close(room.name(), link.instance());
    }
    let mut metrics = MetricsDelta::default();
    for operation in room.inbox.take(usize::MAX) {
        match operation {
            Operation::Join(member) | Operation::Leave(member) => member.raise(PeerEvents::ROOM_FAILED, &mut metrics),
            Operation::SendBlockedLines(lines) => lines.sender.raise(PeerEvents::ROOM_FAILED, &mut metrics),
            _ => {}
        }
    }
    for (key, peer) in room.roster().snapshot().iter() {
        peer.raise(PeerEvents::ROOM_FAILED.in_slot(key.slot), &mut metrics);
    }
    room.roster().replace(Members::default());
    registry.counters().add(&metrics);
}
