//! The whole server over loopback, with the load generator on the same machine: deliveries by worker threads,
//! rooms and members; CPU a delivery by lines in flight, beside bare writes of as many lines; memory by quiet
//! connections.
//!
//! The load generator checks every line: a lost or doubled one fails the bench.
#![allow(clippy::cast_precision_loss, reason = "figures are for people")]

#[path = "scalability/command_line.rs"]
mod command_line;
#[path = "scalability/measure.rs"]
mod measure;
mod record;

use anyhow::Result;
use command_line::Mode;
use loadtest::format::{bytes, si};
use loadtest::interrupt;
use loadtest::plot::{Axes, Axis, Series};
use measure::{Cost, Memory, Shape, Throughput};
use record::{Report, whole};
use serde::Serialize;
use std::collections::BTreeSet;

/// Worker threads of the server.
const WORKERS: [usize; 3] = [1, 2, 4];
/// Rooms, members of each, and lines in flight in each.
const SHAPES: [Shape; 6] = [
    Shape { rooms: 1, members: 10, in_flight: 4 },
    Shape { rooms: 1, members: 100, in_flight: 32 },
    Shape { rooms: 1, members: 1_000, in_flight: 32 },
    Shape { rooms: 10, members: 100, in_flight: 32 },
    Shape { rooms: 20, members: 10, in_flight: 4 },
    Shape { rooms: 200, members: 10, in_flight: 4 },
];
/// Lines in flight in one room of [`LISTENERS`] members.
const IN_FLIGHT: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const LISTENERS: usize = 200;
/// Quiet connections, in rooms of ten: one process may have 20,000 files at most on many systems.
const CONNECTIONS: [usize; 4] = [1_000, 5_000, 10_000, 15_000];

/// All results of the bench.
#[derive(Serialize)]
struct Figures {
    throughput: Vec<Throughput>,
    cost: Vec<Cost>,
    memory: Vec<Memory>,
}

/// Runs each measurement once with small numbers, without results.
fn test() -> Result<()> {
    let shape = Shape { rooms: 2, members: 5, in_flight: 2 };
    let throughput = measure::throughput(&[1], &[shape], "100ms")?;
    let cost = measure::cost(&[2], 10, "200ms")?;
    let memory = measure::memory(&[50])?;
    write_results(&Figures { throughput, cost, memory })
}

/// Runs all measurements and writes their results.
fn figures() -> Result<()> {
    let throughput = measure::throughput(&WORKERS, &SHAPES, "2s")?;
    let cost = measure::cost(&IN_FLIGHT, LISTENERS, "2s")?;
    let memory = measure::memory(&CONNECTIONS)?;
    write_results(&Figures { throughput, cost, memory })
}

fn write_results(figures: &Figures) -> Result<()> {
    let mut report = Report::new("scalability", record::SCALABILITY);
    report.add_paragraph(
        "Server and load generator share the machine's cores; lines have 64 bytes of text. Every delivery is checked.\n\
         Writes are counted by the kernel for all programs: lines per write are `-` where other traffic hid the server's,\n\
         and can be trusted only on a quiet machine.",
    );
    add_throughput(&mut report, &figures.throughput);
    add_cost(&mut report, &figures.cost);
    add_memory(&mut report, &figures.memory);
    report.write(figures)
}

fn add_throughput(report: &mut Report, found: &[Throughput]) {
    report.add_paragraph(
        "**Deliveries by worker threads, rooms and members**, with a fixed number of lines in flight in each room. `generator`\n\
         marks rows in which the generator was busier than the server: the server could deliver more.",
    );
    let row = |it: &Throughput| {
        vec![
            it.workers.to_string(),
            format!("{} × {}", it.shape.rooms, it.shape.members),
            it.shape.in_flight.to_string(),
            si(it.deliveries_per_second),
            format!("{} ns", si(it.cpu_ns_per_delivery)),
            it.lines_per_write.map_or("-".into(), si),
            format!("{:.1} / {:.1} ms", it.latency_p50_us as f64 / 1e3, it.latency_p99_us as f64 / 1e3),
            if it.saturated { "generator" } else { "" }.into(),
        ]
    };
    let header = [
        "workers",
        "rooms × members",
        "in flight",
        "deliveries / s",
        "CPU / delivery",
        "lines / write",
        "p50 / p99",
        "",
    ];
    report.add_table(&header, &found.iter().map(row).collect::<Vec<_>>());
    let workers: BTreeSet<usize> = found.iter().map(|it| it.workers).collect();
    let points = |workers: usize| {
        let one_room = found.iter().filter(|it| it.workers == workers && it.shape.rooms == 1);
        one_room.map(|it| (it.shape.members as f64, it.deliveries_per_second)).collect()
    };
    let name = |workers: usize| format!("{workers} worker{}", if workers == 1 { "" } else { "s" });
    let series: Vec<Series> =
        workers.into_iter().map(|workers| Series { name: name(workers), points: points(workers) }).collect();
    let marks: Vec<f64> = SHAPES.iter().filter(|it| it.rooms == 1).map(|it| it.members as f64).collect();
    let axes = Axes {
        title: "One busy room over loopback",
        x: Axis::logarithmic("members", &whole).marked(&marks),
        y: Axis::linear("deliveries / s", &si),
    };
    report.add_plot("throughput", &axes, &series);
}

fn add_cost(report: &mut Report, found: &[Cost]) {
    report.add_paragraph(&format!(
        "**CPU a delivery by lines per write**, in one room of {LISTENERS}; the limit is bare writes of as many lines to as many\n\
         sockets by one thread, measured after each run.",
    ));
    let row = |it: &Cost| {
        vec![
            it.in_flight.to_string(),
            it.lines_per_write.map_or("-".into(), si),
            si(it.deliveries_per_second),
            format!("{} ns", si(it.cpu_ns_per_delivery)),
            it.limit_cpu_ns_per_delivery.map_or("-".into(), |limit| format!("{} ns", si(limit))),
            it.limit_cpu_ns_per_delivery.map_or("-".into(), |limit| si(it.cpu_ns_per_delivery / limit)),
        ]
    };
    let header = ["in flight", "lines / write", "deliveries / s", "CPU / delivery", "limit", "ratio"];
    report.add_table(&header, &found.iter().map(row).collect::<Vec<_>>());
    let points = |of: fn(&Cost) -> Option<f64>| -> Vec<(f64, f64)> {
        found.iter().filter_map(|it| Some((it.lines_per_write?, of(it)?))).collect()
    };
    let series = [
        Series { name: "Roomcast".into(), points: points(|it| Some(it.cpu_ns_per_delivery)) },
        Series { name: "bare writes".into(), points: points(|it| it.limit_cpu_ns_per_delivery) },
    ];
    let marks = IN_FLIGHT.map(|lines| lines as f64);
    let axes = Axes {
        title: "CPU a delivery",
        x: Axis::logarithmic("lines per write", &whole).marked(&marks),
        y: Axis::logarithmic("ns of CPU", &si),
    };
    report.add_plot("cost", &axes, &series);
}

fn add_memory(report: &mut Report, found: &[Memory]) {
    report
        .add_paragraph("**Memory by quiet connections**, in rooms of ten: the growth of the server's resident memory.");
    let row = |it: &Memory| {
        let each = bytes(it.rss_bytes_per_connection);
        vec![it.connections.to_string(), bytes(it.rss_bytes as f64), each, si(it.joins_per_second)]
    };
    report.add_table(
        &["connections", "resident", "each connection", "joins / s"],
        &found.iter().map(row).collect::<Vec<_>>(),
    );
    let points = found.iter().map(|it| (it.connections as f64, it.rss_bytes as f64 / f64::from(1 << 20))).collect();
    let marks = CONNECTIONS.map(|connections| connections as f64);
    let axes = Axes {
        title: "Memory of quiet connections",
        x: Axis::linear("connections", &whole).marked(&marks),
        y: Axis::linear("resident MiB", &si),
    };
    report.add_plot("memory", &axes, &[Series { name: "resident".into(), points }]);
}

fn main() -> Result<()> {
    // An interrupted run fails and stops its server.
    interrupt::install_handlers()?;
    match Mode::read(std::env::args().skip(1), "scalability") {
        Mode::Nothing => Ok(()),
        Mode::List => {
            println!("scalability: benchmark");
            Ok(())
        }
        Mode::Test => test(),
        Mode::Measure => figures(),
    }
}
