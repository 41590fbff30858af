//! The operators' socket: accepts trusted processes, a few at a time.

use super::outcome::Outcome;
use super::session::Session;
use super::{AdminContext, session};
use crate::limits::permits::Permits;
use crate::net::{ListenError, LocalListener, LocalPeer};
use socket2::SockRef;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The most sessions at a time. Their descriptors come out of the reserve.
const MAX_SESSIONS: usize = 8;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The socket on which operators' commands come in.
#[derive(Debug)]
pub(crate) struct AdminServer {
    listener: Arc<LocalListener>,
}

impl AdminServer {
    /// Listens on a path, with mode 0600. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError`] if the path can't be listened on.
    pub(crate) fn bind(path: &Path) -> Result<Self, ListenError> {
        Ok(Self { listener: Arc::new(LocalListener::bind(path)?) })
    }

    /// Goes on with a listener on `path` that another process has passed.
    ///
    /// # Errors
    /// [`ListenError`] if the system can't watch it.
    pub(crate) fn go_on(path: &Path, handed: OwnedFd) -> Result<Self, ListenError> {
        Ok(Self { listener: Arc::new(LocalListener::from_handed(path, handed)?) })
    }

    /// Returns the listener, which closes with this.
    pub(crate) fn listener(&self) -> Weak<LocalListener> {
        Arc::downgrade(&self.listener)
    }

    /// Serves sessions, each in a task of `tasks`, until the server begins to end.
    pub(crate) async fn run(self, context: AdminContext, tasks: TaskTracker) {
        let (context, sessions) = (Arc::new(context), Permits::new(MAX_SESSIONS));
        let shutdown = context.server.shutdown.clone();
        self.listener.own_file();
        while let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => match self.refusal(peer, &sessions) {
                    Ok(permit) => {
                        let session = Session::new(stream, peer, Arc::clone(&context));
                        let serve = session.serve(permit);
                        let shutdown = shutdown.clone();
                        tasks.spawn(async move { shutdown.run_until_cancelled(serve).await });
                    }
                    Err(reason) => refuse(&stream, peer, reason),
                },
                Err(error) => {
                    warn!(%error, "can't accept an operator's connection");
                    shutdown.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
    }

    /// Returns a permit for a session of a trusted process.
    ///
    /// # Errors
    /// Why the process gets no session.
    fn refusal(&self, peer: LocalPeer, sessions: &Arc<Permits>) -> Result<session::SessionPermit, String> {
        if !self.listener.is_trusted(peer) {
            return Err(format!("uid {} may not administer this server: its own user and root may", peer.uid));
        }
        let full = || format!("{MAX_SESSIONS} operators are connected already: end a session");
        sessions.try_acquire().ok_or_else(full)
    }
}

/// Tells a process why it gets no session, in the one write that a new socket always takes.
fn refuse(stream: &UnixStream, peer: LocalPeer, reason: String) {
    warn!(by = peer.to_string(), reason, "an operator's connection was refused");
    // A process that is gone needs no answer.
    let _ = SockRef::from(stream).send(Outcome::Refused(reason).into_line().as_bytes());
}
