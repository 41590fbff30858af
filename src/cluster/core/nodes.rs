//! The other servers: alive, suspect or dead, and what follows from it.
//!
//! Clocks run only while this server hears its own heartbeats, so that one that is cut off takes nobody for dead.

use crate::cluster::core::{Channel, Core, Effect, Event};
use crate::cluster::frame::{Head, Origin};
use crate::room::remote::RemoteChange;
use crate::text::names::{NodeName, RoomName};
use std::collections::{BTreeMap, BTreeSet};

/// The time between heartbeats, in milliseconds.
pub(super) const HEARTBEAT: u64 = 1_000;

/// A server that was not heard for so long is suspect, and asked for an answer.
const SUSPECT_AFTER: u64 = 2_000;

/// A server that was not heard for so long is dead, as its silence says nothing else.
const DEAD_AFTER: u64 = 5_000;

/// The log is out of reach when it keeps a frame for so long: NATS servers that have lost the one which leads it may take 9 s to
/// elect another one.
const LOG_LATE_AFTER: u64 = 12_000;

/// The time between pings of a suspect.
const PING_PAUSE: u64 = 500;

/// The pings that nobody received after which a suspect is dead.
const FAILED_PINGS: u8 = 2;

/// The time after which frames of a dead server may come from an earlier start, as its clock says.
const FORGOTTEN_AFTER: u64 = 15_000;

/// How far the clock of another server may be ahead.
const MAX_AHEAD: u64 = 24 * 60 * 60 * 1_000;

/// The time between two records of another process with this server's name.
const NAME_SHARED_PAUSE: u64 = 60_000;

/// The most servers that are remembered.
const MAX_NODES: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    Suspect { failed_pings: u8, failed_at: u64 },
    Dead,
}

/// Another server.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    heard: u64,
    state: State,
    /// The time of the last ping.
    pinged_at: u64,
    /// The time of the last word that the server was taken for dead.
    told_at: u64,
    /// The rooms in which joins wait for an answer of the server.
    checks: BTreeSet<RoomName>,
    /// The members of its rooms.
    pub(super) rooms: BTreeMap<RoomName, u32>,
    /// The number of the last counts; `None` before the first ones.
    pub(super) counts_number: Option<u64>,
    /// When its counts were asked for.
    pub(super) counts_asked_at: u64,
}

impl Node {
    /// Returns true if a frame of the server came at this time or later, or the server is dead.
    pub(super) fn was_heard_since(&self, time: u64) -> bool {
        self.heard >= time || self.state == State::Dead
    }

    /// Returns true unless the server is dead.
    pub(super) fn is_alive(&self) -> bool {
        self.state != State::Dead
    }
}

/// Returns true if a server is known and not dead.
pub(super) fn is_alive(nodes: &BTreeMap<NodeName, Node>, name: &NodeName) -> bool {
    nodes.get(name).is_some_and(Node::is_alive)
}

/// Whether this server hears its own heartbeats.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Hearing {
    heard: u64,
    /// True once a heartbeat was heard.
    has_heard: bool,
    is_deaf: bool,
    /// True once the rooms were told that they are this server's alone.
    is_alone: bool,
    /// True while the connection that carries rooms is down: heartbeats alone are no reach.
    is_data_down: bool,
    /// The time of the last record that another process has this server's name.
    name_shared_at: u64,
}

impl Hearing {
    pub(super) fn new(now: u64) -> Self {
        Self { heard: now, has_heard: false, is_deaf: false, is_alone: false, is_data_down: false, name_shared_at: 0 }
    }

    /// Returns true if clocks of other servers run.
    fn is_good(self) -> bool {
        self.has_heard && !self.is_deaf
    }
}

impl Core {
    /// Returns the servers that are alive.
    pub(super) fn alive_nodes(&self) -> BTreeSet<NodeName> {
        self.nodes.iter().filter(|(_, node)| node.is_alive()).map(|(name, _)| *name).collect()
    }

    /// Returns true if another server is alive and in reach.
    pub(crate) fn has_other_nodes(&self) -> bool {
        self.is_in_reach() && self.nodes.values().any(Node::is_alive)
    }

    /// Records that a frame of an origin has come. Returns false if the frame is to be dropped.
    pub(super) fn observe(&mut self, origin: &Origin) -> bool {
        let now = self.now;
        if origin.node == self.origin.node {
            self.observe_own_name(origin);
            return false;
        }
        if origin.boot > now.saturating_add(MAX_AHEAD) {
            self.counts.malformed += 1;
            return false;
        }
        let Some(node) = self.nodes.get_mut(&origin.node) else { return self.add_node(origin) };
        // A machine's clock may have gone back between two starts of its server.
        let is_forgotten = node.state == State::Dead && now.saturating_sub(node.heard) > FORGOTTEN_AFTER;
        if *origin < node.origin && !(is_forgotten && origin.boot != node.origin.boot) {
            self.counts.stale += 1;
            return false;
        }
        if node.state == State::Dead && *origin == node.origin {
            self.counts.stale += 1;
            if now.saturating_sub(node.told_at) >= HEARTBEAT {
                node.told_at = now;
                self.send_control(Channel::All, Head::TakenForDead(*origin));
            }
            return false;
        }
        let (was_dead, before) = (node.state == State::Dead, node.origin);
        (node.origin, node.heard, node.state) = (*origin, now, State::Alive);
        let checks = std::mem::take(&mut node.checks);
        if before.boot != origin.boot {
            (node.counts_number, node.rooms) = (None, BTreeMap::new());
            self.forget_streams(origin.node);
        } else if before.epoch != origin.epoch {
            self.want_snapshots(origin.node);
        }
        if was_dead {
            self.log(Event::NodeUp(origin.node));
        }
        self.resolve_checks(origin.node, checks);
        true
    }

    fn observe_own_name(&mut self, origin: &Origin) {
        if origin.boot == self.origin.boot {
            if self.hearing.is_data_down {
                return;
            }
            self.hearing.heard = self.now;
            self.hearing.has_heard = true;
            if self.hearing.is_deaf {
                self.log(Event::Hears);
                self.renew();
            }
        } else if self.now.saturating_sub(self.hearing.name_shared_at) >= NAME_SHARED_PAUSE {
            self.hearing.name_shared_at = self.now;
            self.log(Event::NameShared(origin.node));
        }
    }

    fn add_node(&mut self, origin: &Origin) -> bool {
        if self.nodes.len() >= MAX_NODES {
            let dead = self.nodes.iter().filter(|(_, node)| node.state == State::Dead);
            let Some((oldest, _)) = dead.min_by_key(|(_, node)| node.heard) else {
                self.counts.malformed += 1;
                return false;
            };
            let oldest = *oldest;
            self.forget_streams(oldest);
            self.nodes.remove(&oldest);
        }
        let node = Node {
            origin: *origin,
            heard: self.now,
            state: State::Alive,
            pinged_at: 0,
            told_at: 0,
            checks: BTreeSet::new(),
            rooms: BTreeMap::new(),
            counts_number: None,
            counts_asked_at: 0,
        };
        self.nodes.insert(origin.node, node);
        self.log(Event::NodeUp(origin.node));
        true
    }

    /// Begins a new epoch: frames that are under way from before are stale. All servers' clocks begin anew, and all rooms
    /// are compared.
    pub(crate) fn renew(&mut self) {
        self.origin.epoch += 1;
        let now = self.now;
        (self.hearing.is_deaf, self.hearing.heard) = (false, now);
        self.nodes.values_mut().for_each(|node| node.heard = now);
        if self.is_shared() {
            self.hearing.is_alone = false;
            self.compare_rooms();
        }
        self.send_heartbeat();
    }

    /// Follows the connection that carries rooms.
    pub(crate) fn set_data_down(&mut self, is_down: bool) {
        if std::mem::replace(&mut self.hearing.is_data_down, is_down) && !is_down {
            self.renew();
        }
    }

    /// Takes time in which this process did not run out of all clocks.
    pub(super) fn skip_pause(&mut self) {
        let pause = self.now.saturating_sub(std::mem::replace(&mut self.last_tick, self.now));
        if pause >= HEARTBEAT {
            self.hearing.heard += pause;
            self.log.skip_pause(pause);
            self.nodes.values_mut().for_each(|node| node.heard += pause);
        }
    }

    /// Follows an own heartbeat that does not come back.
    pub(super) fn check_hearing(&mut self) {
        let silent = self.now.saturating_sub(self.hearing.heard);
        if !self.hearing.has_heard {
            return;
        }
        if !self.hearing.is_deaf && silent > SUSPECT_AFTER {
            self.hearing.is_deaf = true;
            self.log(Event::Deaf);
            // A join that waits for another server waits in vain.
            let names: Vec<NodeName> = self.nodes.keys().copied().collect();
            for node in names {
                self.end_checks(node);
            }
        }
        let is_out_of_reach = (self.hearing.is_deaf && silent > DEAD_AFTER) || self.is_log_late(LOG_LATE_AFTER);
        if is_out_of_reach && !self.hearing.is_alone {
            self.hearing.is_alone = true;
            self.log(Event::Alone);
            self.leave_log();
            self.withdraw_remote_members();
        }
    }

    /// Follows servers that are silent.
    pub(super) fn check_nodes(&mut self) {
        if !self.hearing.is_good() {
            return;
        }
        let now = self.now;
        let (mut dead, mut suspects) = (Vec::new(), Vec::new());
        for (name, node) in &mut self.nodes {
            let silent = now.saturating_sub(node.heard);
            match node.state {
                State::Dead => {}
                _ if silent >= DEAD_AFTER => dead.push(*name),
                State::Suspect { failed_pings: FAILED_PINGS.., .. } => dead.push(*name),
                State::Suspect { .. } => suspects.push(*name),
                State::Alive if silent > SUSPECT_AFTER => {
                    node.state = State::Suspect { failed_pings: 0, failed_at: 0 };
                    suspects.push(*name);
                }
                State::Alive => {}
            }
        }
        for name in suspects {
            self.ping(name);
        }
        for name in dead {
            self.log(Event::NodeDead(name));
            self.end_node(name);
        }
    }

    /// Records that nobody received a ping.
    pub(crate) fn on_ping_failed(&mut self, node: NodeName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&node) else { return };
        // A server that was heard a moment ago connects again.
        let is_silent = now.saturating_sub(node.heard) > SUSPECT_AFTER;
        node.state = match node.state {
            State::Suspect { failed_pings, failed_at } if is_silent && now.saturating_sub(failed_at) >= PING_PAUSE => {
                State::Suspect { failed_pings: failed_pings.saturating_add(1), failed_at: now }
            }
            other => other,
        };
    }

    /// Asks a server for an answer, unless it was asked a moment ago.
    pub(super) fn ping(&mut self, name: NodeName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&name) else { return };
        if now.saturating_sub(node.pinged_at) >= PING_PAUSE {
            node.pinged_at = now;
            self.effects.push(Effect::Ping(name));
        }
    }

    /// Returns true if this server receives its own heartbeats, and rooms are shared.
    pub(super) fn is_in_reach(&self) -> bool {
        self.hears_itself() && self.is_shared()
    }

    /// Returns true if this server receives its own heartbeats.
    pub(super) fn hears_itself(&self) -> bool {
        self.hearing.is_good()
    }

    /// Returns true if a server is known, alive or not, or is from now on.
    pub(super) fn admit_origin(&mut self, origin: &Origin) -> bool {
        if origin.boot > self.now.saturating_add(MAX_AHEAD) {
            self.counts.malformed += 1;
            return false;
        }
        self.nodes.contains_key(&origin.node) || self.add_node(origin)
    }

    /// Ends a server that is dead or has stopped: its members leave.
    pub(super) fn end_node(&mut self, name: NodeName) {
        if let Some(node) = self.nodes.get_mut(&name) {
            node.state = State::Dead;
            node.told_at = self.now;
            (node.rooms, node.counts_number) = (BTreeMap::new(), None);
        }
        self.remove_members_of(name);
        self.end_checks(name);
    }

    /// Asks whether a server still answers, for a room in which joins wait for that.
    pub(crate) fn check_node(&mut self, room: RoomName, name: NodeName) {
        let can_ask = self.is_in_reach();
        match self.nodes.get_mut(&name) {
            Some(node) if node.is_alive() && can_ask => {
                node.checks.insert(room);
                self.ping(name);
            }
            _ => self.resolve_checks(name, BTreeSet::from([room])),
        }
    }

    fn end_checks(&mut self, name: NodeName) {
        let checks = self.nodes.get_mut(&name).map(|node| std::mem::take(&mut node.checks)).unwrap_or_default();
        self.resolve_checks(name, checks);
    }

    fn resolve_checks(&mut self, name: NodeName, rooms: BTreeSet<RoomName>) {
        for room in rooms {
            self.update_room(room, vec![RemoteChange::NodeChecked(name)]);
        }
    }
}
