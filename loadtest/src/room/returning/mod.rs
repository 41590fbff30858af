//! Members that leave the room and come back while lines are sent.
//!
//! A member that comes back receives the room's order from its own join on. Its position is the number of lines that another
//! member received before the notice of that join. The bytes that arrive before another member has shown the position are
//! kept, and then compared with the log like all others. A member that is alone in its room continues the log.

use std::collections::VecDeque;

use super::Room;
use super::stays::{LostNotices, Stays};
use crate::cursor::{Cursor, MemberState, Owed, Unlocated};
use crate::metrics::Metrics;

mod locating;
#[cfg(test)]
mod tests;

/// The members of a room that leave and come back.
#[derive(Debug)]
pub(super) struct Returns {
    /// The notices of their joins and leaves.
    pub(super) stays: Stays,
    /// Members that have joined and whose position is not known yet.
    unlocated: Vec<usize>,
    /// Members whose position has become known, with the bytes that they have received before.
    located: VecDeque<(usize, Unlocated)>,
    /// The member that is joining while no other member is in the room.
    first: Option<usize>,
    /// Members that send their join request when that one has joined: only then the order of their joins is known.
    waiting: Vec<usize>,
    /// Whether the run has stopped early. Notices are not judged any more.
    pub(super) is_stopped: bool,
}

impl Returns {
    /// Removes a member without a connection from those that are joining and from those without a position.
    pub(super) fn forget(&mut self, member: usize) {
        self.unlocated.retain(|other| *other != member);
        self.waiting.retain(|other| *other != member);
        self.first = self.first.filter(|first| *first != member);
    }
}

impl Room {
    /// Starts the phase in which members leave and come back. All members have joined, or their connections have ended.
    pub(crate) fn start_departures(&mut self) {
        let mut stays = Stays::new(self.cursors.len());
        let left = |member: &usize| self.cursors[*member].state == MemberState::Left;
        (0..self.cursors.len()).filter(left).for_each(|member| stays.cancel_return(member, true));
        self.orders.iter_mut().for_each(|order| order.log.build_index());
        let (unlocated, located, waiting) = (Vec::new(), VecDeque::new(), Vec::new());
        self.returns = Some(Box::new(Returns { stays, unlocated, located, first: None, waiting, is_stopped: false }));
    }

    /// Records that a member is about to shut its sending side down. It still has to receive what other members have received
    /// up to now, because the server ordered that before the leave.
    pub(crate) fn start_departure(&mut self, member: usize) {
        self.owe(member, self.order(member).logged.clone());
    }

    /// Records that a member's connection is cut. It had to receive every line that was sent before.
    pub(crate) fn cut(&mut self, member: usize, metrics: &mut Metrics) {
        self.owe(member, self.sent.clone());
        self.end_stay(member, metrics);
    }

    fn owe(&mut self, member: usize, lines: Vec<u32>) {
        let Some(returns) = &mut self.returns else { return };
        self.cursors[member].owed = Some(Box::new(Owed { lines, notices: returns.stays.end() }));
        returns.stays.start_leave(member);
    }

    /// Returns whether a member has no connection, and all that it received has been checked.
    pub(crate) fn is_away(&self, member: usize) -> bool {
        self.cursors[member].state == MemberState::Left
    }

    /// Records that the connection of a leaving member has ended. Its lines are counted when its position is known.
    pub(crate) fn end_stay(&mut self, member: usize, metrics: &mut Metrics) {
        if self.cursors[member].unlocated.is_some() {
            self.cursors[member].ended = true;
        } else {
            self.finish_stay(member, metrics);
        }
    }

    /// Counts what a member had to receive in its stay, and what it did not receive.
    fn finish_stay(&mut self, member: usize, metrics: &mut Metrics) {
        let expected = self.expected_in_stay(member);
        let cursor = &mut self.cursors[member];
        let delivered = std::mem::take(&mut cursor.delivered);
        let (skipped, told) = (std::mem::take(&mut cursor.skipped), std::mem::take(&mut cursor.told));
        let end = cursor.owed.take().map_or(0, |owed| owed.notices);
        cursor.ended = false;
        let lost = self.returns.as_mut().map_or(LostNotices::default(), |returns| returns.stays.end_stay(member, end));
        // A gap may be told to a member that came back after it, so that more lines may be told than are missing.
        let missing = expected.saturating_sub(delivered).saturating_sub(told);
        let counters = &mut metrics.counters;
        counters.expected += expected;
        counters.lost += missing;
        // Lines from before the join, as the other members show it, stand at another place of the order.
        counters.add_misplaced_in_room(delivered.saturating_sub(expected));
        counters.untrue_skips += skipped.saturating_sub(missing + lost.joins + lost.leaves);
        add_lost_notices(lost, metrics);
        self.discard_pending(member);
        let cursor = &mut self.cursors[member];
        (cursor.state, cursor.partial, cursor.divergence) = (MemberState::Left, Vec::new(), None);
        self.order_mut(member).outside_members += 1;
        self.recompute_floor(self.order_number(member));
    }

    /// Returns the number of lines of a stay that is over: those up to the last one that the member received or had to
    /// receive.
    fn expected_in_stay(&self, member: usize) -> u64 {
        let cursor = &self.cursors[member];
        let mut next = self.expected_sequences(member, cursor.line);
        let received = cursor.divergence.as_ref().map(|divergence| &divergence.next);
        for more in received.into_iter().chain(cursor.owed.as_ref().map(|owed| &owed.lines)) {
            next.iter_mut().zip(more).for_each(|(next, more)| *next = (*next).max(*more));
        }
        next.into_iter().map(u64::from).sum::<u64>().saturating_sub(cursor.base)
    }

    /// Prepares a member for its next connection. The log keeps all lines from now on for it.
    pub(crate) fn prepare_return(&mut self, member: usize) {
        let order = self.order_number(member);
        let (log, cursor) = (&self.orders[order].log, &mut self.cursors[member]);
        (cursor.line, cursor.at) = (log.lines(), log.end());
        (cursor.state, cursor.unlocated) = (MemberState::Joining, Some(Box::default()));
        cursor.refusal_pending = false;
        if let Some(returns) = &mut self.returns {
            returns.stays.start_return(member);
        }
        self.recompute_floor(order);
    }

    /// Records that a connection ended before its member was in the room.
    pub(crate) fn cancel_return(&mut self, member: usize) {
        let was_refused = self.cursors[member].unlocated.as_ref().is_some_and(|unlocated| unlocated.refused);
        if let Some(returns) = &mut self.returns {
            returns.stays.cancel_return(member, was_refused);
        }
        self.reset_return(member);
    }

    /// Ends the return of a member, which has no position.
    fn reset_return(&mut self, member: usize) {
        let cursor = &mut self.cursors[member];
        (cursor.state, cursor.unlocated, cursor.partial) = (MemberState::Left, None, Vec::new());
        cursor.refusal_pending = false;
        if let Some(returns) = &mut self.returns {
            returns.forget(member);
        }
        self.recompute_floor(self.order_number(member));
    }

    /// Returns whether a member may send its join request now. Otherwise it has to wait for [`Self::take_join_requests`]:
    /// the room is empty, and another member is joining first.
    pub(crate) fn request_join(&mut self, member: usize) -> bool {
        let is_empty = self.has_no_located_member();
        let Some(returns) = &mut self.returns else { return true };
        if is_empty && returns.first.is_some_and(|first| first != member) {
            returns.waiting.push(member);
            return false;
        }
        returns.first = is_empty.then_some(member);
        returns.stays.on_join_request(member);
        true
    }

    /// Returns the waiting members that may send their join requests now.
    pub(crate) fn take_join_requests(&mut self) -> Vec<usize> {
        let is_empty = self.has_no_located_member();
        let Some(returns) = self.returns.as_mut().filter(|returns| !returns.waiting.is_empty()) else {
            return Vec::new();
        };
        let released = match (is_empty, returns.first) {
            (true, Some(_)) => Vec::new(),
            (true, None) => vec![returns.waiting.remove(0)],
            (false, _) => std::mem::take(&mut returns.waiting),
        };
        returns.first = is_empty.then(|| returns.first.or(released.first().copied())).flatten();
        for member in &released {
            returns.stays.on_join_request(*member);
        }
        released
    }

    fn has_no_located_member(&self) -> bool {
        self.orders.iter().all(|order| order.located_members() == 0)
    }

    /// Returns whether every member knows of every join and leave, and every position is known.
    pub(super) fn returns_are_complete(&self) -> bool {
        let Some(returns) = &self.returns else { return true };
        let inside = |member: &usize| self.cursors[*member].state == MemberState::Joined;
        returns.unlocated.is_empty() && returns.stays.is_complete((0..self.cursors.len()).filter(inside))
    }

    /// Ends a stay whose position no other member has shown. The missing notices are counted where they are missing.
    pub(crate) fn give_up(&mut self, member: usize) {
        let Some(returns) = &mut self.returns else { return };
        returns.stays.abandon_stay(member);
        let cursor = &mut self.cursors[member];
        (cursor.owed, cursor.ended) = (None, false);
        self.reset_return(member);
    }

    /// Ends the phase in which members leave and come back, and counts the notices that are lost unless the run stopped
    /// early. Returns their number.
    pub(super) fn finish_departures(&mut self, stopped_early: bool, metrics: &mut Metrics) -> u64 {
        let is_unlocated = |member: &usize| self.cursors[*member].unlocated.is_some();
        let unlocated: Vec<usize> = (0..self.cursors.len()).filter(is_unlocated).collect();
        if let Some(returns) = self.returns.as_mut().filter(|_| stopped_early) {
            metrics.counters.untrue_notices += returns.stays.count_untrue_leaves();
            // Notices of returns are in transit, and those of the last leaves follow them.
            returns.is_stopped = true;
            for member in unlocated {
                self.give_up(member);
            }
            return 0;
        }
        let Some(mut returns) = self.returns.take() else { return 0 };
        metrics.counters.untrue_notices += returns.stays.count_untrue_leaves();
        returns.stays.append_unannounced();
        let is_located = |cursor: &Cursor| cursor.state == MemberState::Joined && cursor.unlocated.is_none();
        let mut count = 0;
        for (member, _) in self.cursors.iter().enumerate().filter(|(_, cursor)| is_located(cursor)) {
            let lost = returns.stays.count_lost(member, returns.stays.end());
            count += lost.joins + lost.leaves;
            add_lost_notices(lost, metrics);
        }
        for member in unlocated {
            self.locate_at_end(member);
        }
        count
    }

    /// Locates a member after the last line, where no other member has shown its position: it still has to receive the leave
    /// notices of the others.
    fn locate_at_end(&mut self, member: usize) {
        let (log, base) = (&self.order(member).log, self.lines_sent());
        let (line, at) = (log.lines(), log.end());
        let cursor = &mut self.cursors[member];
        if cursor.state != MemberState::Joined {
            return;
        }
        (cursor.line, cursor.at, cursor.base, cursor.unlocated) = (line, at, base, None);
        self.order_mut(member).outside_members -= 1;
    }
}

fn add_lost_notices(lost: LostNotices, metrics: &mut Metrics) {
    metrics.counters.join_notices_expected += lost.joins;
    metrics.counters.leave_notices_expected += lost.leaves;
    metrics.counters.leave_notices_lost += lost.leaves;
}
