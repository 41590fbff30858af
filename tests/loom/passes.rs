//! The count that starts a room's passes: at most one pass runs, and it handles every operation.
//!
//! The queue stands in for crossbeam's. It is weaker: nothing but the count orders a pass's view of the queue's end,
//! where crossbeam's has a fence of its own.
//!
//! | change | message of the failure |
//! |---|---|
//! | `pending` loads with `Relaxed`, or `mark_sent` adds without `Release` | a counted operation is not in the queue |
//! | `complete` subtracts without `Release`, or `mark_sent` adds without `Acquire` | causality violation |
//! | an operation is counted before it is sent | a counted operation is not in the queue |
//! | `mark_sent` makes a pass due at every operation | causality violation |
//! | `complete` never asks for another pass | the room is quiet |
//!
//! No model fails if `complete` subtracts without `Acquire`: the pass that goes on calls `pending`, which acquires.

use super::PREEMPTIONS;
use super::pass_counter::{PassCounter, PassDue};
use loom::cell::Cell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};

/// The most operations of one model.
const MAX_OPERATIONS: usize = 4;

/// A place of the queue.
#[derive(Default)]
struct Place {
    operation: Cell<usize>,
    is_filled: AtomicBool,
}

/// A queue of operations, and what the passes know.
struct Room {
    counter: PassCounter,
    places: [Place; MAX_OPERATIONS],
    /// The end of the queue: the number of claimed places.
    end: AtomicUsize,
    /// How many operations passes have handled. Only the pass that runs accesses it.
    handled: Cell<usize>,
}

impl Room {
    fn new() -> Self {
        Self {
            counter: PassCounter::new(),
            places: Default::default(),
            end: AtomicUsize::new(0),
            handled: Cell::new(0),
        }
    }

    /// Sends an operation, and runs the passes that it makes due.
    fn send(&self, operation: usize) {
        let claimed = self.end.fetch_add(1, Ordering::Relaxed);
        self.places[claimed].operation.set(operation);
        self.places[claimed].is_filled.store(true, Ordering::Release);
        if let Some(due) = self.counter.mark_sent() {
            self.run_passes(due);
        }
    }

    fn run_passes(&self, _: PassDue) {
        // A pass reads the room's state before it reads the count.
        let mut handled = self.handled.get();
        loop {
            let operations = self.counter.pending();
            assert!((1..=MAX_OPERATIONS).contains(&operations), "a count of {operations}");
            for _ in 0..operations {
                self.handle(handled);
                handled += 1;
            }
            if !self.counter.complete(operations) {
                return;
            }
        }
    }

    fn handle(&self, next: usize) {
        assert!(next < self.end.load(Ordering::Relaxed), "a counted operation is not in the queue");
        while !self.places[next].is_filled.load(Ordering::Acquire) {
            thread::yield_now();
        }
        self.handled.set(next + 1);
    }

    /// Returns the operations that were handled, in order, after all threads have ended.
    fn into_handled(self) -> Vec<usize> {
        assert_eq!(self.counter.pending(), 0, "the room is quiet");
        self.places[..self.handled.get()].iter().map(|place| place.operation.get()).collect()
    }
}

/// Sends operations from another thread.
fn spawn_sender(room: &Arc<Room>, operations: &'static [usize]) -> JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || {
        for operation in operations {
            room.send(*operation);
        }
    })
}

/// Sends `own` while other threads send `others`; checks that passes handled all operations, each sender's in order.
fn check(preemptions: usize, own: &'static [usize], others: &'static [&'static [usize]]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let room = Arc::new(Room::new());
        let senders: Vec<_> = others.iter().map(|operations| spawn_sender(&room, operations)).collect();
        for operation in own {
            room.send(*operation);
        }
        for sender in senders {
            sender.join().unwrap();
        }
        let handled = Arc::try_unwrap(room).ok().expect("all senders have ended").into_handled();
        for sent in others.iter().chain([&own]) {
            let of_sender: Vec<_> = handled.iter().copied().filter(|operation| sent.contains(operation)).collect();
            assert_eq!(of_sender, *sent, "operations are missing or out of order: {handled:?}");
        }
    });
}

/// Two connections send to one room, each two operations: a pass may end between them.
#[test]
fn one_pass_at_a_time_handles_the_operations_of_two_senders() {
    check(PREEMPTIONS, &[10, 11], &[&[20, 21]]);
}

#[test]
fn one_pass_at_a_time_handles_the_operations_of_three_senders() {
    check(PREEMPTIONS - 2, &[10], &[&[20], &[30]]);
}
