//! A batch: the lines and membership changes of one pass, gathered from the inbox and then committed.

use crate::limits::memory::MemoryCharge;
use crate::metrics::counters::MetricsDelta;
use crate::peer::PeerId;
use crate::peer::events::PeerEvents;
use crate::peer::line_batch::{BatchOffset, EncodedBatch};
use crate::peer::line_numbers::LineNumbers;
use crate::room::Room;
use crate::room::batch_cluster::BatchCluster;
use crate::room::fair_queue::FairQueue;
use crate::room::fanout::{Fanout, PartialDeliveries};
use crate::room::history::HistoryOffset;
use crate::room::inbox::Inbox;
use crate::room::line_runs::{LineKind, LineRuns};
use crate::room::membership_charges::MembershipCharges;
use crate::room::operation::{Operation, Requester};
use crate::room::pass_state::PassState;
use crate::room::replay::Replay;
use crate::room::replies::DeferredReplies;
use crate::room::roster::{Members, Roster};
use crate::text::names::UserName;
use crate::text::time::Minute;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// The lines of one pass, and the members after it.
///
/// A batch is gathered while the batch before it is delivered, so that a joiner gets its first lines
/// without waiting for a pass through thousands of members.
pub(crate) struct Batch {
    /// The members before the batch. They get all of it, but for those in `left`.
    pub(super) members_before: Arc<Members>,
    /// A changed copy, made at the first change: **one copy for the whole batch**.
    pub(super) members_after: Option<Members>,
    /// All lines, end to end.
    pub(super) bytes: Vec<u8>,
    pub(super) end: BatchOffset,
    /// The minute in which the batch's first operation was gathered: all lines are said in it.
    minute: Minute,
    /// The peers that get a part of the lines.
    pub(super) partials: PartialDeliveries,
    /// The number of partial deliveries that [`Batch::deliver_to_joiners`] has visited.
    pub(super) joiners_visited: usize,
    /// The index in `partials` of each peer that joined in the batch and is still a member.
    pub(super) joined_at: HashMap<PeerId, usize>,
    /// The members before the batch that left in it.
    pub(super) left: HashSet<PeerId>,
    /// The peers that were renamed in the batch, with the name that each has after it.
    pub(super) renamed: HashMap<PeerId, UserName>,
    /// The state after the batch before, of which replies may still be sent.
    pub(super) pass_state: Option<Box<PassState>>,
    /// The earlier lines for joiners, the batch's own included; made for the first joiner. Boxed: most batches have none.
    pub(super) replay: Option<Box<Replay>>,
    /// The time at which the batch's first lines were gathered.
    pub(super) now: Option<Instant>,
    /// The lines of heavy senders, in bytes: a member that reads slowly loses them first.
    pub(super) heavy: Vec<Range<usize>>,
    /// The kinds of the lines since the room was last empty: earlier ones are no history.
    pub(super) line_runs: LineRuns,
    /// The replies that follow the batch.
    pub(super) replies: DeferredReplies,
    /// True once the room is shut down.
    pub(super) closed: bool,
    /// True if the batch holds a shutdown, which the next batch applies: the replies to this one come before the notice.
    pub(super) shutdown_requested: bool,
    /// The number of operations in the batch, which the inbox still counts.
    operations: usize,
    /// The bytes of members' lines in the batch, which the inbox still counts.
    pub(super) inbox_bytes: usize,
    /// The lines of blocked senders that the batch has no capacity for; `None` if no sender is blocked.
    pub(super) blocked: Option<Box<FairQueue>>,
    /// The senders whose blocked lines the batch has taken, and which are not told yet.
    pub(super) ready_senders: Vec<Requester>,
    /// The blocked lines that were dropped, and which the inbox still counts.
    pub(super) dropped_blocked: usize,
    /// The lines that were dropped because the room is shut down.
    pub(super) dropped_lines: u32,
    /// True if an earlier batch holds the shutdown, which waits until no lines are blocked: the room takes no more lines.
    pub(super) awaits_shutdown: bool,
    /// The joins, leaves and renames that pay for the batch's deliveries.
    pub(super) charges: MembershipCharges,
    /// The exchange with other servers; `None` on a server of its own.
    pub(super) cluster: Option<Box<BatchCluster>>,
    /// The memory of the lines.
    memory: MemoryCharge,
    pub(super) metrics: MetricsDelta,
}

/// The state that a batch hands on to the next one.
#[derive(Default)]
pub(crate) struct CarriedState {
    /// True if the room is shut down.
    pub(crate) closed: bool,
    /// True if the next batch begins with the shutdown, whose operation it takes over.
    pub(crate) shutdown_requested: bool,
    /// The lines of blocked senders.
    pub(crate) blocked: Option<Box<FairQueue>>,
    /// The state after the batch.
    pub(crate) pass_state: Option<Box<PassState>>,
}

/// A batch to which no operation is added any more.
pub(crate) struct CommittedBatch {
    /// The lines, and the part of them that each peer gets.
    pub(crate) fanout: Fanout,
    /// The number of operations that are complete with the batch, and which the inbox still counts.
    pub(crate) operations: usize,
    /// The state with which the next batch begins.
    pub(crate) carried: CarriedState,
    /// The time at which the batch's first lines of members were gathered; `None` if it has none.
    pub(crate) first_lines_at: Option<Instant>,
    /// The work done so far.
    pub(crate) metrics: MetricsDelta,
    /// The joins, leaves and renames that pay for the deliveries.
    pub(crate) charges: MembershipCharges,
    /// The replies that follow the batch.
    pub(crate) replies: DeferredReplies,
}

impl Batch {
    /// Creates the batch after one that is committed, or the first batch of a room that was quiet. A shutdown that the
    /// batch before holds is taken over: it is applied by [`Batch::apply_shutdown`] once no lines are blocked.
    pub(crate) fn new(room: &Room, carried: CarriedState) -> Self {
        let CarriedState { closed, shutdown_requested, blocked, pass_state } = carried;
        Self {
            members_before: room.roster().snapshot(),
            members_after: None,
            bytes: Vec::new(),
            end: BatchOffset::default(),
            minute: Minute::default(),
            partials: PartialDeliveries::default(),
            joiners_visited: 0,
            joined_at: HashMap::new(),
            left: HashSet::new(),
            renamed: HashMap::new(),
            pass_state,
            replay: None,
            now: None,
            heavy: Vec::new(),
            line_runs: LineRuns::default(),
            replies: Vec::new(),
            closed,
            shutdown_requested,
            operations: usize::from(shutdown_requested),
            inbox_bytes: 0,
            blocked,
            ready_senders: Vec::new(),
            dropped_blocked: 0,
            dropped_lines: 0,
            awaits_shutdown: shutdown_requested,
            charges: MembershipCharges::default(),
            cluster: room.link.as_ref().map(|link| Box::new(BatchCluster::new(room.name(), link))),
            memory: room.charge_memory(0),
            metrics: MetricsDelta { passes: 1, ..MetricsDelta::default() },
        }
    }

    /// Returns the number of operations that wait in the inbox, which also counts this batch's operations, those of
    /// blocked senders, and the `incomplete` operations of the batch before it.
    pub(crate) fn waiting_operations(&self, inbox: &Inbox, incomplete: usize) -> usize {
        inbox.pending() - incomplete - self.operations - self.blocked_operations()
    }

    /// Applies an operation that was taken from the inbox, or queues it where it has to wait for the turn of blocked
    /// lines.
    pub(crate) fn apply_or_queue(&mut self, operation: Operation) {
        if let Some(operation) = self.queue_blocked(operation) {
            self.begin_operation();
            self.apply(operation);
        }
    }

    /// Counts an operation that is applied next.
    pub(super) fn begin_operation(&mut self) {
        self.start_minute();
        self.operations += 1;
    }

    /// Takes the time of the batch's lines, unless it is taken.
    pub(super) fn start_minute(&mut self) {
        if self.minute == Minute::default() {
            self.minute = Minute::now();
        }
    }

    /// Returns true if the room takes no member's lines any more: it is shut down, or waits for that.
    pub(super) fn takes_no_lines(&self) -> bool {
        self.closed || self.awaits_shutdown
    }

    /// Charges the memory of the lines so far.
    pub(crate) fn charge_memory(&mut self) {
        self.memory.set(self.bytes.len());
    }

    /// Returns true if the batch holds no operation and no sender is blocked.
    pub(crate) fn is_empty(&self) -> bool {
        self.operations == 0 && self.blocked.is_none()
    }

    /// Delivers to joiners the lines that are theirs so far. Visits at most `most` partial deliveries, so
    /// that a crowd of joiners does not delay the members that wait for the batch before.
    ///
    /// No other pass of this room writes to a joiner before this batch is committed.
    pub(crate) fn deliver_to_joiners(&mut self, most: usize) {
        let until = self.partials.0.len().min(self.joiners_visited + most);
        let parts = self.partials.0[self.joiners_visited..until].iter_mut();
        for part in parts.filter(|part| part.then_raise.contains(PeerEvents::JOINED)) {
            let to = part.to.unwrap_or(self.end);
            let replay = self.replay.as_mut().zip(part.replay_end.take());
            let mut lines = replay.map(|(replay, end)| replay.lines_before(end)).unwrap_or_default();
            let own = &self.bytes[part.from.bytes..to.bytes];
            lines.push(self.minute, to.lines - part.from.lines, |out| out.extend_from_slice(own));
            part.peer.deliver_batch(&lines.into_batch(), &mut self.metrics);
            part.peer.raise(part.then_raise.in_slot(part.slot), &mut self.metrics);
            (part.from, part.then_raise) = (to, PeerEvents::NONE);
        }
        self.joiners_visited = until;
    }

    /// Publishes the members after the batch in the roster, gives the inbox its capacity back, and raises
    /// `INBOX_READY` for the senders whose blocked lines the batch has.
    pub(crate) fn commit(mut self, roster: &Roster, inbox: &Inbox) -> CommittedBatch {
        inbox.release_bytes(self.inbox_bytes);
        inbox.drop_blocked(self.dropped_blocked);
        self.metrics.lines += self.end.lines;
        let mut numbers = None;
        if let Some(state) = self.pass_state.as_mut() {
            state.whisperers.follow(&self.left, &self.renamed);
            if let Some(history) = state.history.as_mut() {
                if history.numbers_lines() {
                    let talk = self.line_runs.after(0).filter(|part| part.kind == LineKind::Talk);
                    let talk = talk.map(|part| part.lines).collect();
                    numbers = Some(LineNumbers::new(history.numbering(), history.next_id(), talk));
                }
                history.push(self.minute, &self.bytes, &self.line_runs);
            }
        }
        if let Some(members) = self.members_after.take() {
            inbox.set_members(members.len());
            roster.replace(members);
        }
        self.raise_inbox_ready();
        self.charge_memory();
        let bytes = Bytes::from(mem::take(&mut self.bytes));
        self.commit_to_cluster(&bytes, roster.is_empty());
        let members = (self.members_before, self.left);
        let lines = EncodedBatch::said_in(self.minute, bytes, self.end.lines);
        let lines = lines.with_high_precedence(&self.heavy).with_numbers(numbers);
        // A closed room has one line, the notice.
        let lines = if self.closed { lines.into_last() } else { lines };
        let fanout = Fanout::new((lines, self.end), self.partials, members, (self.replay, self.memory));
        let Self { closed, shutdown_requested, metrics, pass_state, replies, blocked, charges, .. } = self;
        let operations = self.operations - usize::from(shutdown_requested);
        let carried = CarriedState { closed, shutdown_requested, blocked, pass_state };
        CommittedBatch { fanout, operations, carried, first_lines_at: self.now, metrics, charges, replies }
    }

    /// Returns the place where the batch keeps the state of passes.
    pub(crate) fn pass_state(&mut self) -> &mut Option<Box<PassState>> {
        &mut self.pass_state
    }

    /// Returns the members before the batch.
    pub(super) fn members_before(&self) -> &Members {
        &self.members_before
    }

    /// Returns the members as the operations of the batch so far have left them.
    pub(super) fn members_now(&self) -> &Members {
        self.members_after.as_ref().unwrap_or(&self.members_before)
    }

    /// Removes all members at the beginning of the batch, and returns them.
    pub(super) fn remove_all_members(&mut self) -> Arc<Members> {
        self.members_after = Some(Members::default());
        Arc::clone(&self.members_before)
    }

    /// Returns the members to change, which are copied at the first change of the batch.
    pub(super) fn members_mut(&mut self) -> &mut Members {
        self.members_after.get_or_insert_with(|| {
            self.metrics.copies += 1;
            self.metrics.entries_copied += self.members_before.len() as u64;
            Members::clone(&self.members_before)
        })
    }

    /// Extends the replay to the end of the batch and returns the place there; `None` if the room replays no
    /// line.
    pub(super) fn extend_replay(&mut self) -> Option<HistoryOffset> {
        match self.pass_state.as_deref_mut() {
            Some(PassState { history: Some(history), replay, .. }) if *replay > 0 => {
                let replay = self.replay.get_or_insert_with(|| Box::new(Replay::new(history, *replay)));
                Some(replay.extend(self.minute, &self.bytes, &self.line_runs))
            }
            _ => None,
        }
    }

    /// Forgets all lines, for the room's last member has left: a peer that joins before the room is removed
    /// is shown no line of before.
    pub(super) fn reset_history(&mut self) {
        if let Some(history) = self.pass_state.as_mut().and_then(|state| state.history.as_mut()) {
            history.clear();
        }
        self.line_runs.restart(self.bytes.len());
        self.replay = None;
        // The replay is gone, and so are the peers that it was for.
        self.partials.0.iter_mut().for_each(|part| part.replay_end = None);
    }
}
