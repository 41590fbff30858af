//! Addresses: where a listener is bound, and where a peer connects from.

use crate::config::{ProxyVersions, write_parameters};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use tokio::net::UnixStream;

/// Where a listener is bound. Shown as the URL that `--listen` takes, or for metrics as the one that a scrape takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoundAddress {
    /// A TCP address; its port is never 0.
    Tcp(SocketAddr),
    /// A TCP address at which telnet clients are served; its port is never 0.
    Telnet(SocketAddr),
    /// A TCP address at which clients are served inside TLS; its port is never 0.
    Tls(SocketAddr),
    /// A TCP address at which browsers are served; its port is never 0.
    Web(SocketAddr),
    /// A TCP address at which browsers are served inside TLS; its port is never 0.
    WebTls(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The TCP address of metrics and health checks, at which no client is served; its port is never 0.
    Metrics(SocketAddr),
    /// The name of an activated Unix socket that has no path.
    Activated(String),
}

/// A listener of a running server. Shown as the URL that `--listen` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundListener {
    /// Where it is bound.
    pub address: BoundAddress,
    /// The versions of the PROXY header that it takes; `None` for a listener without a proxy.
    pub proxy: Option<ProxyVersions>,
}

/// Where a peer connects from, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PeerAddress {
    /// A TCP address; an IPv4 peer of an IPv6 socket is shown as an IPv4 peer. For a proxied connection it is the
    /// address that the PROXY header names.
    Tcp(SocketAddr),
    /// The address of a proxy that connects for itself, as for a health check: its PROXY header names no client. In two
    /// parts, beside which a second kind of TCP address takes no byte.
    Proxy(IpAddr, u16),
    /// A process of this machine, where the system tells which one.
    Unix(Option<PeerCredentials>),
}

/// The process that has opened a Unix connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerCredentials {
    /// The number of the process; `None` where the system tells the user alone.
    pid: Option<i32>,
    /// The user's number.
    uid: u32,
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Telnet(address) => write!(f, "telnet://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Web(address) => write!(f, "ws://{address}"),
            Self::WebTls(address) => write!(f, "wss://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Metrics(address) => write!(f, "http://{address}/metrics"),
            Self::Activated(name) => write!(f, "fd:{name}"),
        }
    }
}

impl fmt::Display for BoundListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        write_parameters(f, self.proxy)
    }
}

impl PeerAddress {
    /// Returns the address of a TCP peer, as the system reports it.
    pub(super) fn from_tcp(address: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Returns the address of a peer on a Unix socket.
    pub(super) fn from_unix(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Self::Unix(credentials.map(|credentials| PeerCredentials { pid: credentials.pid(), uid: credentials.uid() }))
    }

    /// Returns the address of a proxy that connects for itself.
    pub(crate) fn of_proxy(self) -> Self {
        match self {
            Self::Tcp(address) => Self::Proxy(address.ip(), address.port()),
            Self::Proxy(..) | Self::Unix(_) => self,
        }
    }

    /// Returns whether the peer is a proxy that connects for itself. The log has such a connection at the level for
    /// debugging as long as it sends no line.
    pub(crate) fn is_proxy(self) -> bool {
        matches!(self, Self::Proxy(..))
    }

    /// Returns the IP address of a TCP peer.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Proxy(ip, _) => Some(ip),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Proxy(ip, port) => SocketAddr::new(*ip, *port).fmt(f),
            Self::Unix(None) => f.write_str("unix"),
            Self::Unix(Some(PeerCredentials { pid: Some(pid), uid })) => write!(f, "unix:pid={pid},uid={uid}"),
            Self::Unix(Some(PeerCredentials { pid: None, uid })) => write!(f, "unix:uid={uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unix_peer_is_shown_with_its_process_and_user() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let shown = PeerAddress::from_unix(&ours).to_string();
        let expected = format!("unix:pid={},uid=", std::process::id());
        assert!(shown.starts_with(&expected), "{shown}");
        let uid = shown.strip_prefix(&expected).unwrap();
        assert!(uid.parse::<u32>().is_ok(), "{shown}");
        assert_eq!(PeerAddress::Unix(None).to_string(), "unix");
        assert_eq!(PeerAddress::from_unix(&ours).ip(), None);
    }

    #[test]
    fn peer_address_is_as_small_as_an_ip_address_with_its_port() {
        assert_eq!(size_of::<PeerAddress>(), size_of::<SocketAddr>());
    }
}
