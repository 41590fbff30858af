//! A line from a member's hand to every member's outlet, in memory: what is left of a delivery
//! without the kernel. Sinks count bytes and cost nothing, so this is each design's own work: ours
//! pays for its order, its inbox and its bounds once a line or once a pass, and not for locks.
//!
//! Ids are `fanout/DESIGN/THREADS-threads/MEMBERS`: so many threads in all, on which so many
//! members talk without pause. A design's figure is in deliveries a second.
#![allow(clippy::cast_precision_loss, reason = "figures are for people")]

mod models;
mod record;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use loadtest::machine::short;
use loadtest::plot::{Axes, Axis, Series};
use models::locks::{GlobalLock, RoomLocks, ShardLocks};
use models::ours::{IN_FLIGHT, Ours, line, speaker, user};
use models::sink::Sink;
use models::{Model, ours};
use record::Record;
use serde::Serialize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, yield_now};

/// Members of the room.
const MEMBERS: [usize; 5] = [8, 32, 128, 1_000, 10_000];
/// Threads, and members that talk.
const THREADS: [usize; 3] = [1, 2, 4];
/// Samples of a case, the least that criterion takes: there are many cases.
const SAMPLES: usize = 10;
/// All designs, in the order of tables.
const DESIGNS: [&str; 4] = [GlobalLock::NAME, ShardLocks::NAME, RoomLocks::NAME, ours::NAME];
/// The room in which all of it happens.
const ROOM: &str = "room";

/// A room full of people, in some design.
trait Crowd {
    /// The design.
    const NAME: &'static str;

    /// `members`, of which the first `threads` can talk.
    fn gather(members: usize, threads: usize) -> Self;

    /// Has them say `lines` lines in all; how long it took until everybody had all of them.
    fn talk(&self, lines: u64) -> Duration;
}

/// One case's figure.
#[derive(Serialize)]
struct Figure {
    design: &'static str,
    threads: usize,
    members: usize,
    /// The median of all samples.
    deliveries_per_second: f64,
}

/// A crowd in our design, with a runtime of so many threads.
struct OurCrowd {
    ours: Ours,
    speakers: usize,
}

impl Crowd for OurCrowd {
    const NAME: &'static str = ours::NAME;

    fn gather(members: usize, threads: usize) -> Self {
        let mut ours = Ours::new(threads);
        let free = Duration::ZERO;
        let sink = |number| if number < threads { speaker(number, free) } else { Sink::new(free) };
        ours.settle(ROOM, (0..members).map(sink));
        Self { ours, speakers: threads }
    }

    fn talk(&self, lines: u64) -> Duration {
        let registry = Arc::clone(self.ours.registry());
        let delivered = move || registry.counters().read().deliveries;
        let owed = delivered() + lines * self.ours.residents.len() as u64;
        let speakers: Vec<_> = self.ours.residents[..self.speakers].to_vec();
        self.ours.run(async move {
            let start = Instant::now();
            let shares = shares(lines, speakers.len());
            let mut talking = JoinSet::new();
            for (speaker, mut left) in speakers.into_iter().zip(shares) {
                talking.spawn(async move {
                    while left > 0 {
                        let lines = left.min(IN_FLIGHT as u64);
                        // At most 32.
                        speaker.burst(usize::try_from(lines).unwrap_or(IN_FLIGHT)).await;
                        left -= lines;
                    }
                });
            }
            talking.join_all().await;
            // The speakers have all: the last pass may be about to hand it to others.
            while delivered() < owed {
                yield_now().await;
            }
            start.elapsed()
        })
    }
}

/// A crowd in a design with locks, with so many threads that talk.
struct LockedCrowd<M> {
    model: M,
    threads: usize,
}

impl<M: Model> Crowd for LockedCrowd<M> {
    const NAME: &'static str = M::NAME;

    fn gather(members: usize, threads: usize) -> Self {
        let model = M::default();
        for number in 0..members {
            model.insert(ROOM, user(number as u64), Arc::new(Sink::new(Duration::ZERO)));
        }
        Self { model, threads }
    }

    fn talk(&self, lines: u64) -> Duration {
        let start = Instant::now();
        thread::scope(|scope| {
            for (speaker, share) in shares(lines, self.threads).enumerate() {
                scope.spawn(move || {
                    let user = user(speaker as u64);
                    // Each line is laid out anew, as ours is.
                    (0..share).for_each(|_| self.model.broadcast(ROOM, line(&user).as_bytes()));
                });
            }
        });
        start.elapsed()
    }
}

/// Each speaker's part of `lines`: they differ by one at most.
fn shares(lines: u64, speakers: usize) -> impl Iterator<Item = u64> {
    let speakers = speakers as u64;
    (0..speakers).map(move |speaker| (lines + speaker) / speakers)
}

/// Measures one case, if criterion's filter lets it through.
fn measure<C: Crowd>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    members: usize,
    threads: usize,
    found: &mut Vec<Figure>,
) {
    let (mut crowd, mut rates) = (None, Vec::new());
    group.throughput(Throughput::Elements(members as u64));
    group.bench_function(BenchmarkId::new(format!("{}/{threads}-threads", C::NAME), members), |bencher| {
        let crowd = crowd.get_or_insert_with(|| C::gather(members, threads));
        bencher.iter_custom(|lines| {
            let took = crowd.talk(lines);
            rates.push(lines as f64 * members as f64 / took.as_secs_f64());
            took
        });
    });
    // What came before the samples was to warm up.
    let mut samples = rates.split_off(rates.len().saturating_sub(SAMPLES));
    samples.sort_by(f64::total_cmp);
    if let Some(&deliveries_per_second) = samples.get(samples.len() / 2) {
        found.push(Figure { design: C::NAME, threads, members, deliveries_per_second });
    }
}

fn measure_all(criterion: &mut Criterion) -> Vec<Figure> {
    let mut found = Vec::new();
    let mut group = criterion.benchmark_group("fanout");
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat).nresamples(10_000);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    for threads in THREADS {
        for members in MEMBERS {
            measure::<LockedCrowd<GlobalLock>>(&mut group, members, threads, &mut found);
            measure::<LockedCrowd<ShardLocks>>(&mut group, members, threads, &mut found);
            measure::<LockedCrowd<RoomLocks>>(&mut group, members, threads, &mut found);
            measure::<OurCrowd>(&mut group, members, threads, &mut found);
        }
    }
    group.finish();
    found
}

/// Deliveries a second: a table of all, and a plot for the most threads.
fn tell(found: &[Figure]) -> anyhow::Result<()> {
    let mut record = Record::new("fanout", record::FANOUT);
    record.say(
        "Deliveries a second to sinks that only count bytes, by threads and members: each thread has a member that talks\n\
         without pause. Ours has up to 32 lines of each on their way; a design with locks delivers line by line.",
    );
    let figure = |design: &str, threads: usize, members: usize| {
        let found = found.iter().find(|it| (it.design, it.threads, it.members) == (design, threads, members));
        found.map(|figure| figure.deliveries_per_second)
    };
    let mut rows = Vec::new();
    for threads in THREADS {
        for members in MEMBERS {
            let cells = DESIGNS.map(|design| figure(design, threads, members).map_or("-".into(), short));
            rows.push([vec![threads.to_string(), members.to_string()], cells.to_vec()].concat());
        }
    }
    record.table(&[&["threads", "members"], &DESIGNS[..]].concat(), &rows);
    for threads in [THREADS[0], THREADS[THREADS.len() - 1]] {
        let points = |design: &str| {
            let at = |members: usize| Some((members as f64, figure(design, threads, members)?));
            MEMBERS.into_iter().filter_map(at).collect()
        };
        let series = DESIGNS.map(|design| Series { name: design.into(), points: points(design) });
        let marks = MEMBERS.map(|members| members as f64);
        let axes = Axes {
            title: &format!("Fan-out in memory from {threads} thread{}", if threads == 1 { "" } else { "s" }),
            x: Axis::logarithmic("members", &record::whole).marked(&marks),
            y: Axis::logarithmic("deliveries / s", &short),
        };
        record.plot(&format!("{threads}-threads"), &axes, &series)?;
    }
    record.finish(found)
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let found = measure_all(&mut criterion);
    criterion.final_summary();
    // A filter may have let nothing through.
    if found.is_empty() { Ok(()) } else { tell(&found) }
}
