//! One order: what this server does in a room goes to the log of the room, and happens when it comes back from there.
//!
//! ```text
//! line, leave      ─► log ─► every server, this one included, shows it
//! join, rename     ─► log (claim) ─► this server: is the name free in the log? ─► log (join, rename) ─► every server
//! ```
//!
//! While the log is out of reach, rooms are this server's alone, and nothing waits. Other servers are told of the hole.

use crate::cluster::core::Core;
use crate::cluster::core::nodes::is_alive;
use crate::cluster::core::origin_room::Changes;
use crate::cluster::core::outgoing::{Body, Waiting};
use crate::cluster::frame::{Head, Item, Member, Origin, Position};
use crate::config::ClusterOrder;
use crate::room::remote::{RemoteChange, RemoteUpdate};
use crate::text::messages::missing_notice;
use crate::text::names::{RoomName, UserName};
use bytes::Bytes;
use std::collections::HashMap;

/// A name that this server has claimed in a room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// A peer wants to join with it.
    Join,
    /// The member of this name wants it.
    Rename(UserName),
}

/// The changes of this server in one room, as far as they have happened here.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    /// The place up to which changes have come back from the log, or were shown without it.
    pub(super) at: Position,
    pub(super) claims: HashMap<UserName, Claim>,
}

impl Core {
    /// Returns true if rooms are shared with other servers, as far as the log is concerned.
    pub(super) fn is_shared(&self) -> bool {
        self.order == ClusterOrder::Sender || self.log.is_shared
    }

    /// Returns true while members of this server have to wait for the log.
    pub(crate) fn is_ordered(&self) -> bool {
        self.order == ClusterOrder::Total && self.log.is_shared
    }

    /// Shares the rooms once the log is in reach.
    pub(super) fn join_log(&mut self) {
        let is_wanted = self.order == ClusterOrder::Total && !self.log.is_shared;
        if is_wanted && self.hears_itself() && self.log.is_there && !self.is_log_late(0) {
            self.log.is_shared = true;
            self.renew();
        }
    }

    /// Makes the rooms this server's alone, since the log is out of reach: what waited for it happens now. Lines that the log
    /// may have got are not shown: they would come before lines that are earlier in the log.
    pub(super) fn leave_log(&mut self) {
        if std::mem::take(&mut self.log.is_shared) {
            if !self.log.is_ending {
                self.show_pending(true);
            }
            self.counts.dropped_lines += self.log.clear_waiting();
            self.complete_appended();
        }
    }

    /// Lets everything happen that waits for the log, since the server stops. Other servers get it from the log.
    pub(crate) fn end_waiting(&mut self) {
        let was_ending = std::mem::replace(&mut self.log.is_ending, true);
        if self.is_ordered() && !was_ending {
            self.show_pending(false);
        }
    }

    fn show_pending(&mut self, loses_given: bool) {
        for room in self.rooms.keys().copied().collect::<Vec<_>>() {
            self.flush_held_back(room);
        }
        for (Waiting { body, .. }, was_given) in self.log.pending() {
            if let Body::Changes { of, changes, is_shown: false, .. } = body
                && self.stream_of(of.room) == Some(of.stream)
            {
                for (item, raw) in changes {
                    match item {
                        Item::Lines { lines, .. } if was_given && loses_given => self.tell_own_missing(of.room, lines),
                        Item::Claimed(_) => {}
                        _ => self.show_own(of.room, &item, raw),
                    }
                }
            }
        }
        for room in self.rooms.keys().copied().collect::<Vec<_>>() {
            let claims = self.rooms.get_mut(&room).map(|open| std::mem::take(&mut open.own.claims)).unwrap_or_default();
            for (name, claim) in claims {
                if self.has_left(room, claim) {
                    self.refuse(room, name, claim);
                } else {
                    self.grant(room, name, claim, true);
                }
            }
            if let Some(open) = self.rooms.get_mut(&room) {
                open.own.at = open.at;
            }
        }
    }

    /// Claims a name for a peer of this server.
    pub(super) fn claim(&mut self, room: RoomName, name: UserName, claim: Claim) {
        if let Claim::Rename(from) = claim
            && from == name
        {
            return self.grant(room, name, claim, false);
        }
        let Some(open) = self.rooms.get_mut(&room) else { return };
        match (open.own.claims.get(&name), claim) {
            // One decision serves all peers that wait with a name.
            (Some(Claim::Join), Claim::Join) => return,
            (None, _) if !open.has_member(&name) => {}
            _ => return self.refuse(room, name, claim),
        }
        open.own.claims.insert(name, claim);
        if self.log.is_shared {
            self.push_item(room, Item::Claimed(name), Bytes::new(), false);
        } else {
            self.decide_claim(room, name);
        }
    }

    /// Decides a claim of this server that has come back from the log: it is granted unless another server has the name, or
    /// has claimed it before.
    fn decide_claim(&mut self, room: RoomName, name: UserName) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let Some(claim) = open.own.claims.remove(&name) else { return };
        let nodes = &self.nodes;
        let is_taken = self.log.is_shared
            && open.origins.iter().any(|(node, origin)| is_alive(nodes, node) && origin.wants_name(&name));
        if is_taken || self.has_left(room, claim) {
            self.push_item(room, Item::Unclaimed(name), Bytes::new(), false);
            self.refuse(room, name, claim);
        } else {
            self.grant(room, name, claim, false);
        }
    }

    /// Returns true if the member that wanted another name has left.
    fn has_left(&self, room: RoomName, claim: Claim) -> bool {
        let is_member = |from| self.rooms.get(&room).is_some_and(|open| open.has_member(from));
        matches!(&claim, Claim::Rename(from) if !is_member(from))
    }

    fn grant(&mut self, room: RoomName, name: UserName, claim: Claim, is_shown: bool) {
        let member = Member { name, since: self.now };
        let item = match claim {
            Claim::Join => {
                self.change_own_members(room, None, Some(member));
                Item::Joined(member)
            }
            Claim::Rename(from) => {
                self.change_own_members(room, Some(from), Some(member));
                Item::Renamed(from, member)
            }
        };
        if is_shown {
            self.show_own(room, &item, Bytes::new());
        }
        self.push_item(room, item, Bytes::new(), is_shown);
        self.check_name(room, name);
    }

    fn refuse(&mut self, room: RoomName, name: UserName, claim: Claim) {
        let change = match claim {
            Claim::Join => RemoteChange::JoinDecided(name, false),
            Claim::Rename(from) => RemoteChange::RenameDecided(from, name, false),
        };
        self.update_own(room, change);
    }

    /// Lets a change of this server happen in its room.
    pub(super) fn show_own(&mut self, room: RoomName, item: &Item, raw: Bytes) {
        let change = match *item {
            Item::Lines { lines, .. } => RemoteChange::Lines { node: self.origin.node, bytes: raw, lines },
            Item::Joined(Member { name, .. }) => RemoteChange::JoinDecided(name, true),
            Item::Left(name) => RemoteChange::Departed(name),
            Item::Renamed(from, Member { name, .. }) => RemoteChange::RenameDecided(from, name, true),
            Item::Claimed(name) => return self.decide_claim(room, name),
            Item::Unclaimed(_) => return,
        };
        self.update_own(room, change);
    }

    fn update_own(&mut self, room: RoomName, change: RemoteChange) {
        if self.log.is_shared && !self.log.is_ending {
            return self.update_room(room, vec![change]);
        }
        // A comparison that waits for the end of a split holds nothing of this server back.
        self.send_update(room, RemoteUpdate(vec![change]));
    }

    /// Records that the changes of this server up to a place have happened in its room.
    pub(super) fn end_own_changes(&mut self, room: RoomName, at: Position) {
        if let Some(open) = self.rooms.get_mut(&room) {
            open.own.at = at;
        }
    }

    /// Tells the members of this server that lines of theirs are lost.
    pub(super) fn tell_own_missing(&mut self, room: RoomName, lines: u32) {
        self.counts.dropped_lines += u64::from(lines);
        self.update_own(room, RemoteChange::Notice(missing_notice(u64::from(lines), &self.origin.node)));
    }

    /// Follows a frame of the log of a room.
    pub(super) fn on_log_frame(&mut self, room: RoomName, origin: &Origin, head: Head, raw: Bytes, bytes: &Bytes) {
        let (node, boot) = (origin.node, origin.boot);
        let is_of_room = matches!(&head, Head::Changes { of, .. } | Head::Snapshot { of, .. } | Head::Closed { of } if of.room == room);
        if !is_of_room {
            self.counts.malformed += 1;
            return;
        }
        if node == self.origin.node {
            if boot == self.origin.boot {
                self.on_own_frame(head, raw, bytes);
            }
            return;
        }
        match head {
            // The log is the order: lines of an epoch that is over are as good as any.
            Head::Changes { of, from, items, .. } if self.admit_origin(origin) => {
                self.note_live(of.room, (node, boot, of.stream), from);
                let changes = Changes { stream: of.stream, from, items, raw };
                self.follow(of.room, (node, boot), |room, output, now| room.on_changes(boot, changes, output, now));
                if !is_alive(&self.nodes, &node) {
                    self.remove_members_in(of.room, node);
                }
            }
            Head::Snapshot { .. } | Head::Closed { .. } if self.observe(origin) => self.on_head(*origin, head, raw),
            _ => {}
        }
    }

    fn on_own_frame(&mut self, head: Head, mut raw: Bytes, bytes: &Bytes) {
        let (Head::Changes { of, .. } | Head::Snapshot { of, .. } | Head::Closed { of }) = &head else { return };
        // A frame that is none of those that were given to the log is a forgery, or comes a second time.
        if !self.log.on_returned(of.room, bytes) {
            return;
        }
        let Head::Changes { of, from, items, is_shown } = head else { return };
        if !self.rooms.get(&of.room).is_some_and(|open| open.is_at(of.stream, from)) {
            return;
        }
        let mut at = from;
        for item in &items {
            at = at.after(item);
            let length = if let Item::Lines { bytes, .. } = item { *bytes as usize } else { 0 };
            let lines = raw.split_to(length.min(raw.len()));
            if !is_shown {
                self.show_own(of.room, item, lines);
            }
        }
        self.end_own_changes(of.room, at);
    }
}
