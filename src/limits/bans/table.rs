//! The table of bans: an address is looked up once for each length of a prefix, however many bans there are.

use super::network::{prefix_bits_v4, prefix_bits_v6};
use super::{Ban, MAX_BANS};
use ipnet::IpNet;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::BitAnd;
use std::sync::Arc;
use std::time::SystemTime;

/// All bans at one moment. A change makes a new table.
#[derive(Clone, Debug, Default)]
pub(crate) struct BanTable {
    /// The bans in the order of their networks, each network once.
    bans: Vec<Arc<Ban>>,
    v4: Vec<PrefixBans<u32>>,
    v6: Vec<PrefixBans<u128>>,
}

/// The bans whose prefixes have one length.
#[derive(Clone, Debug)]
struct PrefixBans<A> {
    /// The bits of the prefix.
    mask: A,
    /// The bans by their prefixes. Operators choose the networks; the hash is `SipHash` with a random seed.
    bans: HashMap<A, Arc<Ban>>,
}

impl BanTable {
    /// Returns a table of `bans`, in any order. Of two bans of one network the later one counts.
    pub(super) fn new(bans: impl IntoIterator<Item = Arc<Ban>>) -> Self {
        let mut table = Self { bans: bans.into_iter().collect(), v4: Vec::new(), v6: Vec::new() };
        // The sort is stable: the later ban of a network comes last.
        table.bans.sort_by_key(|ban| ban.network);
        table.bans.reverse();
        table.bans.dedup_by_key(|ban| ban.network);
        table.bans.reverse();
        for ban in &table.bans {
            match ban.network {
                IpNet::V4(network) => insert(&mut table.v4, prefix_bits_v4(network), ban),
                IpNet::V6(network) => insert(&mut table.v6, prefix_bits_v6(network), ban),
            }
        }
        table
    }

    /// Returns a ban of `ip` that is in force at the time that `now` returns.
    pub(super) fn find(&self, ip: IpAddr, now: impl Fn() -> SystemTime) -> Option<&Arc<Ban>> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => lookups(&self.v4, ip.to_bits()).flatten().find(|ban| ban.is_in_force(&now)),
            IpAddr::V6(ip) => lookups(&self.v6, ip.to_bits()).flatten().find(|ban| ban.is_in_force(&now)),
        }
    }

    /// Returns all bans, in the order of their networks.
    pub(crate) fn bans(&self) -> &[Arc<Ban>] {
        &self.bans
    }

    /// Returns the ban of exactly this network.
    pub(crate) fn get(&self, network: IpNet) -> Option<&Arc<Ban>> {
        self.bans.binary_search_by_key(&network, |ban| ban.network).ok().map(|at| &self.bans[at])
    }

    /// Returns the table with one more ban, which replaces that of the same network, and without the bans that are no
    /// longer in force; `None` if it would have too many.
    pub(super) fn with(&self, ban: Ban, now: SystemTime) -> Option<Self> {
        let network = ban.network;
        let others = self.bans.iter().filter(|other| other.network != network && other.is_in_force(|| now));
        let table = Self::new(others.cloned().chain([Arc::new(ban)]));
        (table.bans.len() <= MAX_BANS).then_some(table)
    }

    /// Returns the table without the ban of a network and without the bans that are no longer in force.
    pub(super) fn without(&self, network: IpNet, now: SystemTime) -> Self {
        Self::new(self.bans.iter().filter(|ban| ban.network != network && ban.is_in_force(|| now)).cloned())
    }
}

/// Adds a ban to those of the same mask.
fn insert<A: Copy + Eq + Hash>(prefixes: &mut Vec<PrefixBans<A>>, (prefix, mask): (A, A), ban: &Arc<Ban>) {
    let at = prefixes.iter().position(|known| known.mask == mask).unwrap_or_else(|| {
        prefixes.push(PrefixBans { mask, bans: HashMap::new() });
        prefixes.len() - 1
    });
    prefixes[at].bans.insert(prefix, Arc::clone(ban));
}

/// Looks an address up, once for each length of a prefix.
fn lookups<A: Copy + Eq + Hash + BitAnd<Output = A>>(
    prefixes: &[PrefixBans<A>],
    address: A,
) -> impl Iterator<Item = Option<&Arc<Ban>>> {
    prefixes.iter().map(move |known| known.bans.get(&(address & known.mask)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::parse_network;
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    /// Returns a ban of a network without an end.
    pub(in crate::limits::bans) fn ban(network: &str) -> Ban {
        let network = parse_network(network).unwrap();
        Ban { network, expires: None, reason: format!("reason of {network}"), by: "uid 0".to_owned() }
    }

    fn table(networks: &[&str]) -> BanTable {
        BanTable::new(networks.iter().map(|network| Arc::new(ban(network))))
    }

    fn epoch() -> SystemTime {
        UNIX_EPOCH
    }

    fn found(table: &BanTable, ip: &str) -> Option<String> {
        table.find(ip.parse().unwrap(), epoch).map(|ban| ban.network.to_string())
    }

    #[test]
    fn address_is_found_in_each_network_that_contains_it_and_in_no_other() {
        let table = table(&["192.0.2.7", "10.0.0.0/8", "128.0.0.0/1", "2001:db8::/32", "2001:db9::1", "fe80::1/128"]);
        for (ip, network) in [
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("10.255.255.255", Some("10.0.0.0/8")),
            ("::ffff:10.9.9.9", Some("10.0.0.0/8")),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("127.255.255.255", None),
            ("255.255.255.255", Some("128.0.0.0/1")),
            ("2001:db8:ffff::1", Some("2001:db8::/32")),
            ("2001:db9::ffff:1:2:3", Some("2001:db9::/64")),
            ("2001:db9:0:1::1", None),
            ("fe80::1", Some("fe80::1/128")),
            ("fe80::2", None),
        ] {
            let found = found(&table, ip);
            // Two networks contain 192.0.2.7, and either ban is an answer.
            let is_either = ip == "192.0.2.7" && found.as_deref() == Some("128.0.0.0/1");
            assert!(is_either || found.as_deref() == network, "{ip}: {found:?}");
        }
    }

    /// The cost of a lookup: one look into a hash map for each length of a prefix, and none for each ban.
    #[test]
    fn address_is_looked_up_once_for_each_length_of_a_prefix_among_ten_thousand_bans() {
        let network = |number: usize| match number % 3 {
            0 => format!("10.{}.{}.0/24", number / 256 % 256, number % 256),
            1 => format!("11.0.{}.{}", number / 256 % 256, number % 256),
            _ => format!("12.{}.0.0/16", number % 256),
        };
        let all: Vec<Arc<Ban>> = (0..MAX_BANS).map(|number| Arc::new(ban(&network(number)))).collect();
        let table = BanTable::new(all);
        assert!(table.bans().len() > 6_000, "{}", table.bans().len());
        let ip = std::net::Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(lookups(&table.v4, ip.to_bits()).count(), 3);
        assert_eq!(lookups(&table.v6, 0).count(), 0);
    }

    #[test]
    fn expired_ban_hides_no_other_ban_of_the_address() {
        let end = UNIX_EPOCH + Duration::from_secs(60);
        let expiring = Ban { expires: Some(end), ..ban("10.0.0.1") };
        let table = BanTable::new([expiring, ban("10.0.0.0/8")].map(Arc::new));
        let ip = "10.0.0.1".parse().unwrap();
        assert_eq!(table.find(ip, || end).unwrap().network, parse_network("10.0.0.0/8").unwrap());
        let alone = BanTable::new([Arc::new(Ban { expires: Some(end), ..ban("10.0.0.1") })]);
        assert!(alone.find(ip, || end - Duration::from_secs(1)).is_some() && alone.find(ip, || end).is_none());
    }

    #[test]
    fn later_ban_of_a_network_replaces_the_earlier_one() {
        let second = Ban { reason: "second".to_owned(), ..ban("10.0.0.1") };
        let table = table(&["10.0.0.1", "9.0.0.1"]).with(second, UNIX_EPOCH).unwrap();
        assert_eq!(table.bans().len(), 2);
        assert_eq!(table.find("10.0.0.1".parse().unwrap(), epoch).unwrap().reason, "second");
        let both =
            BanTable::new([ban("10.0.0.1"), Ban { reason: "later".to_owned(), ..ban("10.0.0.1") }].map(Arc::new));
        assert_eq!((both.bans().len(), &*both.bans()[0].reason), (1, "later"));
    }

    #[test]
    fn change_drops_expired_bans_and_full_table_takes_no_more() {
        let end = UNIX_EPOCH + Duration::from_secs(60);
        let number = |number: usize| ban(&format!("10.{}.{}.1", number / 256, number % 256));
        let full = BanTable::new((0..MAX_BANS).map(|at| Arc::new(Ban { expires: Some(end), ..number(at) })));
        assert!(full.with(ban("192.0.2.1"), UNIX_EPOCH).is_none());
        assert!(full.with(number(0), UNIX_EPOCH).is_some(), "a replacement adds no ban");
        assert_eq!(full.with(ban("192.0.2.1"), end).unwrap().bans().len(), 1);
        assert_eq!(full.without(number(0).network, UNIX_EPOCH).bans().len(), MAX_BANS - 1);
        assert!(full.without(number(0).network, end).bans().is_empty());
    }
}
