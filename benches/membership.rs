//! How long joining and leaving take, in a quiet room and while a room is under full load: what a
//! lock that is held during a broadcast costs those who do not talk.
//!
//! Ids are `membership/PLACE/DESIGN/MEMBERS`, and criterion's figure is a join's mean; p50 and p99
//! of joins and leaves are in the table behind it. The load is two members of the busy room who say
//! lines without pause, to sinks that cost what a send costs. A visitor comes, stays a moment, goes.
//!
//! A join is measured from the call: for ours until the newcomer's own `has joined` was written
//! into its sink, for designs with locks, generously, only until it is in the map, before anybody is
//! told; how long until it was told is in the table, too. A leave: for ours until a certain other member's sink got `has left`, for the others until
//! it is out of the map.
#![allow(clippy::cast_precision_loss, reason = "figures are for people")]

#[path = "membership/case.rs"]
mod case;
#[path = "membership/halls.rs"]
mod halls;
mod models;
mod record;

use case::{CROWD, Case, Figure, Percentiles, RoomState};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode};
use halls::{Hall, LockedHall, OurHall};
use loadtest::plot::{Axes, Axis, Series};
use models::locks::{GlobalLock, RoomLocks, ShardLocks};
use models::{Model, ours};
use record::Record;
use std::time::Duration;

/// All designs, in the order of tables.
const DESIGNS: [&str; 4] = [GlobalLock::NAME, ShardLocks::NAME, RoomLocks::NAME, ours::NAME];
/// Members of the busy room.
const MEMBERS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Samples of a case, the least that criterion takes.
const SAMPLES: usize = 10;

/// Measures one case, if criterion's filter lets it through.
fn measure<H: Hall>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    place: RoomState,
    members: usize,
    found: &mut Vec<Figure>,
) {
    let (mut case, mut hall) = (Case::new(place, members), None);
    group.measurement_time(case.time());
    group.bench_function(BenchmarkId::new(format!("{}/{}", place.name(), H::NAME), members), |bencher| {
        let hall = hall.get_or_insert_with(|| {
            let hall = H::gather(members);
            case.begin();
            hall
        });
        bencher.iter_custom(|visits| case.run(hall, visits));
    });
    found.extend(case.figure(H::NAME));
}

fn measure_all(criterion: &mut Criterion) -> Vec<Figure> {
    let mut found = Vec::new();
    let mut group = criterion.benchmark_group("membership");
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat).nresamples(10_000);
    group.warm_up_time(Duration::from_millis(200));
    for place in RoomState::ALL {
        for members in MEMBERS.into_iter().filter(|&members| members < CROWD || record::measuring()) {
            measure::<LockedHall<GlobalLock>>(&mut group, place, members, &mut found);
            measure::<LockedHall<ShardLocks>>(&mut group, place, members, &mut found);
            measure::<LockedHall<RoomLocks>>(&mut group, place, members, &mut found);
            measure::<OurHall>(&mut group, place, members, &mut found);
        }
    }
    group.finish();
    found
}

/// A table for each place, and a plot for each that is under load.
fn tell(found: &[Figure]) -> anyhow::Result<()> {
    let mut record = Record::new("membership", record::MEMBERSHIP);
    record.say(
        "p50 / p99 (how many were measured; where fewer than 100 were, p99 is the longest). The load is two members who\n\
         talk without pause, to sinks that keep a CPU busy for 3 µs a write, as a send does. A join counts until the\n\
         newcomer is in: for ours until its own `has joined` was written to it, for designs with locks only until it is in\n\
         the map; `told` is until its own `has joined` for all. A leave counts for ours until a certain other member got\n\
         `has left`, for designs with locks until the leaver is out of the map.",
    );
    for place in RoomState::ALL {
        let figure = |design: &str, members: usize| {
            found.iter().find(|it| it.place == place && (it.design, it.members) == (design, members))
        };
        let row = |what: &str, members: usize, of: fn(&Figure) -> Percentiles| {
            let cell = |figure: &Figure| {
                let Percentiles { p50_ns, p99_ns } = of(figure);
                format!("{} / {} ({})", duration(p50_ns as f64), duration(p99_ns as f64), figure.visits)
            };
            let cells = DESIGNS.map(|design| figure(design, members).map_or("-".into(), cell));
            [vec![what.into(), members.to_string()], cells.to_vec()].concat()
        };
        let joins = MEMBERS.map(|members| row("join", members, |it| it.join));
        let told = MEMBERS.map(|members| row("told", members, |it| it.told));
        let leaves = MEMBERS.map(|members| row("leave", members, |it| it.leave));
        record.say(&format!("**In {}:**", place.title()));
        record.table(&[&["", "members"], &DESIGNS[..]].concat(), &[joins, told, leaves].concat());
        if place == RoomState::Quiet {
            continue;
        }
        let points = |design: &str| {
            let at = |members: usize| Some((members as f64, figure(design, members)?.join.p99_ns as f64));
            MEMBERS.into_iter().filter_map(at).collect()
        };
        let series = DESIGNS.map(|design| Series { name: design.into(), points: points(design) });
        let marks = MEMBERS.map(|members| members as f64);
        let axes = Axes {
            title: &format!("Joining {}: p99", place.title()),
            x: Axis::logarithmic("members of the busy room", &record::whole).marked(&marks),
            y: Axis::logarithmic("p99, from the call", &duration),
        };
        record.plot(place.name(), &axes, &series)?;
    }
    record.finish(found)
}

/// Nanoseconds as people say them.
fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", loadtest::machine::short(value))
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let found = measure_all(&mut criterion);
    criterion.final_summary();
    // A filter may have let nothing through.
    if found.is_empty() { Ok(()) } else { tell(&found) }
}
