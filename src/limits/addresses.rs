//! Addresses: how many connections each peer address has, how fast it opens them, and the budget that they share.
//!
//! An admission enters an address, and the drop of its [`AddressSlot`] leaves it. Nothing else touches the book: a line
//! or a command of a connection reaches its address's budget through the slot.

use crate::limits::address_budget::AddressBudget;
use crate::limits::rate::RateLimit;
use crate::limits::server_limits::ServerLimits;
use crate::limits::shared_rate::SharedRateLimiter;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an address is kept after its last connection, so that reconnecting refills no budget.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The most addresses without a connection that are kept: about 3 MiB. Beyond that the oldest one is dropped, whatever
/// it has used: a peer that has so many addresses needs no old one to get a full budget.
const MAX_KEPT: usize = 16_384;

/// The most addresses that one call of [`AddressBook::enter`] looks at in each of its queues. A call adds one address at
/// most, so the queues shrink while connections come.
const SWEPT_AT_ONCE: usize = 4;

/// The key of one address: peers with the same key share their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum AddressKey {
    /// One IPv4 address.
    V4(u32),
    /// One IPv6 network of 64 bits, which one subscriber has.
    V6(u64),
    /// All peers on Unix sockets.
    Unix,
}

/// The bounds of each address that is not exempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressLimits {
    /// The most connections at a time; 0 for no limit.
    pub(crate) max_connections: usize,
    /// The rate of new connections.
    pub(crate) connect_rate: RateLimit,
}

/// Why an address gets no further connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRefusal {
    /// The address has the most connections that it may have.
    TooMany,
    /// The address opens connections too fast.
    TooFast,
}

/// The addresses that have connections, or had some a short time ago.
///
/// Holds at most twice as many addresses as there may be connections, and [`MAX_KEPT`] more.
#[derive(Debug)]
pub(crate) struct AddressBook {
    /// Addresses come from outside: the hash is `SipHash` with a random seed.
    entries: HashMap<AddressKey, Arc<AddressEntry>, RandomState>,
    limits: AddressLimits,
    /// The bounds that all addresses share.
    server: Arc<ServerLimits>,
    /// Addresses without a connection, each with the time from which it is kept, the oldest first.
    kept: VecDeque<(Instant, Arc<AddressEntry>)>,
    /// Addresses whose last connection has ended.
    unused: Receiver<Arc<AddressEntry>>,
    unused_sender: Sender<Arc<AddressEntry>>,
}

/// One address.
#[derive(Debug)]
struct AddressEntry {
    key: AddressKey,
    connections: ConnectionCount,
    /// How much of [`AddressLimits::connect_rate`] is used.
    connects: SharedRateLimiter,
    budget: AddressBudget,
    server: Arc<ServerLimits>,
    unused: Sender<Arc<AddressEntry>>,
}

/// The number of an address's connections, and whether the book's queues hold the address. Both are one atomic, so an
/// address without a connection is in exactly one queue. Relaxed throughout: the count publishes no other memory.
#[derive(Debug)]
struct ConnectionCount(AtomicUsize);

/// Set in a [`ConnectionCount`] while a queue holds the address. A connection counts 2.
const QUEUED: usize = 1;

/// The use that an address has made of its limits, as another process continues it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MovedAddress {
    key: AddressKey,
    connects: i64,
    budget: [i64; 4],
}

/// A connection's slot in its address. As small as a pointer: each connection has one.
#[derive(Debug)]
pub(crate) struct AddressSlot(Arc<AddressEntry>);

impl From<Option<IpAddr>> for AddressKey {
    /// Returns the key of a peer; `None` is a peer on a Unix socket. An IPv4-mapped IPv6 address counts as IPv4.
    fn from(ip: Option<IpAddr>) -> Self {
        match ip.map(|ip| ip.to_canonical()) {
            None => Self::Unix,
            Some(IpAddr::V4(ip)) => Self::V4(ip.to_bits()),
            Some(IpAddr::V6(ip)) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl ConnectionCount {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed) / 2
    }

    fn add(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    /// Removes a connection; returns whether it was the last one and the address has to be queued.
    fn remove(&self) -> bool {
        let fewer = |count| Some(if count == 2 { QUEUED } else { count - 2 });
        // The function always returns a count.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).unwrap_or_default();
        before == 2
    }

    /// Takes the address out of its queue if it has connections; returns whether it has.
    fn leave_queue_if_used(&self) -> bool {
        let leave = |count| (count > QUEUED).then_some(count & !QUEUED);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, leave).is_ok()
    }
}

impl AddressBook {
    pub(crate) fn new(limits: AddressLimits, server: Arc<ServerLimits>) -> Self {
        let (unused_sender, unused) = crossbeam_channel::unbounded();
        let entries = HashMap::with_hasher(RandomState::new());
        Self { entries, limits, server, kept: VecDeque::new(), unused, unused_sender }
    }

    /// Counts a new connection of `key`, which spends one unit of the address's connect rate. An exempt address has no
    /// bound, and is counted. Drops a few addresses that need not be kept any longer.
    ///
    /// # Errors
    /// The bound that the address is at; a refused connection spends nothing.
    pub(crate) fn enter(
        &mut self,
        key: AddressKey,
        is_exempt: bool,
        now: Instant,
    ) -> Result<AddressSlot, AddressRefusal> {
        self.sweep(now);
        let (server, unused) = (&self.server, &self.unused_sender);
        let new_entry = || AddressEntry::new(key, Arc::clone(server), unused.clone(), now);
        let entry = self.entries.entry(key).or_insert_with(new_entry);
        if !is_exempt {
            let AddressLimits { max_connections, connect_rate } = &self.limits;
            if *max_connections > 0 && entry.connections.get() >= *max_connections {
                return Err(AddressRefusal::TooMany);
            }
            if entry.connects.ready_at(connect_rate, now) > now {
                return Err(AddressRefusal::TooFast);
            }
            entry.connects.spend(1, connect_rate, now);
        }
        entry.connections.add();
        Ok(AddressSlot(Arc::clone(entry)))
    }

    /// Returns the addresses of which something is used at `now`, for another process.
    pub(crate) fn export(&self, now: Instant) -> Vec<MovedAddress> {
        let used = self.entries.values().filter(|entry| !entry.is_unused(now));
        let moved = |entry: &Arc<AddressEntry>| MovedAddress {
            key: entry.key,
            connects: entry.connects.export(),
            budget: entry.budget.export(),
        };
        used.map(moved).collect()
    }

    /// Keeps addresses of another process, which have no connection here yet. Beyond the most that are kept the others are
    /// left out.
    pub(crate) fn import(&mut self, moved: &[MovedAddress], now: Instant) {
        for MovedAddress { key, connects, budget } in moved.iter().take(MAX_KEPT) {
            let entry = AddressEntry::new(*key, Arc::clone(&self.server), self.unused_sender.clone(), now);
            entry.connects.import(*connects);
            entry.budget.import(*budget);
            entry.connections.0.store(QUEUED, Ordering::Relaxed);
            self.entries.insert(*key, Arc::clone(&entry));
            self.kept.push_back((now, entry));
        }
    }

    /// Moves addresses whose last connection has ended to the kept ones, and drops those that were kept long enough.
    fn sweep(&mut self, now: Instant) {
        for entry in self.unused.try_iter().take(SWEPT_AT_ONCE) {
            self.kept.push_back((now, entry));
        }
        for _ in 0..SWEPT_AT_ONCE {
            let is_full = self.kept.len() > MAX_KEPT;
            let Some((since, entry)) = self.kept.pop_front() else { return };
            if entry.connections.leave_queue_if_used() {
                continue;
            }
            if !is_full && now.saturating_duration_since(since) < KEPT_FOR {
                self.kept.push_front((since, entry));
                return;
            }
            if is_full || entry.is_unused(now) {
                self.entries.remove(&entry.key);
            } else {
                self.kept.push_back((now, entry));
            }
        }
    }
}

impl AddressEntry {
    fn new(key: AddressKey, server: Arc<ServerLimits>, unused: Sender<Arc<Self>>, now: Instant) -> Arc<Self> {
        let (connections, connects) = (ConnectionCount(AtomicUsize::new(0)), SharedRateLimiter::new(now));
        Arc::new(Self { key, connections, connects, budget: AddressBudget::new(now), server, unused })
    }

    /// Returns whether a new entry would be as good at `now`.
    fn is_unused(&self, now: Instant) -> bool {
        self.connects.is_unused(now) && self.budget.is_unused(now)
    }
}

impl AddressSlot {
    /// Returns the budget that the connections of the address share.
    pub(crate) fn budget(&self) -> &AddressBudget {
        &self.0.budget
    }

    /// Returns the bounds of the whole server.
    pub(crate) fn server(&self) -> &ServerLimits {
        &self.0.server
    }

    /// Returns how many connections the address has, this one included.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections.get()
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        if self.0.connections.remove() {
            // The book is gone only when the server is: no later connection needs the entry.
            let _ = self.0.unused.send(Arc::clone(&self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::memory::MemoryBudget;
    use std::num::NonZeroU32;

    /// At most 3 connections of an address, one a second and 5 at once.
    fn book() -> AddressBook {
        let connect_rate = RateLimit::new(1, NonZeroU32::new(5).unwrap());
        let server = ServerLimits::new(1, MemoryBudget::new(u64::MAX));
        AddressBook::new(AddressLimits { max_connections: 3, connect_rate }, server)
    }

    fn key(ip: &str) -> AddressKey {
        Some(ip.parse::<IpAddr>().unwrap()).into()
    }

    /// Returns the key of another IPv4 address for each number.
    fn numbered(number: usize) -> AddressKey {
        AddressKey::V4(u32::try_from(number).unwrap())
    }

    #[test]
    fn key_is_an_ipv4_address_or_an_ipv6_network() {
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(AddressKey::from(None), AddressKey::Unix);
    }

    #[test]
    fn address_has_at_most_its_connections_at_a_time() {
        let (mut book, now, address) = (book(), Instant::now(), key("10.0.0.1"));
        let mut slots: Vec<_> = (0..3).map(|_| book.enter(address, false, now).unwrap()).collect();
        assert_eq!(book.enter(address, false, now).unwrap_err(), AddressRefusal::TooMany);
        assert!(book.enter(key("10.0.0.2"), false, now).is_ok());
        slots.pop();
        slots.push(book.enter(address, false, now).unwrap());
        assert_eq!(slots[0].connections(), 3);
    }

    #[test]
    fn reconnecting_refills_neither_the_connect_rate_nor_the_budget() {
        let (mut book, start, address) = (book(), Instant::now(), key("10.0.0.1"));
        for _ in 0..5 {
            let slot = book.enter(address, false, start).unwrap();
            slot.budget().spend_command(10_000, start);
        }
        assert_eq!(book.enter(address, false, start).unwrap_err(), AddressRefusal::TooFast);
        let later = start + Duration::from_secs(1);
        let slot = book.enter(address, false, later).unwrap();
        assert!(slot.budget().spend_command(1, later) > later, "what closed connections have spent is still owed");
        assert_eq!(book.enter(address, false, later).unwrap_err(), AddressRefusal::TooFast);
    }

    #[test]
    fn exempt_address_has_no_bound_and_shares_its_budget() {
        let (mut book, now, address) = (book(), Instant::now(), AddressKey::Unix);
        let slots: Vec<_> = (0..100).map(|_| book.enter(address, true, now).unwrap()).collect();
        assert_eq!(slots[0].connections(), 100);
        slots[0].budget().spend_command(8_000, now);
        assert!(slots[99].budget().spend_command(1, now) > now);
    }

    #[test]
    fn address_is_kept_for_a_minute_and_while_its_budget_is_used() {
        let (mut book, start) = (book(), Instant::now());
        book.enter(numbered(0), false, start).unwrap().budget().charge_membership_change(20_000 * 90, start);
        drop(book.enter(numbered(1), false, start).unwrap());
        let other = numbered(1_000);
        for (seconds, expected) in [(0, vec![0, 1]), (59, vec![0, 1]), (60, vec![0]), (119, vec![0]), (120, vec![])] {
            drop(book.enter(other, true, start + Duration::from_secs(seconds)).unwrap());
            let kept: Vec<_> = (0..2).filter(|number| book.entries.contains_key(&numbered(*number))).collect();
            assert_eq!(kept, expected, "after {seconds} s");
        }
    }

    #[test]
    fn address_that_is_used_again_is_not_dropped() {
        let (mut book, start, address) = (book(), Instant::now(), numbered(0));
        drop(book.enter(address, false, start).unwrap());
        let slot = book.enter(address, false, start).unwrap();
        let later = start + 2 * KEPT_FOR;
        for number in 1..10 {
            drop(book.enter(numbered(number), false, later).unwrap());
        }
        assert_eq!(book.enter(address, false, later).unwrap().connections(), 2);
        drop(slot);
        for seconds in 0..100 {
            drop(book.enter(numbered(1), true, later + Duration::from_secs(seconds)).unwrap());
        }
        assert!(!book.entries.contains_key(&address), "the address is kept although it is unused");
    }

    /// Many addresses that all connect once, within the time for which each is kept.
    #[test]
    fn kept_addresses_are_bounded() {
        let (mut book, now) = (book(), Instant::now());
        let slot = book.enter(AddressKey::Unix, false, now).unwrap();
        for number in 0..3 * MAX_KEPT {
            drop(book.enter(numbered(number), false, now).unwrap());
            assert!(book.entries.len() <= MAX_KEPT + 3, "{}", book.entries.len());
        }
        assert_eq!(book.kept.len(), MAX_KEPT);
        assert_eq!(slot.connections(), 1);
        assert!(book.entries.contains_key(&AddressKey::Unix), "an address with a connection is dropped");
        assert!(size_of::<AddressEntry>() <= 136 && size_of::<AddressSlot>() == size_of::<usize>());
    }

    /// All connections end at once, and the addresses of the next ones are new.
    #[test]
    fn addresses_of_a_mass_exit_are_swept_faster_than_new_ones_come() {
        let (mut book, start) = (book(), Instant::now());
        let slots: Vec<_> = (0..1_000).map(|number| book.enter(numbered(number), false, start).unwrap()).collect();
        drop(slots);
        let later = start + 2 * KEPT_FOR;
        for number in 0..500 {
            drop(book.enter(numbered(1_000 + number), false, start).unwrap());
        }
        assert!(book.unused.len() <= 1, "{}", book.unused.len());
        for _ in 0..500 {
            drop(book.enter(AddressKey::Unix, true, later).unwrap());
        }
        assert!(book.entries.len() <= 2, "{}", book.entries.len());
    }

    #[test]
    fn address_without_a_bound_has_any_number_of_connections() {
        let limits = AddressLimits { max_connections: 0, connect_rate: RateLimit::new(0, NonZeroU32::MIN) };
        let mut book = AddressBook::new(limits, ServerLimits::new(1, MemoryBudget::new(u64::MAX)));
        let slots: Vec<_> = (0..100).map(|_| book.enter(key("10.0.0.1"), false, Instant::now()).unwrap()).collect();
        assert_eq!(slots[0].connections(), 100);
    }
}
