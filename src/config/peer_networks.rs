//! Peer networks: a list of peers by the networks that they connect from, as `--exempt` and `--trust` take it.

use crate::limits::bans::canonical_network;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Peers, named by the networks that they connect from.
///
/// Shown, it is the list that [`PeerNetworks::from_items`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNetworks {
    networks: Vec<IpNet>,
    /// Whether peers on Unix sockets are among them.
    unix: bool,
}

/// One item of a list of peer networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkItem {
    /// A network in CIDR notation, or one address.
    Network(IpNet),
    /// `unix`: the peers on Unix sockets.
    Unix,
    /// `none`: no peer.
    None,
}

/// `none` stands beside other items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoneIsNotAlone;

impl PeerNetworks {
    /// Returns the peers that `items` name together.
    ///
    /// # Errors
    /// [`NoneIsNotAlone`] if `none` is one of several items.
    pub fn from_items(items: &[NetworkItem]) -> Result<Self, NoneIsNotAlone> {
        if items.len() > 1 && items.contains(&NetworkItem::None) {
            return Err(NoneIsNotAlone);
        }
        let network = |item: &NetworkItem| if let NetworkItem::Network(network) = item { Some(*network) } else { None };
        Ok(Self { networks: items.iter().filter_map(network).collect(), unix: items.contains(&NetworkItem::Unix) })
    }

    /// Returns whether a peer at `ip` is in one of the networks; `None` is a peer on a Unix socket. An IPv4-mapped IPv6 address counts
    /// as its IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        match ip.map(|ip| ip.to_canonical()) {
            Some(ip) => self.networks.iter().any(|network| network.contains(&ip)),
            None => self.unix,
        }
    }
}

impl Default for PeerNetworks {
    /// Returns the peers of this machine: loopback addresses and Unix sockets.
    fn default() -> Self {
        let loopback_v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        let loopback_v6 = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
        Self { networks: vec![loopback_v4.into(), loopback_v6.into()], unix: true }
    }
}

impl fmt::Display for PeerNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let items: Vec<String> = networks.chain(self.unix.then(|| "unix".to_owned())).collect();
        f.write_str(if items.is_empty() { "none" } else { "" })?;
        f.write_str(&items.join(","))
    }
}

impl FromStr for NetworkItem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "unix" => return Ok(Self::Unix),
            _ => {}
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let wanted = || "a network, an address, unix or none is wanted, as 10.0.0.0/8,::1,unix".to_owned();
        network.map(|network| Self::Network(canonical_network(network.trunc()))).ok_or_else(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &str) -> PeerNetworks {
        let items: Vec<NetworkItem> = list.split(',').map(|item| item.parse().unwrap()).collect();
        PeerNetworks::from_items(&items).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn default_names_loopback_and_unix_peers() {
        let default = PeerNetworks::default();
        let loopback = ["127.0.0.1", "127.200.0.9", "::1", "::ffff:127.0.0.1"].map(|peer| Some(ip(peer)));
        for peer in loopback.into_iter().chain([None]) {
            assert!(default.contains(peer), "{peer:?}");
        }
        for peer in ["128.0.0.1", "::2", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"] {
            assert!(!default.contains(Some(ip(peer))), "{peer}");
        }
        assert_eq!(default.to_string(), "127.0.0.0/8,::1/128,unix");
        assert_eq!(networks(&default.to_string()), default);
    }

    #[test]
    fn list_names_networks_addresses_and_unix() {
        let list = networks("10.1.2.3/8,192.0.2.7,2001:db8::/32");
        for (peer, expected) in [
            ("10.255.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::9", true),
            ("127.0.0.1", false),
        ] {
            assert_eq!(list.contains(Some(ip(peer))), expected, "{peer}");
        }
        assert!(!list.contains(None) && networks("unix").contains(None));
        assert_eq!(list.to_string(), "10.0.0.0/8,192.0.2.7/32,2001:db8::/32");
    }

    #[test]
    fn mapped_network_counts_as_its_ipv4_network() {
        let list = networks("::ffff:10.0.0.0/104");
        assert!(
            list.contains(Some(ip("10.9.9.9")))
                && list.contains(Some(ip("::ffff:10.9.9.9")))
                && !list.contains(Some(ip("11.0.0.1")))
        );
    }

    #[test]
    fn none_names_no_peer_and_stands_alone() {
        let none = networks("none");
        assert!(!none.contains(Some(ip("127.0.0.1"))) && !none.contains(None));
        assert_eq!(none.to_string(), "none");
        assert_eq!(PeerNetworks::from_items(&[NetworkItem::None, NetworkItem::Unix]), Err(NoneIsNotAlone));
        for wrong in ["", "nobody", "10.0.0.0/33", "10.0.0", "localhost"] {
            assert!(wrong.parse::<NetworkItem>().is_err(), "{wrong}");
        }
    }
}
