//! Socket files: the file of a Unix listener, which is removed at the end, and a stale one that is replaced.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file of a Unix listener.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server may have put its own file in the place.
    identity: Option<(u64, u64)>,
    /// Whether the drop removes the file. Relaxed: it is set before the listener is served, by the thread that serves it.
    is_own: AtomicBool,
}

impl SocketFile {
    /// Takes the file that a bind has made.
    pub(super) fn new(path: &Path) -> Self {
        let file = Self::handed(path);
        file.own();
        file
    }

    /// Takes the file of a listener that another process has passed, which goes on with it if this one fails: its drop
    /// leaves the file until [`SocketFile::own`].
    pub(super) fn handed(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path), is_own: AtomicBool::new(false) }
    }

    /// Makes the file this process's own, which removes it at the end.
    pub(super) fn own(&self) {
        self.is_own.store(true, Ordering::Relaxed);
    }
}

/// Returns the device and inode of a file, if it is there.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = *self.is_own.get_mut();
        if is_own && self.identity.is_some() && identity(&self.path) == self.identity {
            // A file that is gone by now needs no removal.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket file at `path` if no server answers there.
pub(super) fn remove_stale_socket(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
        Err(_) => return Ok(()),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full accept queue must not make this wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}
