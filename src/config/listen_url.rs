//! Listener URLs: a listen address with its parameters, as `--listen` takes it.

use crate::config::{ListenAddress, ListenAddressError};
use std::fmt;
use std::str::FromStr;

/// One listener: where it accepts connections, and whether a proxy stands before it.
///
/// Shown, it is the URL that `--listen` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUrl {
    /// Where the listener accepts connections.
    pub address: ListenAddress,
    /// The versions of the PROXY header with which each connection has to begin; `None` for a listener without a proxy.
    pub proxy: Option<ProxyVersions>,
}

/// The versions of the PROXY protocol that a listener takes, as its parameter `proxy` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersions {
    /// `proxy=v1`: the text form.
    V1,
    /// `proxy=v2`: the binary form.
    V2,
    /// `proxy=v1v2`: either form.
    Both,
}

impl ProxyVersions {
    /// All values, in the order in which an error names them.
    const ALL: [Self; 3] = [Self::Both, Self::V1, Self::V2];

    /// Returns the value of the parameter `proxy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Both => "v1v2",
        }
    }

    /// Returns whether a header of version 1 is taken.
    #[must_use]
    pub fn allows_v1(self) -> bool {
        self != Self::V2
    }

    /// Returns whether a header of version 2 is taken.
    #[must_use]
    pub fn allows_v2(self) -> bool {
        self != Self::V1
    }
}

impl From<ListenAddress> for ListenUrl {
    /// Returns a listener without a proxy.
    fn from(address: ListenAddress) -> Self {
        Self { address, proxy: None }
    }
}

impl FromStr for ListenUrl {
    type Err = ListenAddressError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let Some((address, parameter)) = url.split_once('?') else {
            return Ok(url.parse::<ListenAddress>()?.into());
        };
        let versions = parameter.strip_prefix("proxy=");
        let proxy = versions.and_then(|name| ProxyVersions::ALL.into_iter().find(|known| known.as_str() == name));
        if proxy.is_none() {
            return Err(ListenAddressError::Parameter(parameter.to_owned()));
        }
        Ok(Self { address: address.parse()?, proxy })
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        write_parameters(f, self.proxy)
    }
}

/// Writes the parameters of a URL, with the `?` before them if there are any.
pub(crate) fn write_parameters(f: &mut fmt::Formatter<'_>, proxy: Option<ProxyVersions>) -> fmt::Result {
    proxy.map_or(Ok(()), |versions| write!(f, "?proxy={}", versions.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_names_the_versions_on_each_kind_of_listener() {
        for address in ["tcp://127.0.0.1:4000", "tcp://:1234", "telnet://[::1]:23", "unix:/run/roomcast", "fd:tcp"] {
            let plain: ListenUrl = address.parse().unwrap();
            assert_eq!((plain.to_string(), plain.proxy), (address.to_owned(), None));
            for (name, v1, v2) in [("v1", true, false), ("v2", false, true), ("v1v2", true, true)] {
                let url = format!("{address}?proxy={name}");
                let parsed: ListenUrl = url.parse().unwrap();
                assert_eq!(parsed.to_string(), url);
                assert_eq!(parsed.address, plain.address);
                let versions = parsed.proxy.unwrap();
                assert_eq!((versions.allows_v1(), versions.allows_v2()), (v1, v2), "{url}");
            }
        }
    }

    #[test]
    fn unknown_parameter_is_shown_with_what_to_write() {
        for parameter in
            ["", "proxy", "proxy=", "proxy=v3", "proxy=v2v1", "proxy=v1&tls=1", "tls=1", "proxy=v1?proxy=v2"]
        {
            let told = format!("tcp://:1?{parameter}").parse::<ListenUrl>().unwrap_err().to_string();
            let expected = format!("no listener parameter is {parameter:?}; write ?proxy=v1v2, ?proxy=v1 or ?proxy=v2");
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn address_before_a_parameter_is_checked() {
        let told = "tcp://localhost:1?proxy=v1".parse::<ListenUrl>().unwrap_err().to_string();
        assert!(told.starts_with("\"localhost:1\" is no IP address and port"), "{told}");
    }
}
