//! A worker: one thread with its connections, its rooms, one poll and one read buffer.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock::{Alarm, SECOND, Tick, now, ticks};
use crate::connection::{Connection, READ_BUFFER_BYTES};
use crate::message::{Command, Event, WorkerProgress, WorkerReport};
use crate::plan::{Share, Stop};
use crate::room::{LeaveStep, Room, RoomConfig};
use crate::thread_usage::UsageMeter;
use poll_times::{PollTimes, Stopped};

mod absences;
mod joining;
mod leaving;
mod poll_times;
mod reading;
mod returning;
mod sampling;
mod schedule;
mod sending;
mod slow_reading;

/// The most events taken from a poll at a time.
const EVENTS: usize = 1024;
/// Interval of progress events.
const PROGRESS_INTERVAL: Tick = SECOND / 4;
/// The longest timeout of the poll. A stop of the process is noticed by a poll that exceeds its timeout.
const MAX_POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// The longest time of a phase, as a multiple of the patience. Progress renews the patience, but not this time: a server
/// that advances by one message at a time cannot hold a run for ever.
const MAX_PHASE_PATIENCE: u64 = 60;

const WAKE: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

/// The phases of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Opening connections and joining rooms.
    Joining,
    /// All members have joined; nothing is sent.
    Idle,
    /// Sending lines.
    Sending,
    /// All lines are sent; the last deliveries arrive.
    Draining,
    /// The sending sides are shut down; the server closes the connections.
    Leaving,
    /// The worker has finished.
    Done,
}

/// A worker's state.
pub(crate) struct Worker<'a> {
    /// The worker's part of the plan.
    share: Share,
    /// The current phase.
    phase: Phase,
    /// Polls the connections that are read immediately.
    poll: Poll,
    /// Polls the connections that are read at an interval.
    deferred_poll: Poll,
    /// The tick of the next read of those connections.
    next_deferred_read: Tick,
    /// The tick of the next rotation of the samples.
    next_rotation: Tick,
    /// Wakes the poll at the next planned time.
    alarm: Alarm,
    /// All connections, in the order of their rooms; `None` before the connect and after the close.
    connections: Vec<Option<Connection>>,
    /// The worker's rooms.
    rooms: Vec<Room>,
    /// The buffer into which every connection is read.
    buffer: Vec<u8>,
    /// The payload of the line that is being composed.
    payload: Vec<u8>,
    /// The results so far.
    report: WorkerReport,
    /// Measures this thread's CPU use over the window.
    meter: UsageMeter,
    /// Connections that are opened but have not joined.
    joining: usize,
    /// Connections opened so far.
    opened: usize,
    /// Connections closed so far.
    ended: usize,
    /// Whether sending stopped before its planned end.
    stopped_early: bool,
    /// Whether the final counts of the rooms have been added.
    counters_finished: bool,
    /// The tick of the last progress: a join, a notice of one, a delivery that was missing, or a close that was asked
    /// for. Other bytes are no progress.
    last_progress: Tick,
    /// The tick at which the current phase began.
    phase_start: Tick,
    /// The tick of the last progress event.
    last_progress_event: Tick,
    /// The times of the polls.
    poll_times: PollTimes,
    /// Connections that may have more bytes than one turn reads.
    unread: Vec<usize>,
    /// The state of sending.
    sending: sending::SendState,
    /// The members that have left while lines are sent.
    absences: absences::Absences,
    /// The members that are read slowly now.
    slow_reads: slow_reading::SlowReads,
    /// The current step of leaving.
    leave_step: LeaveStep,
    /// Rooms that have received a line since their window was last filled.
    ready_rooms: Vec<usize>,
    /// Sends an event to the coordinator.
    send_event: &'a dyn Fn(Event),
}

/// Runs one share from the first connect to the report.
pub(crate) fn run_worker(
    share: Share,
    commands: &Receiver<Command>,
    waker: &dyn Fn(Arc<Waker>),
    send_event: &dyn Fn(Event),
) {
    let failed = |error: &io::Error| send_event(Event::failed(&format!("cannot start a worker: {error}")));
    match Worker::new(share, send_event) {
        Ok(mut worker) => match Waker::new(worker.poll.registry(), WAKE) {
            Ok(handle) => {
                waker(Arc::new(handle));
                worker.run(commands);
            }
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

/// Returns whether a poll returned as many events as it can.
fn is_full(events: &Events) -> bool {
    events.iter().count() >= EVENTS
}

/// Returns a room of a share before its members join.
fn new_room(share: &Share, number: usize) -> Room {
    let plan = &share.plan;
    let start = plan.first_connection(number) - plan.first_connection(share.rooms.start);
    Room::new(RoomConfig {
        number,
        first: plan.first_room,
        connections: start..start + plan.members(number),
        senders: plan.senders.min(plan.members(number)),
        size: plan.size.clone(),
        seed: plan.seed,
        epoch: share.epoch,
        protocol: plan.protocol.protocol(),
        deferred_reads: !plan.read_every.is_zero(),
        servers: plan.servers().len(),
        has_total_order: plan.total_order,
        slow_readers: plan.slow_readers,
    })
}

impl<'a> Worker<'a> {
    fn new(share: Share, send_event: &'a dyn Fn(Event)) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new()?;
        poll.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
        let rooms = share.rooms.clone().map(|number| new_room(&share, number)).collect();
        let connections = (0..share.connections()).map(|_| None).collect();
        Ok(Self {
            phase: Phase::Joining,
            poll,
            deferred_poll: Poll::new()?,
            next_deferred_read: 0,
            next_rotation: 0,
            alarm,
            connections,
            rooms,
            buffer: vec![0; READ_BUFFER_BYTES],
            payload: Vec::new(),
            report: WorkerReport::default(),
            meter: UsageMeter::default(),
            joining: 0,
            opened: 0,
            ended: 0,
            stopped_early: false,
            counters_finished: false,
            last_progress: now(),
            phase_start: now(),
            last_progress_event: 0,
            poll_times: PollTimes::default(),
            unread: Vec::new(),
            sending: sending::SendState::default(),
            absences: absences::Absences::default(),
            slow_reads: slow_reading::SlowReads::default(),
            leave_step: LeaveStep::default(),
            ready_rooms: Vec::new(),
            send_event,
            share,
        })
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        self.report.joining = (now(), now());
        let mut events = Events::with_capacity(EVENTS);
        while self.phase != Phase::Done {
            self.handle_command(commands);
            self.advance_phase();
            if self.phase == Phase::Done {
                break;
            }
            let timeout = self.poll_timeout();
            self.poll_times.enter(now());
            let polled = self.poll.poll(&mut events, Some(timeout));
            let is_full = is_full(&events);
            let stop = self.poll_times.leave(now(), timeout, is_full);
            // The server cannot be blamed for what it did not do while this process was stopped.
            self.extend_patience(stop);
            if self.meter.is_running() {
                self.report.usage.stopped += stop.overslept + stop.long_turn;
            }
            self.handle_events(&events, polled);
            self.read_unread();
            // Samples rotate before deferred reads, so that every deferred member was polled at the previous one.
            self.rotate_samples();
            self.read_deferred(&mut events);
            self.read_slow_members();
        }
        self.finish_counters();
        (self.send_event)(Event::Finished(Box::new(std::mem::take(&mut self.report))));
    }

    fn poll_timeout(&self) -> Duration {
        if !self.unread.is_empty() || self.sending.behind {
            return Duration::ZERO;
        }
        let read_every = self.share.plan.read_every;
        if read_every.is_zero() { MAX_POLL_TIMEOUT } else { MAX_POLL_TIMEOUT.min(read_every) }
    }

    fn handle_command(&mut self, commands: &Receiver<Command>) {
        match commands.try_recv() {
            Ok(Command::StartSending(start)) => self.start_sending(start),
            Ok(Command::Leave) | Err(TryRecvError::Disconnected) if self.phase != Phase::Leaving => {
                self.start_leaving();
            }
            Ok(Command::Stop) => {
                self.stop_sending();
                self.phase = Phase::Done;
            }
            _ => {}
        }
    }

    /// Enters a phase, which gets the plan's whole patience.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        (self.last_progress, self.phase_start) = (now(), now());
    }

    /// Runs the part of the current phase that depends on time.
    fn advance_phase(&mut self) {
        match self.phase {
            Phase::Joining => self.open_connections(),
            Phase::Sending | Phase::Draining => self.advance_sending(),
            Phase::Leaving => self.check_left(),
            Phase::Idle | Phase::Done => {}
        }
        let now = now();
        if now >= self.last_progress_event + PROGRESS_INTERVAL {
            self.last_progress_event = now;
            let sent = self.rooms.iter().map(Room::lines_sent).sum();
            (self.send_event)(Event::Progress(WorkerProgress::new(&self.report.metrics, sent, now)));
        }
    }

    /// Takes the steps of members that leave and come back, then sends lines or waits for the last deliveries.
    fn advance_sending(&mut self) {
        self.advance_departures();
        match self.phase {
            Phase::Sending => self.send_due_lines(),
            Phase::Draining => self.check_drained(),
            // A member that did not come back has ended the run.
            _ => {}
        }
    }

    /// Adds the final counts of all rooms once: before the first member leaves, or at a failure.
    fn finish_counters(&mut self) {
        if !std::mem::replace(&mut self.counters_finished, true) {
            for room in &mut self.rooms {
                room.add_final_counts(self.stopped_early, &mut self.report.metrics);
            }
        }
    }

    /// Returns whether there was no progress for the plan's patience, or the phase has lasted too long.
    fn timed_out(&self) -> bool {
        let patience = ticks(self.share.plan.patience);
        let now = now();
        now >= self.last_progress.saturating_add(patience)
            // The plan itself ends the phase of sending.
            || (self.phase != Phase::Sending
                && now >= self.phase_start.saturating_add(patience.saturating_mul(MAX_PHASE_PATIENCE)))
    }

    /// Moves the end of the patience by a time in which the worker was stopped. The end of the phase moves only where a
    /// poll overslept: a server that makes each turn long must not hold a phase for ever.
    fn extend_patience(&mut self, stop: Stopped) {
        self.last_progress += stop.overslept + stop.long_turn;
        self.absences.stopped += stop.overslept + stop.long_turn;
        self.phase_start += stop.overslept;
    }

    /// Ends the measurement of the window's CPU use. A stop in the turn that ends it belongs to it.
    fn stop_meter(&mut self) {
        if self.meter.is_running() {
            self.report.usage.stopped += self.poll_times.long_turn(now());
        }
        self.meter.stop(&mut self.report.usage);
    }

    /// Ends the run with a failure. Its measurements are still reported.
    fn fail(&mut self, why: String) {
        self.report.failure.get_or_insert(why);
        self.stop_sending();
        self.phase = Phase::Done;
    }

    /// Stops sending early: closes the window and subtracts the lines that were not written.
    fn stop_sending(&mut self) {
        if !matches!(self.phase, Phase::Sending | Phase::Draining) {
            return;
        }
        self.stopped_early = true;
        self.stop_meter();
        self.retract_unwritten_lines();
        let now = now();
        let window = &mut self.report.metrics.window;
        window.1 = window.1.min(now).max(window.0);
        self.report.finished = now;
    }

    /// Returns the length of the measured window; `None` where the plan stops after a number of lines.
    fn planned_window(&self) -> Option<Tick> {
        match self.share.plan.stop {
            Stop::After(duration) => Some(ticks(duration)),
            Stop::Lines(_) => None,
        }
    }
}
