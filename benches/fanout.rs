//! Fan-out in memory: the cost of delivering a line to every member of a room, without the kernel. Sinks
//! only count bytes, so a figure is the design's own work. Roomcast pays for its order, its inbox and its
//! limits once a line or once a pass, and not for locks.
//!
//! Ids are `fanout/DESIGN/THREADS-threads/MEMBERS`. Each thread has a member that sends lines without
//! pause. A figure is in deliveries a second.
#![allow(clippy::cast_precision_loss, reason = "figures are for people")]

mod models;
mod record;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use loadtest::format::si;
use loadtest::plot::{Axes, Axis, Series};
use models::locks::{GlobalLock, RoomLocks, ShardLocks};
use models::ours::{IN_FLIGHT, InMemoryServer, chat_line, sender, user_name};
use models::sink::Sink;
use models::{DESIGNS, Model, SAMPLES, benchmark_group, ours};
use record::Report;
use serde::Serialize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, yield_now};

/// Members of the room.
const MEMBERS: [usize; 5] = [8, 32, 128, 1_000, 10_000];
/// Threads, each with a member that sends lines.
const THREADS: [usize; 3] = [1, 2, 4];
/// The room of every case.
const ROOM: &str = "room";

/// A room of members in one design.
trait FanoutCase {
    /// The design's name in ids and tables.
    const NAME: &'static str;

    /// Creates a room of `members`, of which the first `threads` can send lines.
    fn create(members: usize, threads: usize) -> Self;

    /// Sends `lines` lines in all. Returns the time until every member has all of them.
    fn send_lines(&self, lines: u64) -> Duration;
}

/// The result of one case.
#[derive(Serialize)]
struct Figure {
    design: &'static str,
    threads: usize,
    members: usize,
    /// The median of all samples.
    deliveries_per_second: f64,
}

/// A room of Roomcast's own registry.
struct RoomcastFanout {
    ours: InMemoryServer,
    senders: usize,
}

impl FanoutCase for RoomcastFanout {
    const NAME: &'static str = ours::NAME;

    fn create(members: usize, threads: usize) -> Self {
        let mut ours = InMemoryServer::new(threads);
        let free = Duration::ZERO;
        let sink = |number| if number < threads { sender(number, free) } else { Sink::new(free) };
        ours.add_members(ROOM, (0..members).map(sink));
        Self { ours, senders: threads }
    }

    fn send_lines(&self, lines: u64) -> Duration {
        let registry = Arc::clone(self.ours.registry());
        let delivered = move || registry.counters().read().deliveries;
        let owed = delivered() + lines * self.ours.residents.len() as u64;
        let senders: Vec<_> = self.ours.residents[..self.senders].to_vec();
        self.ours.run(async move {
            let start = Instant::now();
            let shares = shares(lines, senders.len());
            let mut talking = JoinSet::new();
            for (sender, mut left) in senders.into_iter().zip(shares) {
                talking.spawn(async move {
                    while left > 0 {
                        let lines = left.min(IN_FLIGHT as u64);
                        // At most 32.
                        sender.send_burst(usize::try_from(lines).unwrap_or(IN_FLIGHT)).await;
                        left -= lines;
                    }
                });
            }
            talking.join_all().await;
            // The senders have all lines, but the last pass may still be delivering to other members.
            while delivered() < owed {
                yield_now().await;
            }
            start.elapsed()
        })
    }
}

/// A room in a design with locks, with a thread for each sender.
struct LockedFanout<M> {
    model: M,
    threads: usize,
}

impl<M: Model> FanoutCase for LockedFanout<M> {
    const NAME: &'static str = M::NAME;

    fn create(members: usize, threads: usize) -> Self {
        let model = M::default();
        for number in 0..members {
            model.insert(ROOM, user_name(number as u64), Arc::new(Sink::new(Duration::ZERO)));
        }
        Self { model, threads }
    }

    fn send_lines(&self, lines: u64) -> Duration {
        let start = Instant::now();
        thread::scope(|scope| {
            for (sender, share) in shares(lines, self.threads).enumerate() {
                scope.spawn(move || {
                    let user = user_name(sender as u64);
                    // Each line is formatted anew, as in Roomcast.
                    (0..share).for_each(|_| self.model.broadcast(ROOM, chat_line(&user).as_bytes()));
                });
            }
        });
        start.elapsed()
    }
}

/// Returns each sender's share of `lines`. Shares differ by one at most.
fn shares(lines: u64, senders: usize) -> impl Iterator<Item = u64> {
    let senders = senders as u64;
    (0..senders).map(move |sender| (lines + sender) / senders)
}

/// Measures one case, if criterion's filter selects it.
fn measure<C: FanoutCase>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    members: usize,
    threads: usize,
    found: &mut Vec<Figure>,
) {
    let (mut case, mut rates) = (None, Vec::new());
    group.throughput(Throughput::Elements(members as u64));
    group.bench_function(BenchmarkId::new(format!("{}/{threads}-threads", C::NAME), members), |bencher| {
        let case = case.get_or_insert_with(|| C::create(members, threads));
        bencher.iter_custom(|lines| {
            let took = case.send_lines(lines);
            rates.push(lines as f64 * members as f64 / took.as_secs_f64());
            took
        });
    });
    // The runs before the samples were the warm-up.
    let mut samples = rates.split_off(rates.len().saturating_sub(SAMPLES));
    samples.sort_by(f64::total_cmp);
    if let Some(&deliveries_per_second) = samples.get(samples.len() / 2) {
        found.push(Figure { design: C::NAME, threads, members, deliveries_per_second });
    }
}

fn measure_all(criterion: &mut Criterion) -> Vec<Figure> {
    let mut found = Vec::new();
    let mut group = benchmark_group(criterion, "fanout");
    group.measurement_time(Duration::from_millis(800));
    for threads in THREADS {
        for members in MEMBERS {
            measure::<LockedFanout<GlobalLock>>(&mut group, members, threads, &mut found);
            measure::<LockedFanout<ShardLocks>>(&mut group, members, threads, &mut found);
            measure::<LockedFanout<RoomLocks>>(&mut group, members, threads, &mut found);
            measure::<RoomcastFanout>(&mut group, members, threads, &mut found);
        }
    }
    group.finish();
    found
}

/// Writes a table of all deliveries a second, and plots for the fewest and the most threads.
fn write_results(found: &[Figure]) -> anyhow::Result<()> {
    let mut report = Report::new("fanout", record::FANOUT);
    report.add_paragraph(
        "Deliveries a second to sinks that only count bytes, by threads and members. Each thread has a member that sends\n\
         lines without pause. Roomcast (`ours`) has up to 32 lines of each in flight; a design with locks delivers line by\n\
         line.",
    );
    let figure = |design: &str, threads: usize, members: usize| {
        let found = found.iter().find(|it| (it.design, it.threads, it.members) == (design, threads, members));
        found.map(|figure| figure.deliveries_per_second)
    };
    let mut rows = Vec::new();
    for threads in THREADS {
        for members in MEMBERS {
            let cells = DESIGNS.map(|design| figure(design, threads, members).map_or("-".into(), si));
            rows.push([vec![threads.to_string(), members.to_string()], cells.to_vec()].concat());
        }
    }
    report.add_table(&[&["threads", "members"], &DESIGNS[..]].concat(), &rows);
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
            y: Axis::logarithmic("deliveries / s", &si),
        };
        report.add_plot(&format!("{threads}-threads"), &axes, &series);
    }
    report.write(found)
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let found = measure_all(&mut criterion);
    criterion.final_summary();
    // The filter may have selected no case.
    if found.is_empty() { Ok(()) } else { write_results(&found) }
}
