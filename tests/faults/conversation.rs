//! A conversation of two members, which goes on while a test harms the server or its machine.

use crate::common::{Client, wait_until};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// The arguments of a server that holds no line of a conversation back.
pub(super) const WITHOUT_RATES: [&str; 4] = ["--rate", "0", "--byte-rate", "0"];

/// The line that ends the members' streams at shutdown.
pub(super) const NOTICE: &str = "*** server is shutting down";

/// The arguments of a server that holds no line back, and others.
pub(super) fn with_arguments<'a>(others: &[&'a str]) -> Vec<&'a str> {
    [&WITHOUT_RATES, others].concat()
}

/// Two members of a room that talk in a thread: each line must arrive at both before the next one is sent.
pub(super) struct Conversation {
    stop: Arc<AtomicBool>,
    /// The lines that have arrived at both members. Relaxed: the counter publishes nothing.
    lines: Arc<AtomicUsize>,
    thread: JoinHandle<(Client, Client)>,
}

impl Conversation {
    /// Joins alice and bob to a room of their own, and starts to talk.
    pub(super) fn start(address: SocketAddr, room: &str) -> Self {
        let (mut alice, mut bob) = Client::join_pair(address, room, "alice", "bob");
        let (stop, lines) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = thread::spawn({
            let (stop, lines) = (Arc::clone(&stop), Arc::clone(&lines));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = lines.load(Ordering::Relaxed);
                    alice.send(format!("{number}\n"));
                    alice.expect_line(&format!("alice: {number}"));
                    bob.expect_line(&format!("alice: {number}"));
                    lines.store(number + 1, Ordering::Relaxed);
                }
                (alice, bob)
            }
        });
        Self { stop, lines, thread }
    }

    /// Waits until this number of further lines has arrived at both members.
    #[track_caller]
    pub(super) fn wait_for_lines(&self, count: usize) {
        let wanted = self.lines.load(Ordering::Relaxed) + count;
        wait_until("the conversation goes on", || {
            self.lines.load(Ordering::Relaxed) >= wanted || self.thread.is_finished()
        });
        assert!(self.lines.load(Ordering::Relaxed) >= wanted, "the conversation has ended");
    }

    /// Ends the conversation. Returns its members, which have read all lines.
    pub(super) fn finish(self) -> (Client, Client) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a line of the conversation was lost or changed")
    }
}
