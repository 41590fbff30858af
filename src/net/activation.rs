//! Activated sockets: listening sockets that a service manager opens and passes to the process.
//!
//! systemd passes descriptors from 3 on and names them in variables (`sd_listen_fds_with_names(3)`).

use crate::config::ActivatedProtocol;
use crate::net::BoundAddress;
use listenfd::ListenFd;
use socket2::SockRef;
use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

/// The first descriptor that a service manager passes.
const FIRST_DESCRIPTOR: usize = 3;

/// The name of a socket for which the service manager gives none.
const UNKNOWN_NAME: &str = "unknown";

/// The listening sockets that the service manager has passed to the process.
#[derive(Debug, Default)]
pub struct ActivatedSockets(Vec<ActivatedSocket>);

/// One socket that the service manager has passed.
#[derive(Debug)]
pub(super) struct ActivatedSocket {
    name: String,
    pub(super) listener: ActivatedListener,
    /// Where the socket is bound.
    pub(super) address: BoundAddress,
}

/// A listening socket that the runtime does not watch yet.
#[derive(Debug)]
pub(super) enum ActivatedListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A passed descriptor that can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ActivatedSocketsError {
    /// The descriptor is of another kind.
    #[error(
        "LISTEN_FDS: descriptor {descriptor} ({name}) is no listening socket for TCP or Unix streams: \
         use ListenStream= in its socket unit, without Accept="
    )]
    Kind {
        /// The number of the descriptor.
        descriptor: usize,
        /// The name of the socket.
        name: String,
    },
    /// A Unix socket has the name of another kind of listener; holds the name.
    #[error("LISTEN_FDNAMES: {0:?} is a Unix socket, which speaks lines alone: name it unix")]
    UnixName(String),
}

impl ActivatedSockets {
    /// Takes the sockets that the service manager has passed to this process, and removes the variables that name them.
    /// Called once, before the process has threads.
    ///
    /// # Errors
    /// [`ActivatedSocketsError`] for the first descriptor that can't be served.
    pub fn from_env() -> Result<Self, ActivatedSocketsError> {
        // A process inherits the variables of its parent, whose descriptors it does not have.
        let is_for_this_process = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        if !is_for_this_process {
            return Ok(Self::default());
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(|name| if name.is_empty() { UNKNOWN_NAME } else { name });
        let names = names.chain(std::iter::repeat(UNKNOWN_NAME));
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).zip(names).map(|(index, name)| take(&mut passed, index, name));
        Ok(Self(sockets.collect::<Result<_, _>>()?))
    }

    /// Returns the names of the sockets, in the order in which they were passed.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|socket| socket.name.clone()).collect()
    }

    /// Returns sockets as a service manager passes them, for tests.
    #[cfg(test)]
    pub(crate) fn from_tcp(sockets: Vec<(&str, TcpListener)>) -> Self {
        let activated = |(name, listener): (&str, TcpListener)| {
            let listener = ActivatedListener::Tcp(listener);
            ActivatedSocket { name: name.to_owned(), address: listener.address(name).unwrap(), listener }
        };
        Self(sockets.into_iter().map(activated).collect())
    }

    /// Removes the sockets of a name and returns them.
    pub(super) fn take(&mut self, name: &str) -> Vec<ActivatedSocket> {
        self.0.extract_if(.., |socket| socket.name == name).collect()
    }
}

/// Takes the passed socket at an index.
fn take(passed: &mut ListenFd, index: usize, name: &str) -> Result<ActivatedSocket, ActivatedSocketsError> {
    let listener = match (passed.take_tcp_listener(index), passed.take_unix_listener(index)) {
        (Ok(Some(listener)), _) => Some(ActivatedListener::Tcp(listener)),
        (_, Ok(Some(listener))) => Some(ActivatedListener::Unix(listener)),
        _ => None,
    };
    let kind_error = || ActivatedSocketsError::Kind { descriptor: FIRST_DESCRIPTOR + index, name: name.to_owned() };
    let listener = listener.filter(|listener| listener.is_listening().unwrap_or(false)).ok_or_else(kind_error)?;
    let address = listener.address(name).map_err(|_| kind_error())?;
    let is_unix = matches!(listener, ActivatedListener::Unix(_));
    if is_unix && !matches!(ActivatedProtocol::of_name(name), Some(ActivatedProtocol::Lines) | None) {
        return Err(ActivatedSocketsError::UnixName(name.to_owned()));
    }
    Ok(ActivatedSocket { name: name.to_owned(), listener, address })
}

impl ActivatedListener {
    fn is_listening(&self) -> io::Result<bool> {
        let descriptor = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        SockRef::from(&descriptor).is_listener()
    }

    /// Returns where the socket is bound, as a listener of the kind that `name` says.
    fn address(&self, name: &str) -> io::Result<BoundAddress> {
        Ok(match self {
            Self::Tcp(listener) => {
                let bound = match ActivatedProtocol::of_name(name) {
                    Some(ActivatedProtocol::Telnet) => BoundAddress::Telnet,
                    Some(ActivatedProtocol::Tls) => BoundAddress::Tls,
                    Some(ActivatedProtocol::Web) => BoundAddress::Web,
                    Some(ActivatedProtocol::WebTls) => BoundAddress::WebTls,
                    Some(ActivatedProtocol::Lines) | None => BoundAddress::Tcp,
                };
                bound(listener.local_addr()?)
            }
            Self::Unix(listener) => match listener.local_addr()?.as_pathname() {
                Some(path) => BoundAddress::Unix(path.to_owned()),
                None => BoundAddress::Activated(name.to_owned()),
            },
        })
    }
}
