//! One case: visits to a room of some size, in some place, and how long joining and leaving took.

use crate::halls::{Hall, Joined, SPEAKERS, Shift};
use crate::models::sink::SEND;
use hdrhistogram::Histogram;
use loadtest::clock::Tick;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// To so many members a line takes tens of milliseconds: left out where nothing is measured.
pub(crate) const CROWD: usize = 10_000;
/// How long the speakers talk before the first visit, beside the time of one line.
const RUN_UP: Duration = Duration::from_millis(5);
/// How long a case may take over its time, whatever its visitors wait for.
const GRACE: Duration = Duration::from_secs(3);
/// An hour in nanoseconds: nothing takes longer.
const LONGEST: u64 = 3_600_000_000_000;
/// The longest pause between two visits, and the longest stay; shorter where a line takes less.
const PAUSE: Duration = Duration::from_millis(10);

/// Where a visitor goes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RoomState {
    /// A room in which nobody talks.
    Quiet,
    /// The room in which the speakers talk.
    BusyRoom,
    /// A small room, while the speakers talk in theirs.
    OtherRoom,
}

impl RoomState {
    pub(crate) const ALL: [Self; 3] = [Self::Quiet, Self::BusyRoom, Self::OtherRoom];

    /// In ids.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::BusyRoom => "busy-room",
            Self::OtherRoom => "other-room",
        }
    }

    /// In titles.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quiet => "a room in which nobody talks",
            Self::BusyRoom => "a room under full load",
            Self::OtherRoom => "a small room while another is under full load",
        }
    }
}

/// What one case came to.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) place: RoomState,
    pub(crate) design: &'static str,
    /// Members of the busy room; of the quiet one in [`RoomState::Quiet`].
    pub(crate) members: usize,
    pub(crate) visits: u64,
    /// From the call until the newcomer is in.
    pub(crate) join: Percentiles,
    /// From the call until the newcomer has its own `has joined`.
    pub(crate) told: Percentiles,
    /// From the call until the leaver is out.
    pub(crate) leave: Percentiles,
}

/// Half of all took at most the one, 99 in 100 the other.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

/// One case while it is measured.
pub(crate) struct Case {
    place: RoomState,
    members: usize,
    /// When it must come to its end.
    until: Instant,
    visits: u64,
    joins: Histogram<u64>,
    told: Histogram<u64>,
    leaves: Histogram<u64>,
}

impl Case {
    pub(crate) fn new(place: RoomState, members: usize) -> Self {
        let histogram = || {
            let found = Histogram::new_with_bounds(1, LONGEST, 3);
            found.unwrap_or_else(|error| unreachable!("good bounds: {error}"))
        };
        let (joins, told, leaves) = (histogram(), histogram(), histogram());
        Self { place, members, until: Instant::now(), visits: 0, joins, told, leaves }
    }

    /// Its time begins now.
    pub(crate) fn begin(&mut self) {
        self.until = Instant::now() + self.time() + GRACE;
    }

    /// How long criterion is to measure it.
    pub(crate) fn time(&self) -> Duration {
        match self.place {
            RoomState::Quiet if self.members < CROWD => Duration::from_secs(1),
            RoomState::Quiet => Duration::from_secs(3),
            _ if self.members < 1_000 => Duration::from_secs(2),
            _ if self.members < CROWD => Duration::from_secs(6),
            RoomState::BusyRoom | RoomState::OtherRoom => Duration::from_secs(10),
        }
    }

    /// Up to `visits` visits, while the load lasts; the time that so many joins take.
    pub(crate) fn run<H: Hall>(&mut self, hall: &H, visits: u64) -> Duration {
        // A visitor that is kept out for ever is let in when the speakers' shift ends.
        let shift = Shift::new(self.until.max(Instant::now()) + GRACE);
        let speakers = if self.place == RoomState::Quiet { 0 } else { SPEAKERS };
        thread::scope(|scope| {
            for speaker in 0..speakers {
                let shift = shift.clone();
                scope.spawn(move || hall.speak(speaker, shift));
            }
            if speakers > 0 {
                thread::sleep(RUN_UP + self.line());
            }
            let (mut done, mut spent) = (0, 0);
            while done < visits && (done == 0 || Instant::now() < self.until) {
                spent += self.visit(hall);
                done += 1;
            }
            shift.end();
            Duration::from_nanos(spent).mul_f64(visits as f64 / done as f64)
        })
    }

    /// One visit; how long the join took.
    fn visit<H: Hall>(&mut self, hall: &H) -> Tick {
        self.pause();
        let (guest, Joined { join, told }) = hall.join(self.place == RoomState::OtherRoom);
        self.pause();
        let leave = hall.leave(guest);
        self.visits += 1;
        self.joins.saturating_record(join);
        self.told.saturating_record(told);
        self.leaves.saturating_record(leave);
        join
    }

    /// A pause of random length, so that visits fall into any moment of a broadcast.
    fn pause(&self) {
        let most = (self.line() / 2).clamp(Duration::from_micros(500), PAUSE);
        thread::sleep(most.mul_f64(fastrand::f64()));
    }

    /// How long a line to the whole room takes.
    fn line(&self) -> Duration {
        SEND * u32::try_from(self.members).unwrap_or(u32::MAX)
    }

    /// What it came to, if it was run.
    pub(crate) fn figure(&self, design: &'static str) -> Option<Figure> {
        let percentiles = |histogram: &Histogram<u64>| Percentiles {
            p50_ns: histogram.value_at_quantile(0.5),
            p99_ns: histogram.value_at_quantile(0.99),
        };
        (self.visits > 0).then(|| Figure {
            place: self.place,
            design,
            members: self.members,
            visits: self.visits,
            join: percentiles(&self.joins),
            told: percentiles(&self.told),
            leave: percentiles(&self.leaves),
        })
    }
}
