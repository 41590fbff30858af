//! The directory: the live connections by number, through which operators reach them.
//!
//! A connection is entered when it is made and taken out when it begins to close; nothing else touches the directory, so a
//! line costs nothing. Room, name and figures are not kept here: the connection's own task reports them when it is asked.
//! An entry has 49 bytes with its hash map's byte, and the map is at least 7/16 full: at most 112 bytes a connection.

use super::Connection;
use super::close_reason::CloseReason;
use super::operator_requests::{CloseRequest, ConnectionReport, MuteRequest, OperatorRequests};
use crate::limits::bans::{Ban, BanList};
use crate::metrics::counters::MetricsDelta;
use crate::net::{PeerAddress, Socket};
use crate::peer::events::PeerEvents;
use crate::peer::{Peer, PeerId};
use dashmap::DashMap;
use ipnet::IpNet;
use std::collections::BinaryHeap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// The live connections, in a map of independently locked shards. No guard of the map leaves this type.
#[derive(Debug, Default)]
pub(crate) struct ConnectionDirectory {
    entries: DashMap<PeerId, Entry, RandomState>,
}

/// A connection as operators reach it.
#[derive(Debug)]
struct Entry {
    /// Weak, so that the directory keeps no descriptor open.
    peer: Weak<Peer<Socket>>,
    /// The operators' requests, until the connection's task takes them.
    requests: Option<Box<OperatorRequests>>,
    /// The address; `None` on a Unix socket.
    ip: Option<IpAddr>,
}

impl ConnectionDirectory {
    /// Enters a connection.
    pub(super) fn insert(&self, peer: &Arc<Peer<Socket>>, address: PeerAddress) {
        let entry = Entry { peer: Arc::downgrade(peer), requests: None, ip: address.ip() };
        self.entries.insert(peer.id(), entry);
    }

    /// Takes a connection out; returns why operators close it, if they do.
    fn remove(&self, id: PeerId) -> Option<CloseRequest> {
        let (_, entry) = self.entries.remove(&id)?;
        entry.requests.and_then(|requests| requests.close)
    }

    /// Returns the number of live connections.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the lowest `most` numbers of connections above `after`, and how many more there are. Locks one shard after
    /// the other for reading.
    pub(crate) fn page(&self, after: Option<PeerId>, most: usize) -> (Vec<PeerId>, usize) {
        let (mut lowest, mut total) = (BinaryHeap::with_capacity(most + 1), 0);
        for id in self.entries.iter().map(|entry| entry.key().0).filter(|id| after.is_none_or(|after| *id > after.0)) {
            total += 1;
            lowest.push(id);
            if lowest.len() > most {
                lowest.pop();
            }
        }
        let left_out = total - lowest.len();
        (lowest.into_sorted_vec().into_iter().map(PeerId).collect(), left_out)
    }

    /// Returns the connections from the addresses of `network`. Locks one shard after the other for reading.
    pub(crate) fn find_by_network(&self, network: IpNet) -> Vec<PeerId> {
        let is_from = |ip: Option<IpAddr>| ip.is_some_and(|ip| network.contains(&ip));
        self.entries.iter().filter(|entry| is_from(entry.value().ip)).map(|entry| *entry.key()).collect()
    }

    /// Returns the connections from addresses that are banned, each with its ban. Locks one shard after the other for reading.
    pub(crate) fn find_banned(&self, bans: &BanList) -> Vec<(PeerId, Arc<Ban>)> {
        let ban_of = |ip: Option<IpAddr>| bans.find(ip?, SystemTime::now);
        self.entries.iter().filter_map(|entry| Some((*entry.key(), ban_of(entry.value().ip)?))).collect()
    }

    /// Asks a connection to close; returns false if there is no such connection. Of several requests the first one counts.
    pub(crate) fn request_close(&self, id: PeerId, reason: CloseReason, told: String) -> bool {
        self.request(id, |requests| {
            requests.close.get_or_insert(CloseRequest { reason, told });
        })
    }

    /// Mutes a connection for a time, or until it closes; returns false if there is no such connection.
    pub(crate) fn request_mute(&self, id: PeerId, time: Option<Duration>) -> bool {
        self.request(id, |requests| requests.mute = Some(MuteRequest::Mute(time)))
    }

    /// Unmutes a connection; returns false if there is no such connection.
    pub(crate) fn request_unmute(&self, id: PeerId) -> bool {
        self.request(id, |requests| requests.mute = Some(MuteRequest::Unmute))
    }

    /// Asks a connection for its figures, which come at its next turn; `None` if there is no such connection. A connection
    /// that begins to close meanwhile drops the request.
    pub(crate) fn request_report(&self, id: PeerId) -> Option<oneshot::Receiver<ConnectionReport>> {
        let (sender, receiver) = oneshot::channel();
        self.request(id, |requests| requests.add_report(sender)).then_some(receiver)
    }

    /// Keeps a request for a connection and wakes its task.
    fn request(&self, id: PeerId, add: impl FnOnce(&mut OperatorRequests)) -> bool {
        let Some(mut entry) = self.entries.get_mut(&id) else { return false };
        add(entry.requests.get_or_insert_default());
        let peer = Weak::clone(&entry.peer);
        drop(entry);
        if let Some(peer) = peer.upgrade() {
            peer.raise(PeerEvents::OPERATOR_REQUEST, &mut MetricsDelta::default());
        }
        true
    }

    /// Makes every connection look at the handover. Locks one shard after the other for reading.
    pub(crate) fn wake_all(&self) {
        let mut metrics = MetricsDelta::default();
        for peer in self.entries.iter().filter_map(|entry| entry.value().peer.upgrade()) {
            peer.raise(PeerEvents::OPERATOR_REQUEST, &mut metrics);
        }
    }

    /// Takes what operators want of a connection. The request to close it stays until [`Connection::leave_directory`].
    fn take_requests(&self, id: PeerId) -> OperatorRequests {
        let Some(mut entry) = self.entries.get_mut(&id) else { return OperatorRequests::default() };
        match &mut entry.requests {
            Some(requests) => requests.take_all_but_close(),
            None => OperatorRequests::default(),
        }
    }
}

impl Connection {
    /// Enters the connection, if the server has a directory.
    pub(super) fn enter_directory(&self) {
        if let Some(directory) = &self.context.directory {
            directory.insert(&self.peer, self.address);
        }
    }

    /// Takes the connection out of the directory; returns why operators close it, if they do.
    pub(super) fn leave_directory(&self) -> Option<CloseRequest> {
        self.context.directory.as_ref()?.remove(self.peer.id())
    }

    /// Takes what operators want of the connection.
    pub(super) fn take_operator_requests(&self) -> OperatorRequests {
        let directory = self.context.directory.as_ref();
        directory.map(|directory| directory.take_requests(self.peer.id())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_small() {
        assert!(size_of::<(PeerId, Entry)>() <= 48, "{}", size_of::<(PeerId, Entry)>());
    }

    #[test]
    fn page_has_the_lowest_numbers_and_counts_the_others() {
        let directory = ConnectionDirectory::default();
        for id in (0..100).rev() {
            directory.entries.insert(PeerId(id), Entry { peer: Weak::new(), requests: None, ip: None });
        }
        let numbers = |after: Option<u64>, most| {
            let (page, left_out) = directory.page(after.map(PeerId), most);
            (page.into_iter().map(|id| id.0).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(numbers(None, 3), (vec![0, 1, 2], 97));
        assert_eq!(numbers(Some(2), 3), (vec![3, 4, 5], 94));
        assert_eq!(numbers(Some(97), 3), (vec![98, 99], 0));
        assert_eq!(numbers(Some(99), 3), (vec![], 0));
    }

    #[test]
    fn network_finds_its_own_addresses_and_no_unix_peer() {
        let directory = ConnectionDirectory::default();
        for (id, ip) in [(1, Some("10.0.0.1")), (2, Some("2001:db8::1")), (3, None)] {
            let ip = ip.map(|ip| ip.parse().unwrap());
            directory.entries.insert(PeerId(id), Entry { peer: Weak::new(), requests: None, ip });
        }
        assert_eq!(directory.find_by_network("10.0.0.0/8".parse().unwrap()), [PeerId(1)]);
        assert_eq!(directory.find_by_network("2001:db8::/64".parse().unwrap()), [PeerId(2)]);
        assert_eq!(directory.find_by_network("::/0".parse().unwrap()), [PeerId(2)]);
    }

    #[test]
    fn request_to_a_connection_that_is_gone_is_refused() {
        let directory = ConnectionDirectory::default();
        assert!(!directory.request_close(PeerId(7), CloseReason::Kicked, String::new()));
        assert!(!directory.request_mute(PeerId(7), None) && !directory.request_unmute(PeerId(7)));
        assert!(directory.request_report(PeerId(7)).is_none());
    }

    #[test]
    fn first_request_to_close_counts_and_stays_until_the_connection_leaves() {
        let directory = ConnectionDirectory::default();
        directory.entries.insert(PeerId(7), Entry { peer: Weak::new(), requests: None, ip: None });
        assert!(directory.request_close(PeerId(7), CloseReason::Kicked, "first".to_owned()));
        assert!(directory.request_close(PeerId(7), CloseReason::Banned, "second".to_owned()));
        assert_eq!(directory.take_requests(PeerId(7)).close.unwrap().told, "first");
        assert_eq!(directory.remove(PeerId(7)).unwrap().told, "first");
        assert!(directory.remove(PeerId(7)).is_none());
    }
}
