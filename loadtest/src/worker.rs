//! One thread of load: its connections, its rooms, one poll and one buffer for all of them.

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
use crate::room::{Room, RoomConfig};
use crate::thread_usage::UsageMeter;

mod joining;
mod leaving;
mod reading;
mod sending;

/// Events taken from the poll at once.
const EVENTS: usize = 1024;
/// How often progress is told, and deadlines are looked at.
const PROGRESS_INTERVAL: Tick = SECOND / 4;
/// The poll's longest sleep.
const MAX_POLL_TIMEOUT: Duration = Duration::from_millis(50);

const WAKE: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

/// What the worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connecting and entering the rooms.
    Joining,
    /// In the rooms, quiet.
    Idle,
    /// Sending lines.
    Sending,
    /// All lines are sent; the last ones arrive.
    Draining,
    /// Going.
    Leaving,
    /// Done.
    Done,
}

/// A worker.
pub(crate) struct Worker<'a> {
    /// What is to be done.
    share: Share,
    /// What is being done.
    phase: Phase,
    /// The connections that are read at once.
    poll: Poll,
    /// The connections that are only read now and then.
    deferred_poll: Poll,
    /// When they are to be read next.
    next_deferred_read: Tick,
    /// Wakes the poll for what time makes due.
    alarm: Alarm,
    /// All connections, room by room; none where it isn't opened yet, or has ended.
    connections: Vec<Option<Connection>>,
    /// The rooms.
    rooms: Vec<Room>,
    /// What every connection is read into.
    buffer: Vec<u8>,
    /// A payload being written.
    payload: Vec<u8>,
    /// The results so far.
    report: WorkerReport,
    /// Measures this thread over the window.
    meter: UsageMeter,
    /// Connections on their way into their rooms.
    joining: usize,
    /// Connections that were opened so far.
    opened: usize,
    /// Connections that have ended.
    ended: usize,
    /// Whether talking ended before its time.
    stopped_early: bool,
    /// Whether the final account is made.
    counters_finished: bool,
    /// When bytes last arrived.
    last_receive: Tick,
    /// When progress was last told.
    last_progress: Tick,
    /// Where talking is.
    sending: sending::SendState,
    /// Rooms in which a line may have come through, so that the next one can be sent.
    ready_rooms: Vec<usize>,
    /// Where events go.
    send_event: &'a dyn Fn(Event),
}

/// Runs one share to its end: from the first connect to the report.
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

impl<'a> Worker<'a> {
    fn new(share: Share, send_event: &'a dyn Fn(Event)) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new()?;
        poll.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
        let plan = &share.plan;
        let first = plan.first_connection(share.rooms.start);
        let room = |number: usize| {
            let start = plan.first_connection(number) - first;
            Room::new(RoomConfig {
                number,
                first: share.plan.first_room,
                connections: start..start + plan.members(number),
                senders: plan.senders.min(plan.members(number)),
                size: plan.size,
                epoch: share.epoch,
                protocol: plan.protocol.protocol(),
                deferred_reads: !plan.read_every.is_zero(),
            })
        };
        let rooms = share.rooms.clone().map(room).collect();
        let connections = (0..share.connections()).map(|_| None).collect();
        Ok(Self {
            phase: Phase::Joining,
            poll,
            deferred_poll: Poll::new()?,
            next_deferred_read: 0,
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
            last_receive: now(),
            last_progress: 0,
            sending: sending::SendState::default(),
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
            let polled = self.poll.poll(&mut events, Some(self.poll_timeout()));
            self.handle_events(&events, polled);
            self.read_deferred(&mut events);
        }
        self.finish_counters();
        (self.send_event)(Event::Finished(Box::new(std::mem::take(&mut self.report))));
    }

    fn poll_timeout(&self) -> Duration {
        let read_every = self.share.plan.read_every;
        if read_every.is_zero() { MAX_POLL_TIMEOUT } else { MAX_POLL_TIMEOUT.min(read_every) }
    }

    fn handle_command(&mut self, commands: &Receiver<Command>) {
        match commands.try_recv() {
            Ok(Command::StartSending(start)) => self.start_sending(start),
            Ok(Command::Leave) | Err(TryRecvError::Disconnected) if self.phase != Phase::Leaving => {
                self.start_leaving();
            }
            _ => {}
        }
    }

    /// Does what time, not the network, makes due.
    fn advance_phase(&mut self) {
        match self.phase {
            Phase::Joining => self.open_connections(),
            Phase::Sending => self.send_due_lines(),
            Phase::Draining => self.check_drained(),
            Phase::Leaving => self.check_left(),
            Phase::Idle | Phase::Done => {}
        }
        let now = now();
        if now >= self.last_progress + PROGRESS_INTERVAL {
            self.last_progress = now;
            let counters = &self.report.metrics.counters;
            (self.send_event)(Event::Progress(WorkerProgress {
                joined: counters.joined,
                sent: self.rooms.iter().map(Room::lines_sent).sum(),
                delivered: counters.delivered,
                p99: self.report.metrics.latency.quantile(0.99),
            }));
        }
    }

    /// Writes down what was owed and what is lost, once: before the first member goes, or at a failure.
    fn finish_counters(&mut self) {
        if !std::mem::replace(&mut self.counters_finished, true) {
            for room in &self.rooms {
                room.add_final_counts(self.stopped_early, &mut self.report.metrics);
            }
        }
    }

    /// Whether nothing has arrived for as long as the plan waits.
    fn timed_out(&self) -> bool {
        now() >= self.last_receive + ticks(self.share.plan.patience)
    }

    /// Gives up, with a line that says why; what was measured is still reported.
    fn fail(&mut self, why: String) {
        self.report.failure.get_or_insert(why);
        self.stop_sending();
        self.phase = Phase::Done;
    }

    /// Cuts talking short, if it is going on: the window closes, and lines that were not written were not sent.
    fn stop_sending(&mut self) {
        if !matches!(self.phase, Phase::Sending | Phase::Draining) {
            return;
        }
        self.stopped_early = true;
        self.meter.stop(&mut self.report.usage);
        self.retract_unwritten_lines();
        let now = now();
        let window = &mut self.report.metrics.window;
        window.1 = window.1.min(now).max(window.0);
        self.report.finished = now;
    }

    /// When the plan stops by itself, measured from the start of talking; `None` when it counts lines.
    fn planned_window(&self) -> Option<Tick> {
        match self.share.plan.stop {
            Stop::After(duration) => Some(ticks(duration)),
            Stop::Lines(_) => None,
        }
    }
}
