//! Stall check: finds work of the running server that is due and does not go on.
//!
//! Each check compares what it sees with what the check before has seen, so it finds what has stood still between the two:
//! a worker of the runtime in one poll, a pass of any room, and an accept loop.

use super::ServerStats;
use crate::connection::readiness::LoopProgress;
use crate::room::registry::PassSample;
use crate::text::names::RoomName;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::spawn_blocking;

/// Work that stands still. Shown, it names the work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stall {
    /// A worker of the runtime is in one poll of a task; holds its number.
    #[error("worker {0} of the runtime does not come back from a task")]
    Worker(usize),
    /// The passes of a room are due and do not run; holds the room's name.
    #[error("a delivery pass of room {0} does not go on")]
    Pass(RoomName),
    /// An accept loop has ended, or does not come back from the start of a connection; holds the listener.
    #[error("listener {0} accepts no connection")]
    Listener(String),
}

/// The progress of a busy worker: it changes when the worker parks, and each time the worker asks the system for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WorkerProgress {
    parks: u64,
    busy: Duration,
}

/// Compares the server with what the check before has seen.
#[derive(Debug)]
pub(super) struct StallCheck {
    stats: ServerStats,
    /// The busy workers of the last check, by number.
    workers: Vec<Option<WorkerProgress>>,
    /// The rooms whose passes were due at the last check.
    passes: Vec<PassSample>,
    /// The accept loops of the last check that had ended or started a connection, by listener.
    listeners: Vec<Option<LoopProgress>>,
}

impl StallCheck {
    pub(super) fn new(stats: ServerStats) -> Self {
        Self { stats, workers: Vec::new(), passes: Vec::new(), listeners: Vec::new() }
    }

    /// Looks at the workers of the current runtime, all rooms and all listeners.
    ///
    /// # Errors
    /// A [`Stall`] that has lasted since the last check.
    pub(super) async fn check(&mut self) -> Result<(), Stall> {
        let (worker, listener, pass) = (self.stalled_worker(), self.stalled_listener(), self.stalled_pass().await);
        let stall = worker.map(Stall::Worker).or(listener.map(Stall::Listener)).or(pass.map(Stall::Pass));
        stall.map_or(Ok(()), Err)
    }

    fn stalled_worker(&mut self) -> Option<usize> {
        let runtime = Handle::current();
        // The one thread of another runtime runs this check.
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return None;
        }
        let metrics = runtime.metrics();
        let progress = |worker| {
            let (parks, busy) = (metrics.worker_park_unpark_count(worker), metrics.worker_total_busy_duration(worker));
            // The count is odd while the worker is parked.
            parks.is_multiple_of(2).then_some(WorkerProgress { parks, busy })
        };
        replace_and_find_same(&mut self.workers, (0..metrics.num_workers()).map(progress).collect())
    }

    fn stalled_listener(&mut self) -> Option<String> {
        let progress = self.stats.context.accept_loops.progress().collect();
        let listener = replace_and_find_same(&mut self.listeners, progress)?;
        // The listeners of a server that drains, or does not run yet, accept nothing.
        let is_expected_to_accept = !self.stats.is_draining() && self.stats.context.accept_loops.is_accepting();
        is_expected_to_accept.then(|| self.stats.state.labels[listener].clone())
    }

    async fn stalled_pass(&mut self) -> Option<RoomName> {
        let registry = &self.stats.context.registry;
        let stalled = self.passes.iter().find_map(|sample| registry.find_stall(sample));
        let registry = registry.clone();
        // A walk through all rooms takes longer than a worker of the runtime may be taken.
        self.passes = spawn_blocking(move || registry.due_passes()).await.unwrap_or_default();
        stalled
    }
}

/// Replaces the samples of the last check; returns the index of one that is the same as then.
fn replace_and_find_same<T: PartialEq>(last: &mut Vec<Option<T>>, now: Vec<Option<T>>) -> Option<usize> {
    let same = last.iter().zip(&now).position(|(last, now)| now.is_some() && last == now);
    *last = now;
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, SlowReader};
    use crate::connection::readiness::RunningLoop;
    use crate::metrics::listener_counts::ListenerNumber;
    use crate::peer::byte_sink::ByteSink;
    use crate::peer::events::MembershipSlot;
    use crate::peer::{Peer, PeerId};
    use crate::room::membership::Membership;
    use crate::server::Server;
    use crate::text::names::UserName;
    use futures::FutureExt;
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc;

    struct Sink;

    impl ByteSink for Sink {
        fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
    }

    fn server() -> Server {
        let mut settings = Settings::default();
        settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        Server::bind(&settings, 10).unwrap()
    }

    fn join(server: &Server, room: &str) -> Membership {
        let peer = Arc::new(Peer::new(PeerId(0), 1 << 10, SlowReader::Skip, Sink));
        let (room, user) = (RoomName::parse(room).unwrap(), UserName::parse("alice").unwrap());
        server.context.registry.join(room, user, peer, MembershipSlot::A).unwrap()
    }

    #[tokio::test]
    async fn room_whose_pass_is_due_and_does_not_run_is_found() {
        let server = server();
        let (quiet, lost) = (join(&server, "quiet"), join(&server, "lost"));
        let mut check = StallCheck::new(server.stats());
        while lost.member_count() == 0 || quiet.member_count() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!((check.check().await, check.check().await), (Ok(()), Ok(())));
        let lost_name = RoomName::parse("lost").unwrap();
        server.context.registry.lose_pass(&lost_name);
        assert_eq!(check.check().await, Ok(()), "one check alone finds nothing");
        assert_eq!(check.check().await, Err(Stall::Pass(lost_name)));
        assert_eq!(check.check().await.unwrap_err().to_string(), "a delivery pass of room lost does not go on");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn worker_that_does_not_come_back_from_a_task_is_found() {
        let server = server();
        let (mut check, (release, released), (begin, beginning)) =
            (StallCheck::new(server.stats()), mpsc::channel::<()>(), mpsc::channel());
        let blocked = tokio::spawn(async move {
            begin.send(()).unwrap();
            released.recv()
        });
        beginning.recv().unwrap();
        assert_eq!(check.check().await, Ok(()), "one check alone finds nothing");
        let stall = check.check().await.unwrap_err();
        assert!(matches!(stall, Stall::Worker(0 | 1)), "{stall}");
        release.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        // The worker has another task, or is parked.
        while check.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn accept_loop_that_has_ended_is_found() {
        let server = server();
        let mut check = StallCheck::new(server.stats());
        let accepting = RunningLoop::new(Arc::clone(&server.context), ListenerNumber::from_index(0));
        server.context.accept_loops.set_accepting();
        assert_eq!((check.check().await, check.check().await), (Ok(()), Ok(())));
        accepting.fail();
        assert_eq!(check.check().await, Ok(()));
        accepting.resume();
        assert_eq!((check.check().await, check.check().await), (Ok(()), Ok(())), "the loop runs again");
        drop(accepting);
        assert_eq!(check.check().await, Ok(()));
        let label = server.addresses()[0].to_string();
        assert_eq!(check.check().await, Err(Stall::Listener(label)));
        server.context.draining.cancel();
        assert_eq!(check.check().await, Ok(()), "a server that drains accepts nothing");
    }

    #[tokio::test]
    async fn accept_loop_that_does_not_come_back_from_a_connection_is_found() {
        let server = server();
        let mut check = StallCheck::new(server.stats());
        let accepting = RunningLoop::new(Arc::clone(&server.context), ListenerNumber::from_index(0));
        server.context.accept_loops.set_accepting();
        accepting.start_connection(async {}).await;
        assert_eq!((check.check().await, check.check().await), (Ok(()), Ok(())));
        let mut starting = Box::pin(accepting.start_connection(std::future::pending()));
        assert!((&mut starting).now_or_never().is_none());
        assert_eq!(check.check().await, Ok(()));
        assert!(matches!(check.check().await, Err(Stall::Listener(_))));
        drop(starting);
        assert_eq!((check.check().await, check.check().await), (Ok(()), Ok(())));
    }
}
