//! One case: visits to a room, and the time of their joins and leaves.

use crate::models::sink::SEND_COST;
use crate::rooms::{JoinTimes, LoadPeriod, RoomPair, SENDERS};
use hdrhistogram::Histogram;
use loadtest::clock::Tick;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// Members of a room to which a line takes tens of milliseconds. Test runs leave such rooms out.
pub(crate) const LARGE_ROOM: usize = 10_000;
/// The time of the load before the first visit, in addition to the time of one line.
const LOAD_RAMP: Duration = Duration::from_millis(5);
/// The longest time that a case may exceed its measuring time.
const GRACE: Duration = Duration::from_secs(3);
/// The histograms' maximum: an hour in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// The longest pause between two visits, and the longest stay; shorter where a line takes less.
const PAUSE: Duration = Duration::from_millis(10);

/// The room that a visitor joins.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VisitedRoom {
    /// A room without load.
    Quiet,
    /// The room under load.
    BusyRoom,
    /// A small room beside the room under load.
    OtherRoom,
}

impl VisitedRoom {
    pub(crate) const ALL: [Self; 3] = [Self::Quiet, Self::BusyRoom, Self::OtherRoom];

    /// Returns the name in ids and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::BusyRoom => "busy-room",
            Self::OtherRoom => "other-room",
        }
    }

    /// Returns the name in titles.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quiet => "a quiet room",
            Self::BusyRoom => "a room under full load",
            Self::OtherRoom => "a small room while another is under full load",
        }
    }
}

/// The results of one case.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) place: VisitedRoom,
    pub(crate) design: &'static str,
    /// Members of the busy room, or of the quiet room in [`VisitedRoom::Quiet`].
    pub(crate) members: usize,
    pub(crate) visits: u64,
    /// From the call until the new member is in.
    pub(crate) join: Percentiles,
    /// From the call until the new member has its own `has joined`.
    pub(crate) told: Percentiles,
    /// From the call until the member is out.
    pub(crate) leave: Percentiles,
}

/// The median and the 99th percentile of times.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

/// One case while it is measured.
pub(crate) struct Case {
    place: VisitedRoom,
    members: usize,
    /// The end of its measuring time and grace.
    until: Instant,
    visits: u64,
    joins: Histogram<u64>,
    told: Histogram<u64>,
    leaves: Histogram<u64>,
}

impl Case {
    pub(crate) fn new(place: VisitedRoom, members: usize) -> Self {
        let histogram = || {
            let found = Histogram::new_with_bounds(1, LONGEST, 3);
            found.unwrap_or_else(|error| unreachable!("good bounds: {error}"))
        };
        let (joins, told, leaves) = (histogram(), histogram(), histogram());
        Self { place, members, until: Instant::now(), visits: 0, joins, told, leaves }
    }

    /// Starts the measuring time.
    pub(crate) fn begin(&mut self) {
        self.until = Instant::now() + self.time() + GRACE;
    }

    /// Returns the time that criterion measures the case.
    pub(crate) fn time(&self) -> Duration {
        match self.place {
            VisitedRoom::Quiet if self.members < LARGE_ROOM => Duration::from_secs(1),
            VisitedRoom::Quiet => Duration::from_secs(3),
            _ if self.members < 1_000 => Duration::from_secs(2),
            _ if self.members < LARGE_ROOM => Duration::from_secs(6),
            VisitedRoom::BusyRoom | VisitedRoom::OtherRoom => Duration::from_secs(10),
        }
    }

    /// Makes up to `visits` visits while the load lasts. Returns the time of as many joins.
    pub(crate) fn run<H: RoomPair>(&mut self, rooms: &H, visits: u64) -> Duration {
        // The load ends after this time, so that a visitor that a lock starves still gets in.
        let period = LoadPeriod::new(self.until.max(Instant::now()) + GRACE);
        let senders = if self.place == VisitedRoom::Quiet { 0 } else { SENDERS };
        thread::scope(|scope| {
            for sender in 0..senders {
                let period = period.clone();
                scope.spawn(move || rooms.send_lines(sender, period));
            }
            if senders > 0 {
                thread::sleep(LOAD_RAMP + self.line_time());
            }
            let (mut done, mut spent) = (0, 0);
            while done < visits && (done == 0 || Instant::now() < self.until) {
                spent += self.visit(rooms);
                done += 1;
            }
            period.end();
            Duration::from_nanos(spent).mul_f64(visits as f64 / done as f64)
        })
    }

    /// Makes one visit. Returns the time of the join.
    fn visit<H: RoomPair>(&mut self, rooms: &H) -> Tick {
        self.pause();
        let (visitor, JoinTimes { join, told }) = rooms.join(self.place == VisitedRoom::OtherRoom);
        self.pause();
        let leave = rooms.leave(visitor);
        self.visits += 1;
        self.joins.saturating_record(join);
        self.told.saturating_record(told);
        self.leaves.saturating_record(leave);
        join
    }

    /// Pauses for a random time, so that visits meet a broadcast at any moment.
    fn pause(&self) {
        let most = (self.line_time() / 2).clamp(Duration::from_micros(500), PAUSE);
        thread::sleep(most.mul_f64(fastrand::f64()));
    }

    /// Returns the time of a line to the whole room.
    fn line_time(&self) -> Duration {
        SEND_COST * u32::try_from(self.members).unwrap_or(u32::MAX)
    }

    /// Returns the results, if the case was run.
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
