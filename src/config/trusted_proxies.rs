//! Trusted proxies: the peers whose PROXY header is believed, as a list that can be swapped while the server runs, and what a
//! server with proxies before it keeps back for them.

use crate::config::{NetworkSettings, PeerNetworks, RESERVED_FILES, RESERVED_PROXY_FILES};
use arc_swap::ArcSwap;
use std::net::IpAddr;

/// The proxies that are trusted now. Readers take no lock.
#[derive(Debug)]
pub struct TrustedProxies(ArcSwap<PeerNetworks>);

impl TrustedProxies {
    /// Trusts the peers in `networks`.
    #[must_use]
    pub fn new(networks: PeerNetworks) -> Self {
        Self(ArcSwap::from_pointee(networks))
    }

    /// Returns whether the header of a peer at `ip` is believed; `None` is a peer on a Unix socket.
    #[must_use]
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        self.0.load().contains(ip)
    }

    /// Trusts other networks: from the next accepted connection on.
    pub fn replace(&self, networks: PeerNetworks) {
        self.0.store(networks.into());
    }
}

impl NetworkSettings {
    /// Returns whether a listener takes PROXY headers.
    #[must_use]
    pub fn takes_proxy_headers(&self) -> bool {
        self.listen.iter().any(|url| url.proxy.is_some())
    }

    /// Returns how many open files are kept back from connections.
    #[must_use]
    pub fn reserved_files(&self) -> usize {
        RESERVED_FILES + if self.takes_proxy_headers() { RESERVED_PROXY_FILES } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkItem;

    #[test]
    fn replaced_networks_are_trusted_at_once() {
        let proxies = TrustedProxies::new(PeerNetworks::default());
        let (loopback, other) = (Some("127.0.0.1".parse().unwrap()), Some("10.0.0.1".parse().unwrap()));
        assert!(proxies.contains(loopback) && proxies.contains(None) && !proxies.contains(other));
        let network: NetworkItem = "10.0.0.0/8".parse().unwrap();
        proxies.replace(PeerNetworks::from_items(&[network]).unwrap());
        assert!(!proxies.contains(loopback) && !proxies.contains(None) && proxies.contains(other));
    }

    #[test]
    fn files_are_kept_back_for_headers_where_a_listener_takes_them() {
        let mut network = NetworkSettings::default();
        assert_eq!((network.takes_proxy_headers(), network.reserved_files()), (false, 64));
        network.listen.push("tcp://:0?proxy=v1".parse().unwrap());
        assert_eq!((network.takes_proxy_headers(), network.reserved_files()), (true, 128));
    }
}
