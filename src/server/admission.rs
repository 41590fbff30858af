//! Admission: which accepted connections are served, which wait for a place, and which are refused and why.

use super::refusal::{RefusalPermit, RefusalReason};
use crate::config::{NetworkSettings, PeerNetworks, RESERVED_FILES};
use crate::limits::address_budget::AddressBudget;
use crate::limits::addresses::{AddressBook, AddressLimits, AddressRefusal, MovedAddress};
use crate::limits::bans::{Ban, BanList};
use crate::limits::connection_permit::{ConnectionPermit, PendingPermit};
use crate::limits::login_queue::{LoginQueue, LoginTicket};
use crate::limits::memory::{MemoryBudget, MemoryPressure};
use crate::limits::permits::{Permit, Permits};
use crate::limits::rate::RateLimit;
use crate::limits::server_limits::{Place, ServerLimits};
use crate::peer::PeerId;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Refused connections that are closed lingeringly at a time, so that no reset overtakes the reason. Their descriptors
/// come out of the reserve.
const MAX_REFUSALS: usize = RESERVED_FILES / 4;

/// Connections that wait for a place at a time. Their descriptors come out of the reserve.
const MAX_WAITING: usize = RESERVED_FILES / 4;

/// How long a connection waits for the place of one that makes way: longer than the lingering close of that one, and than
/// the time in which it may take no byte.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// One of so many places is kept for addresses that have no connection.
const RESERVED_PART: usize = 10;

/// The bounds on connections that all listeners share.
#[derive(Debug)]
pub(super) struct Admission {
    server: Arc<ServerLimits>,
    /// The bans, which hold for exempt peers, too.
    bans: Arc<BanList>,
    /// The peers to which the bounds of one address do not apply.
    exempt: PeerNetworks,
    /// The bounds of one address, for the reasons.
    max_per_address: usize,
    connect_rate: u32,
    /// The addresses and the connections that have not joined. Only admissions take this lock, one a listener at a time.
    records: Mutex<Records>,
    /// One permit for each connection that waits for a place.
    waiting: Arc<Permits>,
    /// One permit for each refused connection that is closed lingeringly.
    refusals: Arc<Permits>,
    /// The budget that all refused connections share.
    refusal_budget: Arc<AddressBudget>,
    /// Cancelled when the server begins to end.
    shutdown: CancellationToken,
    /// Connections so far, which numbers them. Relaxed: the number orders nothing.
    next_id: AtomicU64,
}

/// The connections as admissions know them.
#[derive(Debug)]
struct Records {
    addresses: AddressBook,
    logins: LoginQueue,
}

/// The decision on an accepted connection.
#[derive(Debug)]
pub(super) enum Admitted {
    /// The connection is served.
    Serve(Entrant),
    /// An older connection makes way for it.
    Wait(WaitingEntrant),
    /// The connection is refused.
    Refuse(RefusalReason),
}

/// The number, the place and the login ticket of an admitted connection.
#[derive(Debug)]
pub(super) struct Entrant {
    pub(super) id: PeerId,
    pub(super) permit: ConnectionPermit,
    pub(super) ticket: Arc<LoginTicket>,
}

/// The place of a connection whose address is not known yet. The ticket is dropped first: a connection whose place is free
/// already can't make way.
#[derive(Debug)]
pub(super) struct HeldPlace {
    pub(super) ticket: Arc<LoginTicket>,
    _place: Place,
}

/// A connection that waits for a place.
pub(super) struct WaitingEntrant {
    place: PendingPermit,
    /// The part of the reserve that the connection's descriptor takes.
    _reserve: Permit,
}

impl fmt::Debug for WaitingEntrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitingEntrant")
    }
}

impl Admission {
    /// Returns an admission to `max_connections` places. `shutdown` is the server's token.
    pub(super) fn new(
        settings: &NetworkSettings,
        max_connections: usize,
        memory: Arc<MemoryBudget>,
        bans: Arc<BanList>,
        shutdown: CancellationToken,
    ) -> Self {
        let server = ServerLimits::new(max_connections, memory);
        let limits = AddressLimits {
            max_connections: settings.max_per_address,
            connect_rate: RateLimit::new(settings.connect_rate, settings.connect_burst),
        };
        let addresses = AddressBook::new(limits, Arc::clone(&server));
        Self {
            server,
            bans,
            exempt: settings.exempt.clone(),
            max_per_address: settings.max_per_address,
            connect_rate: settings.connect_rate,
            records: Mutex::new(Records { addresses, logins: LoginQueue::default() }),
            waiting: Permits::new(MAX_WAITING),
            refusals: Permits::new(MAX_REFUSALS),
            refusal_budget: Arc::new(AddressBudget::new(Instant::now())),
            shutdown,
            next_id: AtomicU64::new(0),
        }
    }

    /// Decides on a new connection from `ip`; `None` is a peer on a Unix socket.
    pub(super) async fn admit(&self, ip: Option<IpAddr>, now: Instant) -> Admitted {
        if let Some(ban) = self.find_ban(ip) {
            return Admitted::Refuse(RefusalReason::Banned(ban));
        }
        let mut records = self.records.lock().await;
        self.try_admit(&mut records, ip, now).unwrap_or_else(Admitted::Refuse)
    }

    /// Returns the ban of `ip` that is in force; a peer on a Unix socket has none.
    pub(super) fn find_ban(&self, ip: Option<IpAddr>) -> Option<Arc<Ban>> {
        self.bans.find(ip?, SystemTime::now)
    }

    fn try_admit(&self, records: &mut Records, ip: Option<IpAddr>, now: Instant) -> Result<Admitted, RefusalReason> {
        if self.server.memory().pressure() >= MemoryPressure::Critical {
            return Err(RefusalReason::Memory);
        }
        let is_exempt = self.exempt.contains(ip);
        let slot = records.addresses.enter(ip.into(), is_exempt, now).map_err(|refusal| match refusal {
            AddressRefusal::TooMany => RefusalReason::TooManyOfAddress(self.max_per_address),
            AddressRefusal::TooFast => RefusalReason::TooFast(self.connect_rate),
        })?;
        let reserved = self.reserved_places();
        let may_use_reserve = is_exempt || slot.connections() == 1 || reserved == 0;
        match ConnectionPermit::try_acquire(slot) {
            // The place is taken first: two admissions can't both see the last place that is not reserved.
            Ok(_) if !may_use_reserve && self.server.free_places() < reserved => Err(RefusalReason::Reserved),
            Ok(permit) => Ok(Admitted::Serve(self.entrant(records, permit))),
            Err(_) if !may_use_reserve => Err(RefusalReason::Reserved),
            Err(slot) => {
                let reserve = self.waiting.try_acquire().ok_or(RefusalReason::Full)?;
                // In the queue first: the place of the connection that makes way must not go to another one.
                let place = ConnectionPermit::acquire(slot);
                let makes_way = records.logins.make_way();
                makes_way
                    .then_some(Admitted::Wait(WaitingEntrant { place, _reserve: reserve }))
                    .ok_or(RefusalReason::Full)
            }
        }
    }

    /// Waits for the place of a connection that makes way.
    ///
    /// # Errors
    /// The reason for a refusal, when no place is free in time or the server shuts down.
    pub(super) async fn wait(&self, waiting: WaitingEntrant) -> Result<Entrant, RefusalReason> {
        let place = timeout(PLACE_TIMEOUT, waiting.place);
        let place = self.shutdown.run_until_cancelled(place).await.ok_or(RefusalReason::Shutdown)?;
        let permit = place.map_err(|_| RefusalReason::Full)?;
        Ok(self.entrant(&mut *self.records.lock().await, permit))
    }

    /// Returns a permit to close a refused connection lingeringly; `None` to close it at once.
    pub(super) fn refusal_permit(&self) -> Option<RefusalPermit> {
        let (permit, budget) = (self.refusals.try_acquire()?, Arc::clone(&self.refusal_budget));
        Some(RefusalPermit { permit, budget })
    }

    /// Returns the number of one more connection, which is served or refused.
    pub(super) fn next_number(&self) -> PeerId {
        PeerId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a place for a connection whose address is not known yet, and which makes way as one that has not joined. `None`
    /// when no place is free but those for addresses without a connection.
    pub(super) async fn hold_place(&self) -> Option<HeldPlace> {
        // The place is taken first, as in `try_admit`.
        let place = self.server.try_hold_place()?;
        if self.server.free_places() < self.reserved_places() {
            return None;
        }
        let ticket = self.records.lock().await.logins.push(&self.shutdown);
        Some(HeldPlace { ticket, _place: place })
    }

    /// Returns the number of places that are kept for addresses without a connection.
    fn reserved_places(&self) -> usize {
        self.server.max_connections() / RESERVED_PART
    }

    /// Returns what addresses have used, and the number of the next connection, for another process.
    pub(super) async fn export(&self) -> (Vec<MovedAddress>, u64) {
        (self.records.lock().await.addresses.export(Instant::now()), self.next_id.load(Ordering::Relaxed))
    }

    /// Goes on from what addresses have used in another process, and from its number of connections.
    pub(super) fn import(&self, addresses: &[MovedAddress], next_id: u64) {
        // No admission runs before the server does.
        if let Ok(mut records) = self.records.try_lock() {
            records.addresses.import(addresses, Instant::now());
        }
        self.next_id.store(next_id, Ordering::Relaxed);
    }

    /// Returns a place, and a login ticket, for a connection that another process has admitted; `None` if there are fewer
    /// places than such connections. The bounds of its address do not apply to it.
    pub(super) fn readmit(&self, ip: Option<IpAddr>) -> Option<(ConnectionPermit, Arc<LoginTicket>)> {
        let mut records = self.records.try_lock().ok()?;
        let Records { addresses, logins } = &mut *records;
        let slot = addresses.enter(ip.into(), true, Instant::now()).ok()?;
        let permit = ConnectionPermit::try_acquire(slot).ok()?;
        Some((permit, logins.push(&self.shutdown)))
    }

    fn entrant(&self, records: &mut Records, permit: ConnectionPermit) -> Entrant {
        Entrant { id: self.next_number(), permit, ticket: records.logins.push(&self.shutdown) }
    }

    /// Returns how many connections are served, those that are being closed among them.
    pub(super) fn connections(&self) -> usize {
        self.server.taken_places()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bans::parse_network;
    use futures::FutureExt;
    use std::num::NonZeroU32;

    fn admission(places: usize, change: impl FnOnce(&mut NetworkSettings)) -> Admission {
        let mut settings = NetworkSettings::default();
        change(&mut settings);
        Admission::new(&settings, places, MemoryBudget::new(1_000), BanList::new(None), CancellationToken::new())
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    async fn serve(admission: &Admission, last: u8) -> Entrant {
        match admission.admit(Some(ip(last)), Instant::now()).await {
            Admitted::Serve(entrant) => entrant,
            other => panic!("10.0.0.{last} got {other:?}"),
        }
    }

    async fn refuse(admission: &Admission, last: u8) -> RefusalReason {
        match admission.admit(Some(ip(last)), Instant::now()).await {
            Admitted::Refuse(reason) => reason,
            other => panic!("10.0.0.{last} got {other:?}"),
        }
    }

    #[tokio::test]
    async fn connections_are_numbered_and_refused_beyond_the_bound() {
        let admission = admission(1, |_| {});
        let first = serve(&admission, 1).await;
        assert!(first.ticket.begin_joining());
        assert_eq!(refuse(&admission, 2).await, RefusalReason::Full);
        let id = first.id;
        drop(first);
        assert_ne!(serve(&admission, 2).await.id, id);
    }

    #[tokio::test]
    async fn banned_address_is_refused_although_it_is_exempt_until_its_ban_ends() {
        let admission = admission(10, |settings| {
            settings.exempt = PeerNetworks::from_items(&["10.0.0.0/8".parse().unwrap()]).unwrap();
        });
        let ban = |network: &str, expires| {
            let network = parse_network(network).unwrap();
            Ban { network, expires, reason: "flooding".to_owned(), by: "uid 0".to_owned() }
        };
        let now = SystemTime::now();
        admission.bans.add(ban("10.0.0.1", None), now).await.unwrap();
        admission.bans.add(ban("10.0.0.2", Some(now - Duration::from_secs(1))), now).await.unwrap();
        assert_eq!(refuse(&admission, 1).await.to_string(), "your address is banned: flooding");
        assert_eq!(admission.connections(), 0);
        let served = [serve(&admission, 2).await, serve(&admission, 3).await];
        assert!(
            matches!(admission.admit(None, Instant::now()).await, Admitted::Serve(_)),
            "a Unix peer has no address"
        );
        drop(served);
    }

    #[test]
    fn lingering_closes_of_refused_connections_are_bounded() {
        let admission = admission(1, |_| {});
        let permits: Vec<_> = (0..=MAX_REFUSALS).map(|_| admission.refusal_permit()).collect();
        assert_eq!(permits.iter().flatten().count(), MAX_REFUSALS);
    }

    #[tokio::test]
    async fn address_at_its_bounds_is_told_which_one() {
        let admission = admission(100, |settings| {
            settings.max_per_address = 2;
            settings.connect_burst = NonZeroU32::new(3).unwrap();
            settings.connect_rate = 1;
        });
        let mut served = vec![serve(&admission, 1).await, serve(&admission, 1).await];
        assert_eq!(refuse(&admission, 1).await, RefusalReason::TooManyOfAddress(2));
        served.pop();
        served.push(serve(&admission, 1).await);
        served.clear();
        assert_eq!(refuse(&admission, 1).await, RefusalReason::TooFast(1));
        serve(&admission, 2).await;
        assert_eq!(admission.connections(), 0, "a refused connection holds no place");
    }

    #[tokio::test]
    async fn last_tenth_of_the_places_is_for_addresses_without_a_connection() {
        let admission = admission(20, |_| {});
        let mut served = Vec::new();
        for _ in 0..18 {
            served.push(serve(&admission, 1).await);
        }
        assert_eq!(refuse(&admission, 1).await, RefusalReason::Reserved);
        served.push(serve(&admission, 2).await);
        assert_eq!(refuse(&admission, 2).await, RefusalReason::Reserved);
        served.push(serve(&admission, 3).await);
        assert_eq!((admission.connections(), refuse(&admission, 1).await), (20, RefusalReason::Reserved));
        served.swap_remove(0);
        assert_eq!(refuse(&admission, 1).await, RefusalReason::Reserved, "a reserved place is free, and no other");
    }

    #[tokio::test]
    async fn connection_of_an_unknown_address_leaves_the_last_tenth_and_makes_way() {
        let admission = admission(20, |_| {});
        let mut held = Vec::new();
        while let Some(place) = admission.hold_place().await {
            held.push(place);
        }
        assert_eq!((held.len(), admission.connections()), (18, 18), "the place that was tried is free again");
        let served = [serve(&admission, 1).await, serve(&admission, 2).await];
        let Admitted::Wait(waiting) = admission.admit(Some(ip(3)), Instant::now()).await else {
            panic!("no connection makes way")
        };
        assert!(held[0].ticket.makes_way() && !held[1].ticket.makes_way());
        drop(held.remove(0));
        assert!(admission.wait(waiting).await.is_ok());
        drop(served);
    }

    #[tokio::test]
    async fn exempt_address_may_take_every_place() {
        let admission = admission(20, |settings| settings.max_per_address = 1);
        let mut served = Vec::new();
        for _ in 0..20 {
            match admission.admit(None, Instant::now()).await {
                Admitted::Serve(entrant) => served.push(entrant),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(admission.connections(), 20);
    }

    #[tokio::test]
    async fn oldest_connection_that_has_not_joined_makes_way() {
        let admission = admission(2, |_| {});
        let (member, silent) = (serve(&admission, 1).await, serve(&admission, 2).await);
        assert!(member.ticket.begin_joining());
        let Admitted::Wait(waiting) = admission.admit(Some(ip(3)), Instant::now()).await else {
            panic!("no one makes way")
        };
        assert!(silent.ticket.makes_way() && !member.ticket.makes_way());
        assert_eq!(refuse(&admission, 4).await, RefusalReason::Full, "one connection makes way for one");
        let mut place = Box::pin(admission.wait(waiting));
        assert!((&mut place).now_or_never().is_none(), "the place is free only when the descriptor is");
        drop(silent);
        assert_eq!(refuse(&admission, 4).await, RefusalReason::Full, "the place belongs to the one that waits");
        let newcomer = place.await.unwrap();
        assert!(!newcomer.ticket.makes_way());
        assert_eq!(admission.connections(), 2);
    }

    /// The task of the connection that waits starts after the place is free.
    #[tokio::test]
    async fn place_of_a_connection_that_makes_way_goes_to_the_one_that_asked_for_it() {
        let admission = admission(1, |_| {});
        let silent = serve(&admission, 1).await;
        let Admitted::Wait(waiting) = admission.admit(Some(ip(2)), Instant::now()).await else {
            panic!("no connection makes way")
        };
        drop(silent);
        assert_eq!(refuse(&admission, 3).await, RefusalReason::Full);
        assert!(admission.wait(waiting).await.is_ok());
        assert_eq!(admission.connections(), 0);
        serve(&admission, 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_waits_in_vain_is_refused() {
        let admission = admission(1, |_| {});
        let silent = serve(&admission, 1).await;
        let Admitted::Wait(waiting) = admission.admit(Some(ip(2)), Instant::now()).await else {
            panic!("no one makes way")
        };
        assert_eq!(admission.wait(waiting).await.unwrap_err(), RefusalReason::Full);
        drop(silent);
        assert_eq!(admission.connections(), 0);
    }

    #[tokio::test]
    async fn shutdown_ends_the_wait_for_a_place() {
        let admission = admission(1, |_| {});
        let _silent = serve(&admission, 1).await;
        let Admitted::Wait(waiting) = admission.admit(Some(ip(2)), Instant::now()).await else {
            panic!("no one makes way")
        };
        admission.shutdown.cancel();
        assert_eq!(admission.wait(waiting).await.unwrap_err(), RefusalReason::Shutdown);
    }

    #[tokio::test]
    async fn no_connection_is_admitted_at_nine_tenths_of_the_memory() {
        let admission = admission(10, |_| {});
        admission.server.memory().charge(899);
        let served = serve(&admission, 1).await;
        admission.server.memory().charge(1);
        assert_eq!(refuse(&admission, 2).await, RefusalReason::Memory);
        admission.server.memory().release(1);
        serve(&admission, 2).await;
        drop(served);
    }
}
