//! One server's stream of changes of one room, as another server follows it.
//!
//! A stream is followed from a position on: what lies before is a duplicate, and a hole is told with its exact number of
//! lines. Where joins and leaves are missing, frames are held until a snapshot has come.

use crate::cluster::core::lines::{CheckedLines, check_lines};
use crate::cluster::frame::{Item, Member, Position};
use crate::config::ClusterOrder;
use crate::room::remote::RemoteChange;
use crate::text::messages::missing_notice;
use crate::text::names::{NodeName, UserName};
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};

/// The most bytes of frames that are held until a snapshot comes.
const MAX_HELD: usize = 256 << 10;

/// The most members of one server in one room that are believed.
const MAX_MEMBERS: usize = 200_000;

/// A frame's changes.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub(super) stream: u64,
    pub(super) from: Position,
    pub(super) items: Vec<Item>,
    pub(super) raw: Bytes,
}

/// A snapshot that has come as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) stream: u64,
    pub(super) at: Position,
    pub(super) members: Vec<Member>,
    pub(super) claims: Vec<UserName>,
}

/// Whether the members of the stream are known.
#[derive(Debug)]
enum Sync {
    /// The members are known, at the position.
    Known,
    /// The members are not known: a snapshot is wanted.
    Wanted { held: VecDeque<Changes>, held_bytes: usize, asked_at: u64, tries: u32 },
}

/// The stream of one server in one room, as far as it has come.
#[derive(Debug)]
pub(super) struct OriginRoom {
    node: NodeName,
    boot: u64,
    /// The number of the stream; 0: the room is not open there.
    stream: u64,
    /// Frames of streams before this one are late.
    oldest_stream: u64,
    at: Position,
    members: HashMap<UserName, u64>,
    /// The names that the server has claimed in the log, and has neither got nor given up.
    claims: HashSet<UserName>,
    sync: Sync,
    /// When a frame of the stream was heard last.
    pub(super) heard: u64,
    /// True until the members are known for the first time: those that were there before are no news.
    is_first: bool,
    /// True while the room of this server has none of the members, because no server can be reached.
    is_withdrawn: bool,
    /// The parts of a snapshot that have come.
    partial: Option<Snapshot>,
}

/// The changes for a room that come of a stream, and the lines that were counted on the way.
pub(super) struct Output {
    pub(super) changes: Vec<RemoteChange>,
    pub(super) missing: u64,
    pub(super) rejected: u64,
    /// The longest line of another server.
    max_line: usize,
    /// True if frames come from a log, in the order in which they are to be shown.
    is_ordered: bool,
}

impl Output {
    pub(super) fn new(max_line: usize, order: ClusterOrder) -> Self {
        let is_ordered = order == ClusterOrder::Total;
        Self { changes: Vec::new(), missing: 0, rejected: 0, max_line, is_ordered }
    }
}

impl OriginRoom {
    pub(super) fn new(node: NodeName, boot: u64, now: u64) -> Self {
        Self {
            node,
            boot,
            stream: 0,
            oldest_stream: 0,
            at: Position::default(),
            members: HashMap::new(),
            claims: HashSet::new(),
            sync: Sync::Wanted { held: VecDeque::new(), held_bytes: 0, asked_at: now, tries: 0 },
            heard: now,
            is_first: true,
            is_withdrawn: false,
            partial: None,
        }
    }

    /// Returns the members and since when each has its name.
    pub(super) fn members(&self) -> &HashMap<UserName, u64> {
        &self.members
    }

    /// Returns true if a member has a name, or the server has claimed it.
    pub(super) fn wants_name(&self, name: &UserName) -> bool {
        self.members.contains_key(name) || self.claims.contains(name)
    }

    /// Returns true if the members are known.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.sync, Sync::Known)
    }

    /// Returns true if a snapshot should be asked for now, and counts the try: at once, and then less and less often.
    pub(super) fn wants_to_ask(&mut self, now: u64) -> bool {
        let Sync::Wanted { asked_at, tries, .. } = &mut self.sync else { return false };
        let pause = if *tries == 0 { 0 } else { (200_u64 << (*tries).min(5)).min(5_000) };
        let is_due = now.saturating_sub(*asked_at) >= pause;
        if is_due {
            *asked_at = now;
            *tries = tries.saturating_add(1);
        }
        is_due
    }

    /// Wants a snapshot from now on, unless it does.
    pub(super) fn want_snapshot(&mut self, now: u64) {
        if self.is_known() {
            self.sync = Sync::Wanted { held: VecDeque::new(), held_bytes: 0, asked_at: now, tries: 0 };
        }
        self.partial = None;
    }

    /// Follows changes of a stream.
    pub(super) fn on_changes(&mut self, boot: u64, changes: Changes, output: &mut Output, now: u64) {
        let stream = changes.stream;
        self.heard = now;
        // A log may be read a second time: what an earlier process said there was handled before.
        let is_of_earlier_process = output.is_ordered && boot < self.boot;
        if is_of_earlier_process || (boot == self.boot && stream < self.oldest_stream) {
            return;
        }
        if (boot, stream) != (self.boot, self.stream) {
            if changes.from != Position::default() {
                self.want_snapshot(now);
                return self.hold(boot, changes, output);
            }
            self.begin_stream(boot, stream, output);
        }
        match self.sync {
            Sync::Known => self.apply(changes, output, now),
            Sync::Wanted { .. } => self.hold(boot, changes, output),
        }
    }

    /// Begins a stream of which nothing is missing: the members of the one before are gone.
    fn begin_stream(&mut self, boot: u64, stream: u64, output: &mut Output) {
        if let Sync::Wanted { held, .. } = &mut self.sync {
            let held = std::mem::take(held);
            self.deliver_held(held, &HashMap::new(), output);
        }
        self.replace_members(HashMap::new(), output, true);
        (self.boot, self.stream, self.at) = (boot, stream, Position::default());
        self.oldest_stream = stream;
        (self.sync, self.partial) = (Sync::Known, None);
    }

    /// Holds changes until the snapshot comes. Beyond the bound the oldest ones are dropped, and told when it comes. Lines
    /// from a log are delivered at once: later ones of other servers must not overtake them.
    fn hold(&mut self, boot: u64, changes: Changes, output: &mut Output) {
        if output.is_ordered {
            if boot != self.boot {
                self.boot = boot;
                self.follow_stream(changes.stream, changes.from);
            }
            return self.deliver_held([changes].into(), &HashMap::new(), output);
        }
        if let Sync::Wanted { held, held_bytes, .. } = &mut self.sync {
            *held_bytes += held_cost(&changes);
            held.push_back(changes);
            while *held_bytes > MAX_HELD
                && let Some(dropped) = held.pop_front()
            {
                *held_bytes -= held_cost(&dropped);
            }
        }
    }

    /// Applies changes of which the members before are known.
    fn apply(&mut self, changes: Changes, output: &mut Output, now: u64) {
        if changes.from.total() < self.at.total() {
            return;
        }
        self.tell_missing(changes.from.lines, output);
        if changes.from.changes != self.at.changes {
            self.at.lines = changes.from.lines;
            self.want_snapshot(now);
            return self.hold(self.boot, changes, output);
        }
        self.at = changes.from;
        let mut rest = changes.raw;
        for item in &changes.items {
            self.at = self.at.after(item);
            self.apply_item(item, &mut rest, output);
        }
    }

    fn apply_item(&mut self, item: &Item, rest: &mut Bytes, output: &mut Output) {
        match *item {
            Item::Lines { bytes, lines } => {
                let raw = rest.split_to((bytes as usize).min(rest.len()));
                let members = &self.members;
                deliver(self.node, (&raw, lines), output, |name| members.contains_key(name));
            }
            Item::Joined(Member { name, since }) => {
                self.claims.remove(&name);
                if self.members.len() < MAX_MEMBERS && self.members.insert(name, since).is_none() {
                    output.changes.push(RemoteChange::Joined(self.node, name));
                }
            }
            Item::Left(name) => {
                if let Some((own, _)) = self.members.remove_entry(&name) {
                    output.changes.push(RemoteChange::Left(self.node, own));
                }
            }
            Item::Renamed(from, Member { name, since }) => {
                self.claims.remove(&name);
                if let Some((own, _)) = self.members.remove_entry(&from) {
                    self.members.insert(name, since);
                    output.changes.push(RemoteChange::Renamed(self.node, own, name));
                }
            }
            Item::Claimed(_) | Item::Unclaimed(_) => self.follow_claim(item),
        }
    }

    /// Follows the names that are claimed. The names of members that are not known yet are taken for claimed ones, until the
    /// snapshot comes.
    fn follow_claim(&mut self, item: &Item) {
        let (gone, new) = match item {
            Item::Lines { .. } => return,
            Item::Claimed(name) | Item::Joined(Member { name, .. }) => (None, Some(name)),
            Item::Left(name) | Item::Unclaimed(name) => (Some(name), None),
            Item::Renamed(from, Member { name, .. }) => (Some(from), Some(name)),
        };
        if let Some(name) = gone {
            self.claims.remove(name);
        }
        if let Some(name) = new.filter(|_| self.claims.len() < MAX_MEMBERS) {
            self.claims.insert(*name);
        }
    }

    /// Follows a place after which the sender has said nothing.
    pub(super) fn on_tail(&mut self, (boot, stream): (u64, u64), at: Position, output: &mut Output, now: u64) {
        self.heard = now;
        if boot == self.boot && stream < self.oldest_stream {
            return;
        }
        if (boot, stream) != (self.boot, self.stream) || (self.is_known() && at.changes != self.at.changes) {
            self.want_snapshot(now);
        } else if self.is_known() {
            self.tell_missing(at.lines, output);
            self.at.lines = at.lines.max(self.at.lines);
        }
    }

    /// Takes a part of a snapshot, and the whole when the last part comes. Returns true if the members are known then.
    pub(super) fn on_snapshot(
        &mut self,
        boot: u64,
        (part, is_first, is_last): (Snapshot, bool, bool),
        output: &mut Output,
        now: u64,
    ) -> bool {
        self.heard = now;
        if is_first {
            self.partial = Some(part);
        } else if let Some(partial) = &mut self.partial
            && (partial.stream, partial.at) == (part.stream, part.at)
            && partial.members.len() < MAX_MEMBERS
        {
            partial.members.extend(part.members);
        }
        if let Some(whole) = self.partial.take_if(|_| is_last) {
            self.apply_snapshot(boot, whole, output, now);
        }
        self.is_known()
    }

    /// Follows that the room is not open on the server, and that its streams up to `stream` are over. Returns true if the
    /// members are known then.
    pub(super) fn on_closed(&mut self, (boot, stream): (u64, u64), output: &mut Output, now: u64) -> bool {
        self.heard = now;
        let is_held =
            |stream| matches!(&self.sync, Sync::Wanted { held, .. } if held.iter().any(|held| held.stream > stream));
        if boot == self.boot && (stream < self.stream || is_held(stream)) {
            // The room was opened again, and this frame is late.
            return self.is_known();
        }
        if let Sync::Wanted { held, .. } = std::mem::replace(&mut self.sync, Sync::Known) {
            self.deliver_held(held, &HashMap::new(), output);
        }
        self.oldest_stream = stream.saturating_add(1).max(self.oldest_stream);
        (self.boot, self.stream, self.at, self.partial) = (boot, 0, Position::default(), None);
        self.replace_members(HashMap::new(), output, !self.is_first);
        true
    }

    fn apply_snapshot(&mut self, boot: u64, snapshot: Snapshot, output: &mut Output, now: u64) {
        let Snapshot { stream, at, members, claims } = snapshot;
        let is_same_stream = (boot, stream) == (self.boot, self.stream);
        let is_late = boot == self.boot && stream < self.oldest_stream;
        if is_late || (is_same_stream && at.total() < self.at.total()) {
            return;
        }
        let held = match std::mem::replace(&mut self.sync, Sync::Known) {
            Sync::Known => VecDeque::new(),
            Sync::Wanted { held, .. } => held,
        };
        let (before, after): (VecDeque<Changes>, VecDeque<Changes>) =
            held.into_iter().partition(|held| held.stream != stream || held.from.total() < at.total());
        let members: HashMap<UserName, u64> = members.into_iter().map(|member| (member.name, member.since)).collect();
        self.deliver_held(before, &members, output);
        self.oldest_stream = stream;
        if (self.boot, self.stream) != (boot, stream) {
            self.follow_stream(stream, at);
        }
        self.tell_missing(at.lines, output);
        (self.boot, self.stream, self.at) = (boot, stream, at);
        self.replace_members(members, output, !self.is_first);
        self.claims = claims.into_iter().take(MAX_MEMBERS).collect();
        for changes in after {
            match self.sync {
                Sync::Known => self.apply(changes, output, now),
                Sync::Wanted { .. } => self.hold(boot, changes, output),
            }
        }
    }

    /// Follows another stream, of which this place is known. Where the one before was followed, all lines up to there are
    /// missing; otherwise they may have been said before this server opened the room.
    fn follow_stream(&mut self, stream: u64, at: Position) {
        self.stream = stream;
        self.at = if self.is_first { at } else { Position::default() };
    }

    /// Delivers the lines of frames that a snapshot includes. The members before and after them may have said them, and
    /// those that one of the frames names: a member that has left meanwhile is in no snapshot.
    fn deliver_held(&mut self, held: VecDeque<Changes>, after: &HashMap<UserName, u64>, output: &mut Output) {
        let named: HashSet<UserName> =
            held.iter().flat_map(|changes| changes.items.iter().flat_map(names)).flatten().collect();
        for Changes { stream, from, items, raw } in held {
            if stream != self.stream {
                self.follow_stream(stream, from);
            }
            if from.lines < self.at.lines {
                continue;
            }
            self.tell_missing(from.lines, output);
            self.at.lines = from.lines;
            let mut rest = raw;
            for item in &items {
                self.at.lines = self.at.after(item).lines;
                if output.is_ordered {
                    self.follow_claim(item);
                }
                if let Item::Lines { bytes, lines } = item {
                    let raw = rest.split_to((*bytes as usize).min(rest.len()));
                    let before = &self.members;
                    let is_ordered = output.is_ordered;
                    deliver(self.node, (&raw, *lines), output, |name| {
                        is_ordered || before.contains_key(name) || after.contains_key(name) || named.contains(name)
                    });
                }
            }
        }
    }

    /// Tells that the lines up to `lines` are missing.
    fn tell_missing(&self, lines: u64, output: &mut Output) {
        let missing = lines.saturating_sub(self.at.lines);
        if missing > 0 {
            output.missing = output.missing.saturating_add(missing);
            output.changes.push(RemoteChange::Notice(missing_notice(missing, &self.node)));
        }
    }

    /// Replaces the members, and tells the room the difference: new members with a line each if they are `announced`.
    fn replace_members(&mut self, members: HashMap<UserName, u64>, output: &mut Output, announced: bool) {
        let (node, is_withdrawn) = (self.node, self.is_withdrawn);
        self.claims.clear();
        let before = std::mem::replace(&mut self.members, members);
        let gone = before.keys().filter(|name| !self.members.contains_key(*name));
        output.changes.extend(sorted(gone).map(|name| RemoteChange::Left(node, name)));
        let (kept, new): (Vec<&UserName>, Vec<&UserName>) =
            self.members.keys().partition(|name| before.contains_key(*name));
        let kept = kept.into_iter().filter(|_| is_withdrawn);
        output.changes.extend(sorted(kept).map(|name| RemoteChange::Added(node, name)));
        let arrive = if announced { RemoteChange::Joined } else { RemoteChange::Added };
        output.changes.extend(sorted(new.into_iter()).map(|name| arrive(node, name)));
        self.is_withdrawn = false;
        self.is_first = false;
    }

    /// Removes all members, with a line each: their server is gone.
    pub(super) fn remove_members(&mut self, output: &mut Output, now: u64) {
        self.replace_members(HashMap::new(), output, true);
        self.want_snapshot(now);
    }

    /// Takes the members out of the room without a line, since no server can be reached. They are compared with those of
    /// the next snapshot.
    pub(super) fn withdraw(&mut self, output: &mut Output, now: u64) {
        if !self.is_withdrawn {
            output.changes.extend(sorted(self.members.keys()).map(|name| RemoteChange::Removed(self.node, name)));
        }
        self.is_withdrawn = true;
        self.want_snapshot(now);
    }
}

/// Checks lines and appends those that stand the check.
fn deliver(node: NodeName, (raw, lines): (&Bytes, u32), output: &mut Output, is_member: impl Fn(&UserName) -> bool) {
    let CheckedLines { bytes, lines: good, rejected } = check_lines(raw, output.max_line, is_member);
    // A frame that claims more lines than it has is no reason to tell more than that.
    let rejected = u64::from(rejected.min(lines.saturating_sub(good)).max(u32::from(rejected > 0)));
    if rejected > 0 {
        output.rejected = output.rejected.saturating_add(rejected);
        output.changes.push(RemoteChange::Notice(missing_notice(rejected, &node)));
    }
    if good > 0 {
        output.changes.push(RemoteChange::Lines { node, bytes, lines: good });
    }
}

/// Returns the names in an item.
fn names(item: &Item) -> [Option<UserName>; 2] {
    match item {
        Item::Lines { .. } | Item::Claimed(_) | Item::Unclaimed(_) => [None, None],
        Item::Joined(member) => [Some(member.name), None],
        Item::Left(name) => [Some(*name), None],
        Item::Renamed(from, to) => [Some(*from), Some(to.name)],
    }
}

/// Returns the bytes that held changes count for.
fn held_cost(changes: &Changes) -> usize {
    size_of::<Changes>() + changes.raw.len() + changes.items.len() * size_of::<Item>()
}

fn sorted<'a>(names: impl Iterator<Item = &'a UserName>) -> impl Iterator<Item = UserName> {
    let mut names: Vec<UserName> = names.copied().collect();
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.into_iter()
}
