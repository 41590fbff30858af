//! The time of joins and leaves in a quiet room and while a room is under full load: the cost of a lock that
//! is held during a broadcast.
//!
//! Ids are `membership/PLACE/DESIGN/MEMBERS`. Criterion's figure is the mean of a join; the table has p50 and
//! p99 of joins and leaves. The load is two members of the busy room that send lines without pause, to sinks
//! that cost as much CPU as a send. A visitor joins, stays for a moment and leaves.
//!
//! A join is measured from the call. For Roomcast it ends when the new member's own `has joined` is in its
//! sink. For designs with locks it ends when the member is in the map, which favours them; `told` in the
//! table ends with the `has joined` for all designs. A leave ends for Roomcast when another member's sink has
//! the `has left`, and for designs with locks when the member is out of the map.
#![allow(clippy::cast_precision_loss, reason = "figures are for people")]

#[path = "membership/case.rs"]
mod case;
mod models;
mod record;
#[path = "membership/rooms.rs"]
mod rooms;

use case::{Case, Figure, LARGE_ROOM, Percentiles, VisitedRoom};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use loadtest::plot::{Axes, Axis, Series};
use models::locks::{GlobalLock, RoomLocks, ShardLocks};
use models::{DESIGNS, benchmark_group};
use record::Report;
use rooms::{LockedRooms, RoomPair, RoomcastRooms};

/// Members of the busy room.
const MEMBERS: [usize; 4] = [10, 100, 1_000, 10_000];

/// Measures one case, if criterion's filter selects it.
fn measure<H: RoomPair>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    place: VisitedRoom,
    members: usize,
    found: &mut Vec<Figure>,
) {
    let (mut case, mut rooms) = (Case::new(place, members), None);
    group.measurement_time(case.time());
    group.bench_function(BenchmarkId::new(format!("{}/{}", place.name(), H::NAME), members), |bencher| {
        let rooms = rooms.get_or_insert_with(|| {
            let rooms = H::create(members);
            case.begin();
            rooms
        });
        bencher.iter_custom(|visits| case.run(rooms, visits));
    });
    found.extend(case.figure(H::NAME));
}

fn measure_all(criterion: &mut Criterion) -> Vec<Figure> {
    let mut found = Vec::new();
    let mut group = benchmark_group(criterion, "membership");
    for place in VisitedRoom::ALL {
        for members in MEMBERS.into_iter().filter(|&members| members < LARGE_ROOM || record::measuring()) {
            measure::<LockedRooms<GlobalLock>>(&mut group, place, members, &mut found);
            measure::<LockedRooms<ShardLocks>>(&mut group, place, members, &mut found);
            measure::<LockedRooms<RoomLocks>>(&mut group, place, members, &mut found);
            measure::<RoomcastRooms>(&mut group, place, members, &mut found);
        }
    }
    group.finish();
    found
}

/// Writes a table for each place, and a plot for each place under load.
fn write_results(found: &[Figure]) -> anyhow::Result<()> {
    let mut report = Report::new("membership", record::MEMBERSHIP);
    report.add_paragraph(
        "p50 / p99 (number of visits; with fewer than 100 visits, p99 is the longest). The load is two members that send\n\
         lines without pause, to sinks that keep a CPU busy for 3 µs a write, as a send does. A join ends for Roomcast\n\
         (`ours`) when its own `has joined` is written, and for designs with locks when the member is in the map; `told` ends\n\
         with its own `has joined` for all. A leave ends for Roomcast when another member has the `has left`, and for designs\n\
         with locks when the member is out of the map.",
    );
    for place in VisitedRoom::ALL {
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
        report.add_paragraph(&format!("**In {}:**", place.title()));
        report.add_table(&[&["", "members"], &DESIGNS[..]].concat(), &[joins, told, leaves].concat());
        if place == VisitedRoom::Quiet {
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
        report.add_plot(place.name(), &axes, &series);
    }
    report.write(found)
}

/// Returns nanoseconds with a unit that keeps the number si.
fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", loadtest::format::si(value))
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let found = measure_all(&mut criterion);
    criterion.final_summary();
    // The filter may have selected no case.
    if found.is_empty() { Ok(()) } else { write_results(&found) }
}
