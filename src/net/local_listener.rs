//! The local listener: a Unix socket for processes of this machine whose user the system names.

use crate::net::handed::watch_unix;
use crate::net::listener::bind_unix;
use crate::net::socket_file::SocketFile;
use crate::net::socket_options::set_buffer_sizes;
use crate::net::{BoundAddress, ListenError};
use socket2::SockRef;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

/// The permission bits of the socket's file: no other user can connect.
const MODE: u32 = 0o600;

/// A Unix socket that only the user of this process, and root, can connect to.
#[derive(Debug)]
pub(crate) struct LocalListener {
    /// Removes the socket's file at the end, and while the socket still listens.
    file: SocketFile,
    io: UnixListener,
    /// The user of this process.
    own_uid: u32,
}

/// The process at the other end of a Unix socket, when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalPeer {
    pub(crate) uid: u32,
    /// The process's number, where the system tells it.
    pub(crate) pid: Option<i32>,
}

impl LocalListener {
    /// Listens on a path. The file has its mode before the first connection is possible, and a file that a dead server left
    /// is replaced. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError`] if a server listens there, or the file can't be made.
    pub(crate) fn bind(path: &Path) -> Result<Self, ListenError> {
        Self::try_bind(path).map_err(|error| ListenError { address: BoundAddress::Unix(path.to_owned()), error })
    }

    /// Goes on with a listener on `path` that another process has passed.
    ///
    /// # Errors
    /// [`ListenError`] if the system can't watch it.
    pub(crate) fn from_handed(path: &Path, descriptor: OwnedFd) -> Result<Self, ListenError> {
        let watch = || Ok(Self { file: SocketFile::handed(path), io: watch_unix(descriptor)?, own_uid: own_uid()? });
        watch().map_err(|error| ListenError { address: BoundAddress::Unix(path.to_owned()), error })
    }

    fn try_bind(path: &Path) -> io::Result<Self> {
        let (socket, file) = bind_unix(path, Some(MODE))?;
        Ok(Self { file, io: UnixListener::from_std(socket.into())?, own_uid: own_uid()? })
    }

    /// Makes the socket's file this process's own, if another process has passed it.
    pub(crate) fn own_file(&self) {
        self.file.own();
    }

    /// Waits for a connection; returns it, and the process that connected.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) async fn accept(&self) -> io::Result<(UnixStream, LocalPeer)> {
        let (stream, _) = self.io.accept().await?;
        set_buffer_sizes(&SockRef::from(&stream))?;
        let credentials = stream.peer_cred()?;
        Ok((stream, LocalPeer { uid: credentials.uid(), pid: credentials.pid() }))
    }

    /// Returns whether a peer is this process's user or root. The file's mode keeps other users out already, unless its
    /// owner has changed the mode.
    pub(crate) fn is_trusted(&self, peer: LocalPeer) -> bool {
        peer.uid == self.own_uid || peer.uid == 0
    }
}

impl AsFd for LocalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// Returns the user of this process.
fn own_uid() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

impl fmt::Display for LocalPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " pid {pid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn own_user_and_root_are_trusted_and_no_other_user() {
        let path = std::env::temp_dir().join(format!("roomcast-{}-local", std::process::id()));
        let listener = LocalListener::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let (_stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.pid.and_then(|pid| u32::try_from(pid).ok()), Some(std::process::id()));
        assert!(listener.is_trusted(peer) && listener.is_trusted(LocalPeer { uid: 0, pid: None }));
        let other = LocalPeer { uid: listener.own_uid + 1, pid: Some(7) };
        assert!(!listener.is_trusted(other));
        assert_eq!(other.to_string(), format!("uid {} pid 7", other.uid));
        let told = LocalListener::bind(&path).unwrap_err().to_string();
        assert!(told.ends_with("a server listens there already: choose another path"), "{told}");
        drop(listener);
        assert!(!path.exists());
    }
}
