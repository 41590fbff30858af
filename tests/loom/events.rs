//! The event mailbox: a task that waits for events sees each event, and all that was done before it.
//!
//! | change | message of the failure |
//! |---|---|
//! | `take` loads before it registers the waker | deadlock |
//! | `raise` wakes no task, or wakes it before it sets the bits | deadlock |
//! | `raise` sets the bits with `Relaxed`, or `take` swaps with `Relaxed` | deadlock: the work is not seen |
//! | `take` loads the bits and stores 0 in place of the swap | deadlock |

use super::event_mailbox::EventMailbox;
use super::events::PeerEvents;
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::future::poll_fn;
use std::task::Poll;

/// How often loom preempts threads in one execution: three threads and the waker's mutex have many steps.
const PREEMPTIONS: usize = 2;

/// The mailbox of a connection, and the work of which its events tell, by thread.
#[derive(Default)]
struct Connection {
    mailbox: EventMailbox,
    work: [AtomicUsize; 2],
}

/// Lets two threads each do work and raise its event, while the task waits until it has seen both.
fn check(events: [PeerEvents; 2]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        let connection = Arc::new(Connection::default());
        let threads: Vec<_> = (0..events.len())
            .map(|of_thread| {
                let connection = Arc::clone(&connection);
                thread::spawn(move || {
                    connection.work[of_thread].store(1, Ordering::Relaxed);
                    connection.mailbox.raise(events[of_thread]);
                })
            })
            .collect();
        block_on(wait_for_all(&connection, events));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Waits until the work of both threads was seen. A task that misses an event waits for ever, which loom reports.
async fn wait_for_all(connection: &Connection, events: [PeerEvents; 2]) {
    let mut taken = PeerEvents::NONE;
    poll_fn(|context| {
        taken = taken | connection.mailbox.take(context);
        let seen = [0, 1].map(|of_thread| connection.work[of_thread].load(Ordering::Relaxed) == 1);
        // With events of their own the threads' work must be seen with its event.
        if events[0] != events[1] {
            for of_thread in [0, 1] {
                assert!(seen[of_thread] || !taken.contains(events[of_thread]), "work is not seen with its event");
            }
        }
        let has_all = taken.contains(events[0] | events[1]) && seen == [true, true];
        if has_all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn task_sees_each_event_and_the_work_before_it() {
    check([PeerEvents::OUTPUT_BLOCKED, PeerEvents::JOINED]);
}

/// The second thread may find its event raised already, and then wakes no task.
#[test]
fn task_sees_the_work_before_an_event_that_was_raised_already() {
    check([PeerEvents::OUTPUT_BLOCKED, PeerEvents::OUTPUT_BLOCKED]);
}
