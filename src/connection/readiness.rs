//! Readiness: whether the server takes new clients, for health checks and for operators alike.

use crate::connection::ServerContext;
use crate::limits::memory::MemoryPressure;
use crate::metrics::listener_counts::ListenerNumber;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a server takes no new clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The listeners do not accept connections yet.
    #[error("starting: the listeners do not accept connections yet")]
    Starting,
    /// An operator drains the server, or it is shutting down.
    #[error("draining: the server takes no new connection")]
    Draining,
    /// A new process takes the server over.
    #[error("upgrading: a new process takes the server over")]
    Upgrading,
    /// The accept loops of some listeners have ended; holds their number.
    #[error("listeners: {0} of them accept no connection")]
    Listeners(usize),
    /// At least 90 % of the memory ceiling are in use; holds the percentage.
    #[error("memory: {0} % of the ceiling are in use, and no connection is admitted")]
    Memory(u64),
}

/// The accept loops of all listeners. All accesses are relaxed: the values publish no other memory.
#[derive(Debug)]
pub(crate) struct AcceptLoops {
    /// True once all listeners accept connections.
    is_accepting: AtomicBool,
    loops: Box<[LoopState]>,
    /// Accept loops that panicked so far.
    failures: AtomicU64,
}

/// The accept loop of one listener.
#[derive(Debug, Default)]
struct LoopState {
    is_running: AtomicBool,
    /// The number of accepted connections that the loop has begun and ended to start, together: odd while it starts one.
    steps: AtomicU64,
}

/// The progress of an accept loop that ought to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopProgress {
    steps: u64,
    failures: u64,
}

/// A running accept loop, which counts as ended when this is dropped.
#[derive(Debug)]
pub(crate) struct RunningLoop {
    context: Arc<ServerContext>,
    listener: ListenerNumber,
}

impl AcceptLoops {
    /// Returns the accept loops of `listeners` listeners, none of which runs.
    pub(crate) fn new(listeners: usize) -> Self {
        let loops = (0..listeners).map(|_| LoopState::default()).collect();
        Self { is_accepting: AtomicBool::new(false), loops, failures: AtomicU64::new(0) }
    }

    /// Notes that all listeners accept connections.
    pub(crate) fn set_accepting(&self) {
        self.is_accepting.store(true, Ordering::Relaxed);
    }

    /// Returns whether all listeners have begun to accept connections.
    pub(crate) fn is_accepting(&self) -> bool {
        self.is_accepting.load(Ordering::Relaxed)
    }

    /// Returns how many accept loops panicked so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the progress of each accept loop that has ended or that starts a connection; `None` for one that waits for
    /// a connection.
    pub(crate) fn progress(&self) -> impl Iterator<Item = Option<LoopProgress>> + '_ {
        self.loops.iter().map(|state| {
            let steps = state.steps.load(Ordering::Relaxed);
            let waits = state.is_running.load(Ordering::Relaxed) && steps.is_multiple_of(2);
            (!waits).then(|| LoopProgress { steps, failures: self.failures() })
        })
    }

    /// Returns how many accept loops have ended.
    fn ended(&self) -> usize {
        self.loops.iter().filter(|state| !state.is_running.load(Ordering::Relaxed)).count()
    }

    fn set_running(&self, listener: ListenerNumber, is_running: bool) {
        if let Some(state) = self.loops.get(listener.index()) {
            state.is_running.store(is_running, Ordering::Relaxed);
        }
    }
}

impl RunningLoop {
    /// Notes that the accept loop of a listener runs.
    pub(crate) fn new(context: Arc<ServerContext>, listener: ListenerNumber) -> Self {
        context.accept_loops.set_running(listener, true);
        Self { context, listener }
    }

    /// Runs the start of an accepted connection, during which the loop waits for no other one.
    pub(crate) async fn start_connection(&self, start: impl Future<Output = ()>) {
        struct Step<'a>(Option<&'a AtomicU64>);
        impl Drop for Step<'_> {
            fn drop(&mut self) {
                self.0.map(|steps| steps.fetch_add(1, Ordering::Relaxed));
            }
        }
        let steps = self.context.accept_loops.loops.get(self.listener.index()).map(|state| &state.steps);
        steps.map(|steps| steps.fetch_add(1, Ordering::Relaxed));
        // Also when the start panics, or is dropped.
        let _step = Step(steps);
        start.await;
    }

    /// Notes that the loop has panicked, and runs no more until [`RunningLoop::resume`].
    pub(crate) fn fail(&self) {
        let loops = &self.context.accept_loops;
        loops.set_running(self.listener, false);
        loops.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the loop runs again.
    pub(crate) fn resume(&self) {
        self.context.accept_loops.set_running(self.listener, true);
    }
}

impl Drop for RunningLoop {
    fn drop(&mut self) {
        self.context.accept_loops.set_running(self.listener, false);
    }
}

impl ServerContext {
    /// Returns whether the server takes new clients.
    ///
    /// # Errors
    /// [`NotReady`] with the reason if it does not.
    pub(crate) fn readiness(&self) -> Result<(), NotReady> {
        let (loops, memory) = (&self.accept_loops, self.registry.memory());
        if self.draining.is_cancelled() {
            return Err(NotReady::Draining);
        }
        if self.handover.is_active() {
            return Err(NotReady::Upgrading);
        }
        if !loops.is_accepting() {
            return Err(NotReady::Starting);
        }
        match loops.ended() {
            0 if memory.pressure() >= MemoryPressure::Critical => Err(NotReady::Memory(memory.used_percent())),
            0 => Ok(()),
            ended => Err(NotReady::Listeners(ended)),
        }
    }
}
