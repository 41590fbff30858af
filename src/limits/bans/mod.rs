//! Bans: the networks from which no connection is served, and the file that keeps them.
//!
//! The notation of a network, the lookup of an address, the format of the file and its replacement live here. The callers
//! pass the current time. Nothing here knows a connection: the admission asks for the ban of an address, and the
//! administration changes the list and closes the connections.

mod file;
mod list;
mod network;
mod storage;
mod table;

pub use file::{BansFile, BansFileError, LineProblem};
pub use list::{BanList, PreparedBans};
pub(crate) use network::canonical_network;
pub use network::{NetworkError, parse_network};

use ipnet::IpNet;
use std::fmt;
use std::time::SystemTime;

/// The most bans of a server. Each change writes all of them; a full list makes a file of 3 MiB at the most.
pub(crate) const MAX_BANS: usize = 10_000;

/// The longest reason of a ban, in bytes.
pub(crate) const MAX_REASON: usize = 200;

/// A ban of all addresses of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The network, without bits beyond its prefix.
    pub network: IpNet,
    /// The time from which the ban is no longer in force, in whole seconds; `None` for a ban without an end.
    pub expires: Option<SystemTime>,
    /// The reason, which the banned peers are told; sanitized, may be empty.
    pub reason: String,
    /// The user that made the ban, for the operators.
    pub by: String,
}

impl Ban {
    /// Returns whether the ban is in force at the time that `now` returns, which a ban without an end does not ask for.
    pub(crate) fn is_in_force(&self, now: impl FnOnce() -> SystemTime) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }

    /// Returns the end of the ban as `2026-11-27T05:00:00Z`.
    pub(crate) fn expires_text(&self) -> Option<String> {
        self.expires.map(|expires| humantime::format_rfc3339_seconds(expires).to_string())
    }
}

/// Shows the line that a banned peer is told after `ERROR`.
impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("your address is banned")?;
        if let Some(expires) = self.expires_text() {
            write!(f, " until {expires}")?;
        }
        let reason = if self.reason.is_empty() { "ask an operator of this server" } else { &self.reason };
        write!(f, ": {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn banned_peer_is_told_the_end_and_the_reason() {
        let forever = Ban {
            network: parse_network("192.0.2.7").unwrap(),
            expires: None,
            reason: String::new(),
            by: "uid 0".to_owned(),
        };
        assert_eq!(forever.to_string(), "your address is banned: ask an operator of this server");
        let expires = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let with_end = Ban { expires, reason: "flooding".to_owned(), ..forever };
        assert_eq!(with_end.to_string(), "your address is banned until 2027-01-15T08:00:00Z: flooding");
    }

    #[test]
    fn ban_is_in_force_until_its_end() {
        let end = UNIX_EPOCH + Duration::from_secs(100);
        let network = parse_network("192.0.2.7").unwrap();
        let ban = Ban { network, expires: Some(end), reason: String::new(), by: String::new() };
        assert!(ban.is_in_force(|| end - Duration::from_nanos(1)));
        assert!(!ban.is_in_force(|| end) && !ban.is_in_force(|| end + Duration::from_secs(1)));
        let forever = Ban { expires: None, ..ban };
        assert!(forever.is_in_force(|| panic!("a ban without an end needs no clock")));
    }
}
