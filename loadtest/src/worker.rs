//! One thread of load: its connections, its rooms, one poll and one buffer for all of them.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock::{Alarm, SECOND, Tick, now, ticks};
use crate::connection::Connection;
use crate::message::{Command, Event, WorkerProgress, WorkerReport};
use crate::plan::{Share, Stop};
use crate::room::{Room, Setup};
use crate::thread_usage::Meter;

mod joining;
mod leaving;
mod reading;
mod talking;

pub(crate) use talking::HELD_BACK;

/// Bytes of the one buffer that all connections are read into.
const BUFFER: usize = 256 * 1024;
/// Events taken from the poll at once.
const EVENTS: usize = 1024;
/// How often progress is told, and deadlines are looked at.
const TELL: Tick = SECOND / 4;
/// The poll's longest sleep.
const NAP: Duration = Duration::from_millis(50);

const WAKE: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

/// What the worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connecting and entering the rooms.
    Joining,
    /// In the rooms, quiet.
    Waiting,
    /// Sending lines.
    Talking,
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
    lazy: Poll,
    /// When they are to be read next.
    lazy_at: Tick,
    /// Wakes the poll for what time makes due.
    alarm: Alarm,
    /// All connections, room by room; none where it isn't opened yet, or has ended.
    connections: Vec<Option<Connection>>,
    /// The rooms.
    rooms: Vec<Room>,
    /// What every connection is read into.
    buffer: Vec<u8>,
    /// A payload being written.
    text: Vec<u8>,
    /// The results so far.
    report: WorkerReport,
    /// Measures this thread over the window.
    meter: Meter,
    /// Connections on their way into their rooms.
    underway: usize,
    /// Connections that were opened so far.
    opened: usize,
    /// Connections that have ended.
    ended: usize,
    /// Whether talking ended before its time.
    cut_short: bool,
    /// Whether the final account is made.
    accounted: bool,
    /// When bytes last arrived.
    heard: Tick,
    /// When progress was last told.
    told: Tick,
    /// Where talking is.
    talk: talking::Talk,
    /// Rooms in which a line may have come through, so that the next one can be sent.
    ready_rooms: Vec<usize>,
    /// Where events go.
    tell: &'a dyn Fn(Event),
}

/// Runs one share to its end: from the first connect to the report.
pub(crate) fn run_worker(share: Share, commands: &Receiver<Command>, waker: &dyn Fn(Arc<Waker>), tell: &dyn Fn(Event)) {
    let failed = |error: &io::Error| {
        let failure = Some(format!("cannot start a worker: {error}"));
        tell(Event::Finished(Box::new(WorkerReport { failure, ..WorkerReport::default() })));
    };
    match Worker::new(share, tell) {
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
    fn new(share: Share, tell: &'a dyn Fn(Event)) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new()?;
        poll.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
        let plan = &share.plan;
        let first = plan.first_connection(share.rooms.start);
        let room = |number: usize| {
            let start = plan.first_connection(number) - first;
            Room::new(Setup {
                number,
                first: share.plan.first_room,
                connections: start..start + plan.members(number),
                senders: plan.senders.min(plan.members(number)),
                size: plan.size,
                epoch: share.epoch,
                protocol: plan.protocol.protocol(),
                lazy: !plan.read_every.is_zero(),
            })
        };
        let rooms = share.rooms.clone().map(room).collect();
        let connections = (0..share.connections()).map(|_| None).collect();
        Ok(Self {
            phase: Phase::Joining,
            poll,
            lazy: Poll::new()?,
            lazy_at: 0,
            alarm,
            connections,
            rooms,
            buffer: vec![0; BUFFER],
            text: Vec::new(),
            report: WorkerReport::default(),
            meter: Meter::default(),
            underway: 0,
            opened: 0,
            ended: 0,
            cut_short: false,
            accounted: false,
            heard: now(),
            told: 0,
            talk: talking::Talk::default(),
            ready_rooms: Vec::new(),
            tell,
            share,
        })
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        self.report.joining = (now(), now());
        let mut events = Events::with_capacity(EVENTS);
        while self.phase != Phase::Done {
            self.obey(commands);
            self.step();
            if self.phase == Phase::Done {
                break;
            }
            let polled = self.poll.poll(&mut events, Some(self.nap()));
            self.serve(&events, polled);
            self.read_the_lazy(&mut events);
        }
        self.account();
        (self.tell)(Event::Finished(Box::new(std::mem::take(&mut self.report))));
    }

    fn nap(&self) -> Duration {
        let read_every = self.share.plan.read_every;
        if read_every.is_zero() { NAP } else { NAP.min(read_every) }
    }

    fn obey(&mut self, commands: &Receiver<Command>) {
        match commands.try_recv() {
            Ok(Command::StartSending(start)) => self.begin_talking(start),
            Ok(Command::Leave) | Err(TryRecvError::Disconnected) if self.phase != Phase::Leaving => {
                self.begin_leaving();
            }
            _ => {}
        }
    }

    /// Does what time, not the network, makes due.
    fn step(&mut self) {
        match self.phase {
            Phase::Joining => self.join_more(),
            Phase::Talking => self.say_what_is_due(),
            Phase::Draining => self.look_whether_drained(),
            Phase::Leaving => self.look_whether_left(),
            Phase::Waiting | Phase::Done => {}
        }
        let now = now();
        if now >= self.told + TELL {
            self.told = now;
            let counters = &self.report.metrics.counters;
            (self.tell)(Event::Progress(WorkerProgress {
                joined: counters.joined,
                sent: self.rooms.iter().map(Room::lines_sent).sum(),
                delivered: counters.delivered,
                p99: self.report.metrics.latency.quantile(0.99),
            }));
        }
    }

    /// Writes down what was owed and what is lost, once: before the first member goes, or at a failure.
    fn account(&mut self) {
        if !std::mem::replace(&mut self.accounted, true) {
            for room in &self.rooms {
                room.account(self.cut_short, &mut self.report.metrics);
            }
        }
    }

    /// Whether nothing has arrived for as long as the plan waits.
    fn out_of_patience(&self) -> bool {
        now() >= self.heard + ticks(self.share.plan.patience)
    }

    /// Gives up, with a line that says why; what was measured is still reported.
    fn fail(&mut self, why: String) {
        self.report.failure.get_or_insert(why);
        self.stop_talking();
        self.phase = Phase::Done;
    }

    /// Cuts talking short, if it is going on: the window closes, and lines that were not written were not sent.
    fn stop_talking(&mut self) {
        if !matches!(self.phase, Phase::Talking | Phase::Draining) {
            return;
        }
        self.cut_short = true;
        self.meter.stop(&mut self.report.usage);
        self.take_back_unwritten();
        let now = now();
        let window = &mut self.report.metrics.window;
        window.1 = window.1.min(now).max(window.0);
        self.report.finished = now;
    }

    /// When the plan stops by itself, measured from the start of talking; `None` when it counts lines.
    fn window(&self) -> Option<Tick> {
        match self.share.plan.stop {
            Stop::After(duration) => Some(ticks(duration)),
            Stop::Lines(_) => None,
        }
    }
}
