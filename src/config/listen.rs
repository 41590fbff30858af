//! Listen addresses: the URL of one listener, as `--listen` takes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The kinds of listener that are planned and not built: an error names them.
const UNAVAILABLE: [&str; 4] = ["telnet", "tls", "ws", "wss"];

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
    /// `unix:PATH`, the line protocol over a Unix stream socket.
    Unix(PathBuf),
}

/// Why a text is no listen address. Shown, it says what is wrong and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// The scheme is one that this build can't serve; holds it.
    #[error("this build has no {0}:// listener; write tcp://ADDR:PORT or unix:PATH")]
    Unavailable(String),
    /// The scheme is unknown, or there is none.
    #[error("no listener's URL; write tcp://ADDR:PORT or unix:PATH")]
    Scheme,
    /// The text after `tcp://` is no address with a port; holds it.
    #[error("{0:?} is no IP address and port; write tcp://127.0.0.1:1234, tcp://[::1]:1234 or tcp://:1234")]
    Address(String),
    /// No path follows `unix:`.
    #[error("the socket's path is missing; write unix:PATH")]
    Path,
    /// A parameter follows a `?`; holds it.
    #[error("this build knows no listener parameter {0:?}; write tcp://ADDR:PORT or unix:PATH")]
    Parameter(String),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some((_, parameter)) = url.split_once('?') {
            return Err(ListenAddressError::Parameter(parameter.to_owned()));
        }
        if let Some(path) = url.strip_prefix("unix:") {
            return if path.is_empty() { Err(ListenAddressError::Path) } else { Ok(Self::Unix(path.into())) };
        }
        let (scheme, rest) = url.split_once("://").ok_or(ListenAddressError::Scheme)?;
        if UNAVAILABLE.contains(&scheme) {
            return Err(ListenAddressError::Unavailable(scheme.to_owned()));
        }
        if scheme != "tcp" {
            return Err(ListenAddressError::Scheme);
        }
        let every_interface = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        if let Some(port) = every_interface {
            return Ok(Self::Tcp { ip: None, port });
        }
        let address: SocketAddr = rest.parse().map_err(|_| ListenAddressError::Address(rest.to_owned()))?;
        Ok(Self::Tcp { ip: Some(address.ip()), port: address.port() })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { ip: None, port } => write!(f, "tcp://:{port}"),
            Self::Tcp { ip: Some(ip), port } => write!(f, "tcp://{}", SocketAddr::new(*ip, *port)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
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
    fn urls_of_both_kinds_are_read_and_shown_alike() {
        for url in ["tcp://127.0.0.1:4000", "tcp://[::1]:0", "tcp://:1234", "unix:/run/roomcast.sock", "unix:chat"] {
            assert_eq!(url.parse::<ListenAddress>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn a_kind_that_is_not_built_is_named() {
        for scheme in UNAVAILABLE {
            let told = error(&format!("{scheme}://127.0.0.1:23"));
            assert!(told.starts_with(&format!("this build has no {scheme}:// listener")), "{told}");
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
            ("tcp://:70000", "\":70000\" is no IP address"),
            ("unix:/run/roomcast?proxy=v1v2", "this build knows no listener parameter \"proxy=v1v2\""),
            ("tcp://127.0.0.1:4000?proxy=v1v2", "this build knows no listener parameter \"proxy=v1v2\""),
        ] {
            assert!(error(url).starts_with(start), "{url}: {}", error(url));
        }
    }
}
