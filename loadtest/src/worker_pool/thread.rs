//! A worker that is a thread of this process.
//!
//! Commands reach the worker through a channel, and a waker ends its poll. A worker whose thread panics still sends its
//! last event, so that no other part of the run waits for it.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use mio::Waker;

use super::NumberedEvent;
use crate::message::{Command, Event};
use crate::plan::Share;
use crate::worker::run_worker;

/// The link to a worker that is a thread of this process.
#[derive(Clone)]
pub(super) struct ThreadLink {
    /// The worker's commands.
    commands: Sender<Command>,
    /// Wakes the worker's poll, once the worker has one.
    waker: Arc<OnceLock<Arc<Waker>>>,
}

impl ThreadLink {
    /// Starts a worker with a number and a share.
    pub(super) fn start((number, share): (usize, Share), events_out: &Sender<NumberedEvent>) -> Self {
        let (commands, commands_in) = mpsc::channel();
        let waker = Arc::new(OnceLock::new());
        let (thread_waker, events_out) = (Arc::clone(&waker), events_out.clone());
        thread::spawn(move || {
            // Sending fails only when the coordinator has ended.
            let panic_reporter = PanicReporter { number, events_out: events_out.clone() };
            let events_out = |event| _ = events_out.send((number, event));
            run_worker(share, &commands_in, &|waker| _ = thread_waker.set(waker), &events_out);
            drop(panic_reporter);
        });
        Self { commands, waker }
    }

    /// Sends a command to the worker. A worker that has finished ignores it.
    pub(super) fn send(&self, command: Command) {
        if self.commands.send(command).is_ok()
            && let Some(waker) = self.waker.get()
        {
            let _ = waker.wake();
        }
    }
}

/// Sends a command to some workers. A worker that has finished ignores it.
pub(super) fn send_to_all(workers: &[ThreadLink], command: Command) {
    for worker in workers {
        worker.send(command);
    }
}

/// Sends a failure when its worker's thread panics, so that the coordinator does not wait for it.
struct PanicReporter {
    number: usize,
    events_out: Sender<NumberedEvent>,
}

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if thread::panicking() {
            let event = Event::failed("a worker panicked: its measurements are missing");
            let _ = self.events_out.send((self.number, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panicking_worker_sends_a_failure() {
        let (events_out, events) = mpsc::channel();
        let panicked = thread::spawn(move || {
            let _panic_reporter = PanicReporter { number: 7, events_out };
            panic!("panic of the test");
        });
        assert!(panicked.join().is_err());
        let Ok((7, Event::Finished(report))) = events.recv() else { panic!("no event") };
        assert!(report.failure.is_some_and(|words| words.contains("a worker panicked")));
    }
}
