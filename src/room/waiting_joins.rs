//! Waiting joins: the peers that a room of a cluster does not admit yet, and the members whose new name is not decided.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::PeerEvents;
use crate::room::batch::Batch;
use crate::room::batch_cluster::LocalRecord;
use crate::room::operation::MemberRef;
use crate::room::roster::{MemberKey, Members, NameMatch, find_by_name, holds_key};
use crate::text::messages;
use crate::text::names::{NodeName, UserName};
use std::mem;
use std::sync::Arc;

/// Whether a room is as other servers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opening {
    /// The room has no member, and waits for none.
    #[default]
    Closed,
    /// The room waits for other servers before it admits its first member.
    Waiting,
    Open,
}

/// The peers that wait to join and the members that wait for another name, in their order, and whether the room is open.
#[derive(Default)]
pub(crate) struct WaitingJoins {
    opening: Opening,
    waiting: Vec<WaitingJoin>,
    renames: Vec<(MemberRef, UserName)>,
}

struct WaitingJoin {
    joiner: MemberRef,
    awaited: Awaited,
}

/// The event that decides a join which waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The room is opened.
    Opening,
    /// A server where a member has the name answers.
    Node(NodeName),
    /// The log says who has claimed the name first.
    Claim,
}

impl std::fmt::Debug for WaitingJoins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, renames) = (self.waiting.len(), self.renames.len());
        f.debug_struct("WaitingJoins")
            .field("opening", &self.opening)
            .field("waiting", &waiting)
            .field("renames", &renames)
            .finish()
    }
}

impl WaitingJoins {
    /// Returns the number of peers that wait to join.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Closes a room without members, unless peers wait to join. Returns false if it is closed, or stays open.
    pub(super) fn close_if_open(&mut self) -> bool {
        let is_over = self.waiting.is_empty() && self.opening != Opening::Closed;
        if is_over {
            self.opening = Opening::Closed;
            self.renames.clear();
        }
        is_over
    }
}

impl Drop for WaitingJoins {
    /// Raises `ROOM_FAILED` for the peers that still wait after a panic.
    fn drop(&mut self) {
        for WaitingJoin { joiner, .. } in self.waiting.drain(..) {
            joiner.raise(PeerEvents::ROOM_FAILED, &mut MetricsDelta::default());
        }
    }
}

impl Batch {
    fn joins(&mut self) -> Option<&mut WaitingJoins> {
        let state = self.pass_state.as_mut()?;
        Some(state.joins.get_or_insert_default())
    }

    /// Returns a joiner that may be admitted now. Any other one waits: for the room to be opened, or for the server where a
    /// member has the name.
    pub(super) fn ask_cluster(&mut self, joiner: MemberRef) -> Option<MemberRef> {
        let Some(cluster) = self.cluster.as_ref() else { return Some(joiner) };
        let (room, link) = (cluster.room, Arc::clone(&cluster.link));
        let holder = cluster.members_now().find(&joiner.key.name).map(|(node, _)| node);
        let Some(joins) = self.joins() else { return Some(joiner) };
        if joins.opening == Opening::Closed {
            joins.opening = if link.tap.opens_rooms() { Opening::Waiting } else { Opening::Open };
            if joins.opening == Opening::Waiting {
                link.tap.open(room, link.instance());
            }
        }
        let awaited = match (joins.opening, holder) {
            (Opening::Open, None) => return Some(joiner),
            (Opening::Open, Some(node)) => Awaited::Node(node),
            (Opening::Waiting | Opening::Closed, _) => Awaited::Opening,
        };
        joins.waiting.push(WaitingJoin { joiner, awaited });
        if let Awaited::Node(node) = awaited {
            link.tap.check_node(room, node);
        }
        None
    }

    /// Admits a peer whose name is free on this server, or claims the name for it. One claim decides for all peers that want
    /// a name.
    pub(super) fn admit_or_claim(&mut self, joiner: MemberRef) {
        if !self.is_ordered() {
            return self.admit(joiner, false);
        }
        let name = joiner.key.name;
        let Some(joins) = self.joins() else { return };
        let is_claimed =
            joins.waiting.iter().any(|join| join.awaited == Awaited::Claim && join.joiner.key.name == name);
        joins.waiting.push(WaitingJoin { joiner, awaited: Awaited::Claim });
        if !is_claimed {
            self.record_change(LocalRecord::Claimed(name));
        }
    }

    /// Decides the joins with a name that was claimed.
    pub(super) fn decide_claimed(&mut self, name: UserName, mut is_granted: bool) {
        for joiner in self.take_waiting_joins(|join| join.awaited == Awaited::Claim && join.joiner.key.name == name) {
            if is_granted && !self.members_now().contains_key(&joiner.key) {
                self.admit(joiner, true);
            } else {
                joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            }
        }
        is_granted &= !has_name(self.members_now(), name);
        if is_granted {
            // The peer is gone. All servers have seen it join.
            self.append_notice(|out| messages::push_joined(out, &name));
            self.leave_again(name);
        }
    }

    /// Has a member leave that is gone.
    fn leave_again(&mut self, name: UserName) {
        self.record_change(LocalRecord::Left(name));
        if !self.is_ordered() {
            self.append_notice(|out| messages::push_left(out, &name));
        }
    }

    /// Keeps a rename until its claim is decided.
    pub(super) fn claim_rename(&mut self, member: MemberRef, name: UserName) {
        let from = member.key.name;
        if let Some(joins) = self.joins() {
            joins.renames.push((member, name));
        }
        self.record_change(LocalRecord::ClaimedRename(from, name));
    }

    pub(super) fn decide_rename(&mut self, from: UserName, name: UserName, is_granted: bool) {
        let is_it = |(member, wanted): &(MemberRef, UserName)| member.key.name == from && *wanted == name;
        let found = self.joins().and_then(|joins| {
            let at = joins.renames.iter().position(is_it)?;
            Some(joins.renames.remove(at))
        });
        let member = found.map(|(member, _)| member);
        let is_here = |member: &MemberRef| holds_key(self.members_now(), &member.key, member.peer.id());
        match member.filter(is_here) {
            Some(member) if is_granted && (from == name || !has_name(self.members_now(), name)) => {
                self.rename(member, name, true);
            }
            Some(member) => {
                if is_granted {
                    // A join that did not wait for the log has the name meanwhile.
                    self.record_change(LocalRecord::Joined(from));
                }
                member.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            }
            None if is_granted && !has_name(self.members_now(), name) => {
                self.append_notice(|out| messages::push_renamed(out, &from, &name));
                self.leave_again(name);
            }
            None => {}
        }
    }

    /// Takes the joins that wait and for which `is_it` holds, in their order.
    fn take_waiting_joins(&mut self, is_it: impl Fn(&WaitingJoin) -> bool) -> Vec<MemberRef> {
        let Some(joins) = self.joins() else { return Vec::new() };
        let (taken, waiting): (Vec<_>, Vec<_>) = mem::take(&mut joins.waiting).into_iter().partition(is_it);
        joins.waiting = waiting;
        taken.into_iter().map(|join| join.joiner).collect()
    }

    /// Decides the joins that waited for a server, or for the room to be opened.
    pub(super) fn decide_joins(&mut self, awaited: Awaited) {
        let is_opening = awaited == Awaited::Opening;
        if let Some(joins) = self.joins().filter(|_| is_opening) {
            joins.opening = Opening::Open;
        }
        for joiner in self.take_waiting_joins(|join| join.awaited == awaited) {
            let name = joiner.key.name;
            if self.members_now().contains_key(&joiner.key) {
                joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            } else if !self.is_taken_elsewhere(&name) {
                self.admit_or_claim(joiner);
            } else if !is_opening {
                joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
            } else if let Some(joiner) = self.ask_cluster(joiner) {
                self.admit_or_claim(joiner);
            }
        }
    }

    /// Refuses a join that waits, since its peer wants it no more.
    pub(super) fn cancel_waiting_join(&mut self, key: &MemberKey, peer: &Arc<Peer<dyn ByteSink>>) {
        if self.cluster.is_none() {
            return;
        }
        let Some(joins) = self.joins() else { return };
        let is_it = |join: &WaitingJoin| join.joiner.key == *key && join.joiner.peer.id() == peer.id();
        if let Some(at) = joins.waiting.iter().position(is_it) {
            let WaitingJoin { joiner, .. } = joins.waiting.remove(at);
            joiner.raise(PeerEvents::NAME_TAKEN, &mut self.metrics);
        }
    }

    /// Refuses all joins that wait, since the room is shut down.
    pub(super) fn refuse_waiting_joins(&mut self) {
        if self.cluster.is_none() {
            return;
        }
        if let Some(joins) = self.joins() {
            joins.renames.clear();
        }
        for joiner in self.take_waiting_joins(|_| true) {
            joiner.raise(PeerEvents::ROOM_CLOSED, &mut self.metrics);
        }
    }

    /// Returns the number of peers that wait to join.
    pub(super) fn waiting_joins(&self) -> usize {
        self.pass_state.as_ref().and_then(|state| state.joins.as_ref()).map_or(0, |joins| joins.len())
    }
}

/// Returns whether a member of this server has a name.
fn has_name(members: &Members, name: UserName) -> bool {
    matches!(find_by_name(members, name), NameMatch::One(..))
}
