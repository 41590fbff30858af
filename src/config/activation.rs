//! Socket activation: which sockets that the service manager passes are served, and what they speak.

use crate::config::{ListenAddress, NetworkSettings, Settings};

/// The protocol of an activated socket, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivatedProtocol {
    /// Lines, as on `tcp://` and `unix:`: a socket named `tcp` or `unix`, or one whose unit names none.
    Lines,
    /// Telnet, as on `telnet://`: a socket named `telnet`.
    Telnet,
    /// Lines inside TLS, as on `tls://`: a socket named `tls`.
    Tls,
    /// A page and WebSocket, as on `ws://`: a socket named `ws`.
    Web,
    /// The same inside TLS, as on `wss://`: a socket named `wss`.
    WebTls,
}

/// Why activated sockets and listeners do not fit. Shown, it names the socket and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    /// No socket has the name that a listener asks for.
    #[error("--listen fd:{name}: the service manager passed no socket of this name, but {}", list(passed))]
    NotPassed {
        /// The name.
        name: String,
        /// The names of the passed sockets.
        passed: Vec<String>,
    },
    /// A socket's name is no kind of listener; holds it.
    #[error(
        "LISTEN_FDNAMES: a socket is named {0:?}; name it tcp, telnet, tls, ws, wss or unix (FileDescriptorName= in its unit)"
    )]
    UnknownName(String),
    /// No listener takes a socket; holds its name.
    #[error(
        "the service manager passed a socket {0:?} that no listener takes: add --listen fd:{0}, or leave the port, --bind and --listen out"
    )]
    NotTaken(String),
    /// A TLS socket has no certificate; holds its name.
    #[error("the service manager passed a socket {0:?}, which speaks TLS: add --tls-cert FILE and --tls-key FILE")]
    NoCertificate(String),
}

/// Returns the names of sockets as an error shows them.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

impl ActivatedProtocol {
    /// Returns what the connections of a socket of this name speak; `None` for a name that is no kind of listener.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            // A socket unit without FileDescriptorName= gives its own name; without LISTEN_FDNAMES the name is unknown
            // (sd_listen_fds_with_names(3)).
            "tcp" | "unix" | "unknown" => Some(Self::Lines),
            _ if name.ends_with(".socket") => Some(Self::Lines),
            "telnet" => Some(Self::Telnet),
            "tls" => Some(Self::Tls),
            "ws" => Some(Self::Web),
            "wss" => Some(Self::WebTls),
            _ => None,
        }
    }

    /// Returns whether the connections begin with TLS.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebTls)
    }

    /// Returns whether the connections speak HTTP and WebSocket.
    pub(crate) fn is_web(self) -> bool {
        matches!(self, Self::Web | Self::WebTls)
    }
}

impl Settings {
    /// Returns the settings for a server to which the service manager passes sockets of these names. Where no listener is
    /// given, the activated sockets take the place of the default one.
    ///
    /// # Errors
    /// [`ActivationError`] for a listener without its socket, and for a socket without a listener or with an unknown name.
    pub fn with_activated_sockets(mut self, names: &[String]) -> Result<Self, ActivationError> {
        let NetworkSettings { listen, is_listen_given, .. } = &mut self.network;
        if !names.is_empty() && !*is_listen_given && *listen == NetworkSettings::default().listen {
            listen.clear();
            for name in names {
                let address = ListenAddress::Activated(name.clone());
                if listen.iter().all(|url| url.address != address) {
                    listen.push(address.into());
                }
            }
        }
        let listen = &self.network.listen;
        let taken = || listen.iter().filter_map(|url| url.address.activated_name());
        if let Some(name) = taken().find(|name| names.iter().all(|passed| passed != name)) {
            return Err(ActivationError::NotPassed { name: name.to_owned(), passed: names.to_vec() });
        }
        if let Some(name) = names.iter().find(|name| ActivatedProtocol::of_name(name).is_none()) {
            return Err(ActivationError::UnknownName(name.clone()));
        }
        match names.iter().find(|name| taken().all(|taken| taken != *name)) {
            Some(name) => Err(ActivationError::NotTaken(name.clone())),
            None => {
                match names.iter().find(|name| ActivatedProtocol::of_name(name).is_some_and(ActivatedProtocol::is_tls))
                {
                    Some(name) if self.network.tls.is_none() => Err(ActivationError::NoCertificate(name.clone())),
                    _ => Ok(self),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activated(urls: &[&str], names: &[&str]) -> Result<Vec<String>, String> {
        let mut settings = Settings::default();
        if !urls.is_empty() {
            settings.network.is_listen_given = true;
            settings.network.listen = urls.iter().map(|url| url.parse().unwrap()).collect();
        }
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let settings = settings.with_activated_sockets(&names).map_err(|error| error.to_string())?;
        Ok(settings.network.listen.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn activated_sockets_take_the_place_of_the_default_listener() {
        assert_eq!(activated(&[], &[]).unwrap(), ["tcp://:1234"]);
        assert_eq!(activated(&[], &["roomcast.socket"]).unwrap(), ["fd:roomcast.socket"]);
        assert_eq!(activated(&[], &["tcp", "telnet", "tcp"]).unwrap(), ["fd:tcp", "fd:telnet"]);
    }

    #[test]
    fn listener_names_its_socket_with_its_parameters() {
        let urls = ["fd:tcp?proxy=v1v2", "unix:/run/roomcast"];
        assert_eq!(activated(&urls, &["tcp"]).unwrap(), urls);
    }

    #[test]
    fn sockets_and_listeners_that_do_not_fit_are_named() {
        for (urls, names, expected) in [
            (
                &["fd:tcp"][..],
                &[][..],
                "--listen fd:tcp: the service manager passed no socket of this name, but none at all",
            ),
            (
                &["fd:tcp"],
                &["telnet", "unix"],
                "--listen fd:tcp: the service manager passed no socket of this name, but telnet, unix",
            ),
            (
                &[],
                &["tcp", "tlenet"],
                "LISTEN_FDNAMES: a socket is named \"tlenet\"; name it tcp, telnet, tls, ws, wss or unix (FileDescriptorName= in its \
                 unit)",
            ),
            (
                &[],
                &["tcp", "tls"],
                "the service manager passed a socket \"tls\", which speaks TLS: add --tls-cert FILE and --tls-key FILE",
            ),
            // The default, which is given nevertheless.
            (
                &["tcp://:1234"],
                &["tcp"],
                "the service manager passed a socket \"tcp\" that no listener takes: add --listen fd:tcp, or leave the \
                 port, --bind and --listen out",
            ),
            (
                &["tcp://:4000"],
                &["tcp"],
                "the service manager passed a socket \"tcp\" that no listener takes: add --listen fd:tcp, or leave the \
                 port, --bind and --listen out",
            ),
        ] {
            assert_eq!(activated(urls, names).unwrap_err(), expected);
        }
    }

    #[test]
    fn name_says_what_a_socket_speaks() {
        for (name, protocol) in [
            ("tcp", Some(ActivatedProtocol::Lines)),
            ("unix", Some(ActivatedProtocol::Lines)),
            ("unknown", Some(ActivatedProtocol::Lines)),
            ("roomcast.socket", Some(ActivatedProtocol::Lines)),
            ("telnet", Some(ActivatedProtocol::Telnet)),
            ("tls", Some(ActivatedProtocol::Tls)),
            ("ws", Some(ActivatedProtocol::Web)),
            ("wss", Some(ActivatedProtocol::WebTls)),
            ("Telnet", None),
            ("", None),
        ] {
            assert_eq!(ActivatedProtocol::of_name(name), protocol, "{name:?}");
        }
    }
}
