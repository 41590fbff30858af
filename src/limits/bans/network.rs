//! Networks: the notation in which an operator names the addresses of a ban.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The prefix that an IPv6 address stands for: one subscriber has a network of 64 bits.
const IPV6_PREFIX: u8 = 64;

/// The length of the prefix that all IPv4-mapped IPv6 addresses have (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// The most characters of a wrong text that an error shows.
const SHOWN: usize = 60;

/// Why a text names no network that can be banned. Shown, it says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The text is neither an address nor a network; holds its start.
    #[error(
        "{0:?} is no address and no network: write 192.0.2.7, 192.0.2.0/24, 2001:db8::1 for its /64, or 2001:db8::/32"
    )]
    Notation(String),
    /// The address has bits beyond the prefix.
    #[error("{text} has bits beyond its prefix: write {network} for the whole network, or {address} for the address")]
    HostBits {
        /// The network as it was written.
        text: IpNet,
        /// The network of these bits.
        network: IpNet,
        /// The address alone.
        address: IpAddr,
    },
    /// The network is every address of its family.
    #[error("{0} is every address: to admit no new connection at all write drain")]
    Everything(IpNet),
}

/// Reads an address or a network in CIDR notation.
///
/// An IPv4 address is a network of its own, an IPv6 address stands for its network of 64 bits, and IPv4-mapped IPv6
/// addresses are IPv4 addresses.
///
/// # Errors
/// [`NetworkError`] for any other text, for a network with bits beyond its prefix, and for a prefix of 0 bits.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { 32 } else { IPV6_PREFIX };
        // Both prefixes fit their families.
        return Ok(IpNet::new(address, prefix).unwrap_or_else(|_| address.into()).trunc());
    }
    let network = text.parse::<IpNet>().map_err(|_| NetworkError::Notation(shorten(text)))?;
    if network != network.trunc() {
        return Err(NetworkError::HostBits { text: network, network: network.trunc(), address: network.addr() });
    }
    let network = canonical_network(network);
    if network.prefix_len() == 0 { Err(NetworkError::Everything(network)) } else { Ok(network) }
}

/// Returns a network of IPv4-mapped IPv6 addresses as the IPv4 network: a peer's address is compared as IPv4.
pub(crate) fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// Returns the number whose high bits are the prefix of a network, and the mask of these bits.
pub(super) fn prefix_bits_v4(network: Ipv4Net) -> (u32, u32) {
    (u32::from(network.network()), u32::from(network.netmask()))
}

/// Returns the prefix and the mask of an IPv6 network, as [`prefix_bits_v4`] does.
pub(super) fn prefix_bits_v6(network: Ipv6Net) -> (u128, u128) {
    (u128::from(network.network()), u128::from(network.netmask()))
}

/// Returns the start of a text that may be long, for an error.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notation_names_one_network() {
        for (text, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("128.0.0.0/1", "128.0.0.0/1"),
            ("192.0.2.7/32", "192.0.2.7/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1/128", "2001:db8::1/128"),
            ("::1", "::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("8000::/1", "8000::/1"),
        ] {
            assert_eq!(parse_network(text).unwrap().to_string(), network, "{text}");
        }
    }

    #[test]
    fn text_that_names_no_network_is_refused_with_what_to_write() {
        for text in
            ["", "bob", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "/8", "2001:db8::/129", "10.0.0.0/8 "]
        {
            let told = parse_network(text).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{text:?} is no address and no network: write 192.0.2.7")), "{told}");
        }
        let told = parse_network("10.1.2.3/8").unwrap_err().to_string();
        assert!(told.ends_with("write 10.0.0.0/8 for the whole network, or 10.1.2.3 for the address"), "{told}");
        for everything in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert!(matches!(parse_network(everything), Err(NetworkError::Everything(_))), "{everything}");
        }
    }

    #[test]
    fn error_shows_the_start_of_a_long_text() {
        let told = parse_network(&"ü".repeat(5_000)).unwrap_err().to_string();
        assert!(told.contains(&format!("{}…", "ü".repeat(SHOWN))) && told.len() < 400, "{told}");
    }
}
