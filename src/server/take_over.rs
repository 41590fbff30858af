//! Takes over a server from another process: rebuilds its listeners, rooms and connections without a word to any peer.

use super::handover::{DroppedOutput, MovedServer};
use super::{Server, StartError};
use crate::config::{Settings, SlowReader};
use crate::connection::Connection;
use crate::metrics::listener_counts::ListenerNumber;
use crate::net::{ActivatedSockets, HandedListener, Socket, watch_stream};
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::membership::Membership;
use crate::room::moved::MovedMembership;
use crate::text::names::{RoomName, UserName};
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::vec::IntoIter;
use tracing::warn;

/// Listeners that another process has passed, until they are served.
#[derive(Debug, Default)]
pub(super) struct HandedListeners {
    /// The listeners for peers, each with its URL in the settings.
    pub(super) peers: Vec<(String, HandedListener)>,
    metrics: Option<(SocketAddr, OwnedFd)>,
    admin: Option<(PathBuf, OwnedFd)>,
}

/// Connections of another process, and members that could not be moved, until the server runs.
#[derive(Default)]
pub(super) struct TakenOver {
    #[allow(clippy::vec_box, reason = "a connection is served in its box")]
    pub(super) connections: Vec<Box<Connection>>,
    /// The places of the members that could not be moved: their drop lets them leave.
    pub(super) left: Vec<Membership>,
}

impl Drop for TakenOver {
    /// Forgets what was never served, with its sockets: the other process goes on with the same connections, and a
    /// membership that is dropped would tell them that their members have left.
    fn drop(&mut self) {
        self.connections.drain(..).for_each(mem::forget);
        self.left.drain(..).for_each(mem::forget);
    }
}

impl fmt::Debug for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenOver").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

/// Why a server can't be taken over.
fn impossible(reason: impl Into<String>) -> StartError {
    StartError::Handover(reason.into())
}

impl HandedListeners {
    /// Takes the listener for metrics on this address of the settings.
    pub(super) fn take_metrics(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        self.metrics.take_if(|(handed, _)| *handed == address).map(|(_, descriptor)| descriptor)
    }

    /// Takes the operators' listener on this path of the settings.
    pub(super) fn take_admin(&mut self, path: &std::path::Path) -> Option<OwnedFd> {
        self.admin.take_if(|(handed, _)| handed == path).map(|(_, descriptor)| descriptor)
    }

    /// Takes the descriptors of the listeners, which come first.
    fn take_from(server: &MovedServer, descriptors: &mut IntoIter<OwnedFd>) -> Option<Self> {
        let mut handed = Self::default();
        for listener in &server.listeners {
            let (address, descriptor) = (listener.address.clone(), descriptors.next()?);
            let passed = HandedListener { address, is_activated: listener.is_activated, descriptor };
            handed.peers.push((listener.url.clone(), passed));
        }
        if let Some(address) = server.metrics {
            handed.metrics = Some((address, descriptors.next()?));
        }
        if let Some(path) = &server.admin {
            handed.admin = Some((path.clone(), descriptors.next()?));
        }
        Some(handed)
    }
}

impl Server {
    /// Takes a server over from another process, with the state and the descriptors that
    /// [`Freeze`](crate::Freeze) has made there. Nothing is written to any peer, and nothing is accepted, before
    /// [`Server::run`]. Listeners of the settings that the other process did not have are opened, and those that the settings
    /// lack are closed. Needs a runtime.
    ///
    /// # Errors
    /// [`StartError`]: the state is wrong, the settings have fewer places or rooms than it, or a listener can't be opened.
    pub fn take_over(
        settings: &Settings,
        max_connections: usize,
        state: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, StartError> {
        let server: MovedServer =
            postcard::from_bytes(state).map_err(|_| impossible("the state can't be read: this is a bug"))?;
        if server.allow_duplicate_names != settings.rooms.allow_duplicate_names {
            return Err(impossible("--allow-duplicate-names has changed: that needs a restart"));
        }
        let mut descriptors = descriptors.into_iter();
        let wrong_number = || impossible("the number of descriptors is wrong: this is a bug");
        let handed = HandedListeners::take_from(&server, &mut descriptors).ok_or_else(wrong_number)?;
        if descriptors.len() != server.connections.len() {
            return Err(wrong_number());
        }
        let urls: Vec<String> = server.listeners.iter().map(|listener| listener.url.clone()).collect();
        let mut built = Self::build(settings, max_connections, ActivatedSockets::default(), handed)?;
        built.import(server, descriptors, &urls)?;
        Ok(built)
    }

    /// Returns how many connections and rooms the server has taken over.
    #[must_use]
    pub fn taken_over(&self) -> (usize, usize) {
        (self.taken_over.connections.len(), self.context.registry.len())
    }

    fn import(
        &mut self,
        server: MovedServer,
        descriptors: IntoIter<OwnedFd>,
        urls: &[String],
    ) -> Result<(), StartError> {
        let MovedServer { rooms, connections, left, addresses, next_id, .. } = server;
        let context = Arc::clone(&self.context);
        let admission = Arc::clone(&self.admission);
        admission.import(&addresses, next_id);
        for room in rooms {
            context.registry.import_room(room).map_err(|error| impossible(error.to_string()))?;
        }
        let wanted = connections.len();
        let mut members: HashMap<RoomName, Vec<(MovedMembership, usize)>> = HashMap::new();
        for (moved, descriptor) in connections.into_iter().zip(descriptors) {
            let (permit, ticket) = admission.readmit(moved.address.ip()).ok_or_else(|| {
                impossible(format!(
                    "--max-connections is less than the {wanted} connections: raise it, or restart the server"
                ))
            })?;
            let stream = watch_stream(descriptor)
                .map_err(|error| impossible(format!("a connection can't be watched: {error}")))?;
            let (membership, listener) = (moved.membership, moved.listener);
            let connection = Connection::import(Arc::clone(&context), moved, Socket::new(stream, permit), ticket);
            let listener = listener.and_then(|index| urls.get(index)).and_then(|url| self.listener_of(url));
            let connection = match listener {
                Some(listener) => connection.count_for(listener),
                None => connection,
            };
            if let Some(membership) = membership {
                members.entry(membership.room).or_default().push((membership, self.taken_over.connections.len()));
            }
            self.taken_over.connections.push(connection);
        }
        let mut lost: HashMap<RoomName, Vec<UserName>> = HashMap::new();
        for (room, user) in left {
            members.entry(room).or_default();
            lost.entry(room).or_default().push(user);
        }
        for (room, members) in members {
            self.import_members(room, &members, lost.remove(&room).unwrap_or_default())?;
        }
        context.registry.remove_empty_rooms();
        Ok(())
    }

    /// Gives the members of one room their places, and a place to those that are to leave.
    fn import_members(
        &mut self,
        room: RoomName,
        members: &[(MovedMembership, usize)],
        lost: Vec<UserName>,
    ) -> Result<(), StartError> {
        let connections = &self.taken_over.connections;
        let mut places: Vec<(MovedMembership, Arc<Peer<dyn ByteSink>>)> =
            members.iter().map(|(membership, at)| (*membership, connections[*at].shared_peer())).collect();
        for user in lost {
            let id = self.admission.next_number();
            let peer = Arc::new(Peer::new(id, usize::MAX, SlowReader::Skip, DroppedOutput));
            places.push((MovedMembership { room, user, slot: MembershipSlot::A }, peer));
        }
        let memberships = self.context.registry.import_members(room, places);
        let mut memberships = memberships.ok_or_else(|| impossible("a room's members are wrong: this is a bug"))?;
        self.taken_over.left.extend(memberships.split_off(members.len()));
        for ((_, at), membership) in members.iter().zip(memberships) {
            self.taken_over.connections[*at].import_membership(membership);
        }
        Ok(())
    }

    /// Returns the number of the first listener with this URL of the settings.
    fn listener_of(&self, url: &str) -> Option<ListenerNumber> {
        let found = self.listener_urls.iter().position(|own| own == url);
        if found.is_none() {
            warn!(url, "connections of a listener that the settings lack now are counted for none");
        }
        found.map(ListenerNumber::from_index)
    }
}
