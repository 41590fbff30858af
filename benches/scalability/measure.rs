//! The runs: a server process, the load generator in this process, and their results.

use anyhow::{Context, Result, bail};
use clap::Parser;
use loadtest::outcome::ServerFigures;
use loadtest::plan::Plan;
use loadtest::scenario::{Cli, Scenario};
use loadtest::server::NO_RATE_BOUNDS;
use loadtest::test_bed::{TestBed, with_limit};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;

/// The measured program, which cargo builds with this bench.
const SERVER: &str = env!("CARGO_BIN_EXE_roomcast");
/// The number of runs after which a run with other programs' traffic is accepted without a count of writes.
const TRIES: usize = 3;
/// Members of a quiet room.
const FEW: usize = 10;

/// The number of rooms, their size and their load.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    /// Members of each room.
    pub(crate) members: usize,
    /// Lines in flight in each room.
    pub(crate) in_flight: usize,
}

/// The throughput of one run.
#[derive(Serialize)]
pub(crate) struct Throughput {
    pub(crate) workers: usize,
    #[serde(flatten)]
    pub(crate) shape: Shape,
    pub(crate) deliveries_per_second: f64,
    pub(crate) cpu_ns_per_delivery: f64,
    pub(crate) lines_per_write: Option<f64>,
    pub(crate) latency_p50_us: u64,
    pub(crate) latency_p99_us: u64,
    /// Whether the generator was the bottleneck.
    pub(crate) saturated: bool,
}

/// The CPU of a delivery and of bare writes.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) in_flight: usize,
    pub(crate) lines_per_write: Option<f64>,
    pub(crate) deliveries_per_second: f64,
    pub(crate) cpu_ns_per_delivery: f64,
    pub(crate) limit_cpu_ns_per_delivery: Option<f64>,
}

/// The server's memory for quiet connections.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) connections: usize,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_bytes_per_connection: f64,
    pub(crate) joins_per_second: f64,
}

/// Measures all shapes on a server for each number of workers, for `time` each.
pub(crate) fn throughput(workers: &[usize], shapes: &[Shape], time: &str) -> Result<Vec<Throughput>> {
    let test_bed = |&workers: &usize| Ok((workers, test_bed(&["--workers", &workers.to_string()])?));
    let mut test_beds = workers.iter().map(test_bed).collect::<Result<Vec<_>>>()?;
    let mut found = Vec::new();
    for shape in shapes {
        for (workers, test_bed) in &mut test_beds {
            let result = flood(test_bed, *shape, time)?;
            let server = server(&result)?;
            found.push(Throughput {
                workers: *workers,
                shape: *shape,
                deliveries_per_second: result.outcome.deliveries_per_second,
                cpu_ns_per_delivery: server.cpu_ns_per_delivery,
                lines_per_write: server.lines_per_write,
                latency_p50_us: result.outcome.latency_us.p50,
                latency_p99_us: result.outcome.latency_us.p99,
                saturated: result.verdict.kind == VerdictKind::Saturated,
            });
        }
    }
    Ok(found)
}

/// Measures one room for each number of lines in flight, and bare writes of as many lines after each run.
pub(crate) fn cost(in_flight: &[usize], members: usize, time: &str) -> Result<Vec<Cost>> {
    let mut test_bed = test_bed(&[])?;
    let mut measure = |in_flight: usize| {
        let shape = Shape { rooms: 1, members, in_flight };
        let mut result = flood(&mut test_bed, shape, time)?;
        for _ in 1..TRIES {
            if server(&result)?.lines_per_write.is_none() {
                result = flood(&mut test_bed, shape, time)?;
            }
        }
        let result = with_limit(result)?;
        let server = server(&result)?;
        Ok(Cost {
            in_flight,
            lines_per_write: server.lines_per_write,
            deliveries_per_second: result.outcome.deliveries_per_second,
            cpu_ns_per_delivery: server.cpu_ns_per_delivery,
            limit_cpu_ns_per_delivery: result.outcome.limit.as_ref().map(|limit| limit.cpu_ns_per_delivery),
        })
    };
    in_flight.iter().map(|&in_flight| measure(in_flight)).collect()
}

/// Measures each number of quiet connections on a server of its own.
pub(crate) fn memory(connections: &[usize]) -> Result<Vec<Memory>> {
    let measure = |&connections: &usize| {
        let mut test_bed = test_bed(&[])?;
        let rooms = connections / FEW;
        let command = format!("idle --connections {connections} --rooms {rooms} --duration 1s");
        let result = run(&mut test_bed, &command)?;
        let server = server(&result)?;
        Ok(Memory {
            connections,
            rss_bytes: server.rss_bytes,
            rss_bytes_per_connection: server.rss_bytes_per_connection,
            joins_per_second: result.outcome.join.per_second,
        })
    };
    connections.iter().map(measure).collect()
}

/// Starts a server without bounds on a sender's rate.
fn test_bed(arguments: &[&str]) -> Result<TestBed> {
    let all = NO_RATE_BOUNDS.iter().chain(arguments).map(ToString::to_string);
    TestBed::spawn(Path::new(SERVER), all.collect())
}

fn flood(test_bed: &mut TestBed, shape: Shape, time: &str) -> Result<TestResult> {
    let Shape { rooms, members, in_flight } = shape;
    let connections = rooms * members;
    let command = format!(
        "flood --connections {connections} --rooms {rooms} --in-flight {in_flight} --warmup 500ms --duration {time}"
    );
    run(test_bed, &command)
}

/// Runs `loadtest` with these arguments. Fails if a line was lost or nothing was measured.
fn run(test_bed: &mut TestBed, command: &str) -> Result<TestResult> {
    let cli = Cli::try_parse_from(["loadtest"].into_iter().chain(command.split(' ')))?;
    let (scenario, plan) = plan(&cli, test_bed.target())?;
    let result = test_bed.run(scenario, &plan)?;
    match result.verdict.kind {
        VerdictKind::Good | VerdictKind::Saturated => Ok(result),
        VerdictKind::Wrong | VerdictKind::Incomplete => bail!("loadtest {command}: {}", result.verdict.text),
    }
}

fn plan(cli: &Cli, target: SocketAddr) -> Result<(&'static str, Plan)> {
    match &cli.scenario {
        Scenario::Flood(flood) => Ok(("flood", flood.plan(&cli.common, target))),
        Scenario::Idle(idle) => Ok(("idle", idle.plan(&cli.common, target))),
        _ => bail!("only `flood` and `idle` are measured here"),
    }
}

fn server(result: &TestResult) -> Result<&ServerFigures> {
    result.outcome.server.as_ref().context("the server's process cannot be looked at")
}
