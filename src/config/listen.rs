//! Listen addresses: where one listener accepts connections, as a URL without parameters.

use crate::config::ActivatedProtocol;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where one listener accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `tcp://ADDR:PORT`, the line protocol over TCP.
    Tcp {
        /// The interface's address; `None`, written `tcp://:PORT`, is every interface, IPv4 and IPv6.
        ip: Option<IpAddr>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// `telnet://ADDR:PORT`, the line protocol over TCP for telnet clients: the server negotiates at once.
    Telnet {
        /// The interface's address; `None`, written `telnet://:PORT`, is every interface, IPv4 and IPv6.
        ip: Option<IpAddr>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// `tls://ADDR:PORT`, the line protocol inside TLS 1.2 or 1.3.
    Tls {
        /// The interface's address; `None`, written `tls://:PORT`, is every interface, IPv4 and IPv6.
        ip: Option<IpAddr>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// `ws://ADDR:PORT`, a web page and the line protocol over WebSocket.
    Web {
        /// The interface's address; `None`, written `ws://:PORT`, is every interface, IPv4 and IPv6.
        ip: Option<IpAddr>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// `wss://ADDR:PORT`, the same as [`ListenAddress::Web`] inside TLS 1.2 or 1.3.
    WebTls {
        /// The interface's address; `None`, written `wss://:PORT`, is every interface, IPv4 and IPv6.
        ip: Option<IpAddr>,
        /// The port; 0 lets the system choose a free one.
        port: u16,
    },
    /// `unix:PATH`, the line protocol over a Unix stream socket.
    Unix(PathBuf),
    /// `fd:NAME`, all sockets of this name that the service manager passes.
    Activated(String),
}

/// Why a text is no listen address. Shown, it says what is wrong and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// The scheme is unknown, or there is none.
    #[error(
        "no listener's URL; write tcp://ADDR:PORT, telnet://ADDR:PORT, ws://ADDR:PORT, tls://ADDR:PORT, wss://ADDR:PORT \
         or unix:PATH"
    )]
    Scheme,
    /// The text after the scheme is no address with a port.
    #[error(
        "{address:?} is no IP address and port; write {scheme}://127.0.0.1:1234, {scheme}://[::1]:1234 or \
         {scheme}://:1234"
    )]
    Address {
        /// The URL's scheme.
        scheme: String,
        /// The text after it.
        address: String,
    },
    /// No path follows `unix:`.
    #[error("the socket's path is missing; write unix:PATH")]
    Path,
    /// No name follows `fd:`.
    #[error("the socket's name is missing; write fd:NAME, with the FileDescriptorName= of its systemd unit")]
    SocketName,
    /// The text after a `?` is no parameter; holds that text.
    #[error("no listener parameter is {0:?}; write ?proxy=v1v2, ?proxy=v1 or ?proxy=v2")]
    Parameter(String),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("unix:") {
            return if path.is_empty() { Err(ListenAddressError::Path) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(name) = url.strip_prefix("fd:") {
            return if name.is_empty() {
                Err(ListenAddressError::SocketName)
            } else {
                Ok(Self::Activated(name.into()))
            };
        }
        let (scheme, rest) = url.split_once("://").ok_or(ListenAddressError::Scheme)?;
        let listen_on = match scheme {
            "tcp" => |ip, port| Self::Tcp { ip, port },
            "telnet" => |ip, port| Self::Telnet { ip, port },
            "tls" => |ip, port| Self::Tls { ip, port },
            "ws" => |ip, port| Self::Web { ip, port },
            "wss" => |ip, port| Self::WebTls { ip, port },
            _ => return Err(ListenAddressError::Scheme),
        };
        let (ip, port) = parse_address(rest)
            .ok_or_else(|| ListenAddressError::Address { scheme: scheme.to_owned(), address: rest.to_owned() })?;
        Ok(listen_on(ip, port))
    }
}

impl ListenAddress {
    /// Returns whether the listener's connections speak TLS.
    pub(crate) fn is_tls(&self) -> bool {
        let is_activated = |name| ActivatedProtocol::of_name(name).is_some_and(ActivatedProtocol::is_tls);
        matches!(self, Self::Tls { .. } | Self::WebTls { .. }) || self.activated_name().is_some_and(is_activated)
    }

    /// Returns whether the listener's connections speak HTTP and WebSocket.
    pub(crate) fn is_web(&self) -> bool {
        let is_activated = |name| ActivatedProtocol::of_name(name).is_some_and(ActivatedProtocol::is_web);
        matches!(self, Self::Web { .. } | Self::WebTls { .. }) || self.activated_name().is_some_and(is_activated)
    }

    /// Returns the name of the activated sockets that the listener takes.
    pub(crate) fn activated_name(&self) -> Option<&str> {
        if let Self::Activated(name) = self { Some(name) } else { None }
    }
}

/// Reads `ADDR:PORT`, or `:PORT` for every interface.
fn parse_address(text: &str) -> Option<(Option<IpAddr>, u16)> {
    if let Some(port) = text.strip_prefix(':') {
        return Some((None, port.parse().ok()?));
    }
    let address: SocketAddr = text.parse().ok()?;
    Some((Some(address.ip()), address.port()))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { ip: None, port } => write!(f, "tcp://:{port}"),
            Self::Tcp { ip: Some(ip), port } => write!(f, "tcp://{}", SocketAddr::new(*ip, *port)),
            Self::Telnet { ip: None, port } => write!(f, "telnet://:{port}"),
            Self::Telnet { ip: Some(ip), port } => write!(f, "telnet://{}", SocketAddr::new(*ip, *port)),
            Self::Tls { ip: None, port } => write!(f, "tls://:{port}"),
            Self::Tls { ip: Some(ip), port } => write!(f, "tls://{}", SocketAddr::new(*ip, *port)),
            Self::Web { ip: None, port } => write!(f, "ws://:{port}"),
            Self::Web { ip: Some(ip), port } => write!(f, "ws://{}", SocketAddr::new(*ip, *port)),
            Self::WebTls { ip: None, port } => write!(f, "wss://:{port}"),
            Self::WebTls { ip: Some(ip), port } => write!(f, "wss://{}", SocketAddr::new(*ip, *port)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Activated(name) => write!(f, "fd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        url.parse::<ListenAddress>().unwrap_err().to_string()
    }

    #[test]
    fn urls_of_each_kind_are_read_and_shown_alike() {
        for url in [
            "tcp://127.0.0.1:4000",
            "tcp://[::1]:0",
            "tcp://:1234",
            "telnet://127.0.0.1:23",
            "telnet://[::1]:0",
            "telnet://:2323",
            "tls://127.0.0.1:6697",
            "tls://[::1]:0",
            "tls://:6697",
            "ws://127.0.0.1:8080",
            "ws://[::1]:0",
            "ws://:8080",
            "wss://127.0.0.1:8443",
            "wss://:8443",
            "unix:/run/roomcast.sock",
            "unix:chat",
            "fd:roomcast.socket",
        ] {
            assert_eq!(url.parse::<ListenAddress>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_url_that_is_wrong_is_answered_with_what_to_write() {
        for (url, start) in [
            ("", "no listener's URL"),
            ("4000", "no listener's URL"),
            ("udp://127.0.0.1:4000", "no listener's URL"),
            ("unix:", "the socket's path is missing"),
            ("tcp://", "\"\" is no IP address and port"),
            ("tcp://127.0.0.1", "\"127.0.0.1\" is no IP address"),
            ("tcp://localhost:4000", "\"localhost:4000\" is no IP address"),
            ("tcp://:70000", "\":70000\" is no IP address and port; write tcp://127.0.0.1:1234"),
            ("tcp://:", "\":\" is no IP address"),
            ("telnet://", "\"\" is no IP address and port; write telnet://127.0.0.1:1234"),
            ("tls://chat.example:6697", "\"chat.example:6697\" is no IP address and port; write tls://127.0.0.1:1234"),
            ("telnet://localhost:23", "\"localhost:23\" is no IP address"),
            (
                "telnet:127.0.0.1:23",
                "no listener's URL; write tcp://ADDR:PORT, telnet://ADDR:PORT, ws://ADDR:PORT, tls",
            ),
            ("http://127.0.0.1:80", "no listener's URL"),
            ("ws://localhost:80", "\"localhost:80\" is no IP address and port; write ws://127.0.0.1:1234"),
            ("wss://", "\"\" is no IP address and port; write wss://127.0.0.1:1234"),
            ("fd:", "the socket's name is missing; write fd:NAME"),
        ] {
            assert!(error(url).starts_with(start), "{url}: {}", error(url));
        }
    }
}
