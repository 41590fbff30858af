//! Addresses: where a listener is bound, and where a peer connects from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where a listener is bound. Shown as the URL that `--listen` takes, or for metrics as the one that a scrape takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// A TCP address; its port is never 0.
    Tcp(SocketAddr),
    /// A TCP address at which telnet clients are served; its port is never 0.
    Telnet(SocketAddr),
    /// A TCP address at which clients are served inside TLS; its port is never 0.
    Tls(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The TCP address of metrics and health checks, at which no client is served; its port is never 0.
    Metrics(SocketAddr),
}

/// Where a peer connects from, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    /// A TCP address; an IPv4 peer of an IPv6 socket is shown as an IPv4 peer.
    Tcp(SocketAddr),
    /// A process of this machine.
    Unix,
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Telnet(address) => write!(f, "telnet://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Metrics(address) => write!(f, "http://{address}/metrics"),
        }
    }
}

impl PeerAddress {
    /// Returns the address of a TCP peer, as the system reports it.
    pub(super) fn from_tcp(address: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Returns the IP address of a TCP peer.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
