//! The login queue: the connections that have not joined a room, the oldest first, so that they can make way for new
//! connections when all places are taken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The connection has not asked for a room: it may have to make way.
const WAITING: u8 = 0;

/// The connection has asked for a room, and the room has not answered.
const JOINING: u8 = 1;

/// The connection has to end.
const MAKES_WAY: u8 = 2;

/// The most tickets that one call of [`LoginQueue::make_way`] looks at. More than these ask for a room at one instant
/// only if some thousand connections join at that instant.
const MAX_SEARCHED: usize = 64;

/// The most tickets of connections that have joined or ended that the queue keeps, besides as many as it has others.
const MAX_STALE: usize = 64;

/// The connections that have not joined, in the order of their admission.
///
/// Holds at most `2 n + 64` tickets if `n` connections have not joined: a longer queue drops the tickets of the others.
#[derive(Debug, Default)]
pub(crate) struct LoginQueue {
    tickets: VecDeque<Weak<LoginTicket>>,
    /// The length from which stale tickets are dropped.
    max_len: usize,
}

/// A connection's entry in the queue. The connection drops it when a room has admitted it.
#[derive(Debug)]
pub(crate) struct LoginTicket {
    /// `WAITING`, `JOINING` or `MAKES_WAY`. Relaxed: the state publishes no other memory, and each transition is one
    /// compare-exchange, so either the join or the end wins.
    state: AtomicU8,
    /// Cancelled when the connection has to make way, and with the server's token when the server shuts down.
    ended: CancellationToken,
}

impl LoginTicket {
    /// Completes when the connection has to make way, or when the server shuts down.
    pub(crate) fn ended(&self) -> WaitForCancellationFutureOwned {
        self.ended.clone().cancelled_owned()
    }

    /// Returns whether the connection has to make way.
    pub(crate) fn makes_way(&self) -> bool {
        self.state.load(Ordering::Relaxed) == MAKES_WAY
    }

    /// Notes that the connection asks for a room, so that it need not make way; returns false if it has to.
    pub(crate) fn begin_joining(&self) -> bool {
        self.change(WAITING, JOINING)
    }

    /// Notes that the room refused the connection, so that it may have to make way.
    pub(crate) fn return_to_login(&self) {
        self.change(JOINING, WAITING);
    }

    /// Asks the connection to make way; returns false if it is joining or was asked before.
    fn make_way(&self) -> bool {
        let is_asked = self.change(WAITING, MAKES_WAY);
        if is_asked {
            self.ended.cancel();
        }
        is_asked
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl LoginQueue {
    /// Appends a connection; `shutdown` is the server's token.
    pub(crate) fn push(&mut self, shutdown: &CancellationToken) -> Arc<LoginTicket> {
        if self.tickets.len() >= self.max_len.max(MAX_STALE) {
            self.tickets.retain(|ticket| ticket.strong_count() > 0);
            self.max_len = 2 * self.tickets.len() + MAX_STALE;
        }
        let ticket = Arc::new(LoginTicket { state: AtomicU8::new(WAITING), ended: shutdown.child_token() });
        self.tickets.push_back(Arc::downgrade(&ticket));
        ticket
    }

    /// Asks the oldest connection that has not joined to make way; returns false if there is none. A connection that
    /// waits for the answer of a room counts as younger than all others from now on.
    pub(crate) fn make_way(&mut self) -> bool {
        let mut searched = 0;
        while let Some(ticket) = self.tickets.pop_front() {
            let Some(connection) = ticket.upgrade() else { continue };
            if connection.make_way() {
                return true;
            }
            self.tickets.push_back(ticket);
            searched += 1;
            if searched >= MAX_SEARCHED.min(self.tickets.len()) {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(connections: usize) -> (LoginQueue, Vec<Arc<LoginTicket>>) {
        let (mut queue, shutdown) = (LoginQueue::default(), CancellationToken::new());
        let tickets = (0..connections).map(|_| queue.push(&shutdown)).collect();
        (queue, tickets)
    }

    #[test]
    fn oldest_connection_that_has_not_joined_makes_way() {
        let (mut queue, mut tickets) = queue(4);
        tickets.remove(0);
        assert!(tickets[0].begin_joining());
        assert!(queue.make_way());
        assert!(tickets[1].makes_way() && tickets[1].ended.is_cancelled());
        assert!(!tickets[1].begin_joining(), "a connection that makes way can't join");
        tickets[0].return_to_login();
        assert!(queue.make_way() && tickets[2].makes_way());
        assert!(queue.make_way() && tickets[0].makes_way(), "a refused join counts as younger");
        assert!(!queue.make_way());
    }

    #[test]
    fn connections_that_wait_for_a_room_do_not_make_way() {
        for connections in [1, 2, 63, 64, 65, 500] {
            let (mut queue, tickets) = queue(connections);
            assert!(tickets.iter().all(|ticket| ticket.begin_joining()));
            assert!(!queue.make_way() && tickets.iter().all(|ticket| !ticket.makes_way()));
            assert_eq!(queue.tickets.len(), connections, "no ticket is lost");
        }
    }

    #[test]
    fn shutdown_ends_every_connection_and_none_makes_way() {
        let (mut queue, shutdown) = (LoginQueue::default(), CancellationToken::new());
        let ticket = queue.push(&shutdown);
        shutdown.cancel();
        assert!(ticket.ended.is_cancelled() && !ticket.makes_way());
    }

    #[test]
    fn queue_keeps_few_tickets_of_connections_that_have_joined() {
        let (mut queue, shutdown) = (LoginQueue::default(), CancellationToken::new());
        let waiting = queue.push(&shutdown);
        for _ in 0..10_000 {
            drop(queue.push(&shutdown));
            assert!(queue.tickets.len() <= 2 + MAX_STALE, "{}", queue.tickets.len());
        }
        assert!(queue.make_way() && waiting.makes_way());
    }

    /// A queue of many live connections is searched for dead ones now and then, not at each new connection.
    #[test]
    fn queue_drops_dead_tickets_beside_many_live_ones_and_searches_rarely() {
        const LIVE: usize = 10 * MAX_STALE;
        let (mut queue, tickets) = queue(LIVE);
        let (shutdown, mut searches) = (CancellationToken::new(), 0);
        for _ in 0..10 * LIVE {
            let before = queue.tickets.len();
            drop(queue.push(&shutdown));
            searches += usize::from(queue.tickets.len() <= before);
            assert!(queue.tickets.len() <= 2 * LIVE + MAX_STALE, "{}", queue.tickets.len());
        }
        assert!((5..=10).contains(&searches), "{searches}: one is due after as many new connections as are alive");
        assert!(tickets.iter().all(|ticket| !ticket.makes_way()) && queue.make_way() && tickets[0].makes_way());
    }
}
