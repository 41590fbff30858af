//! A test bed: a server and the means to run several plans against it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::coordinator::{self, RunRecord};
use crate::output::console;
use crate::plan::Plan;
use crate::probe::probe;
use crate::process::Process;
use crate::progress::{ProgressDisplay, ProgressMode};
use crate::server::Server;
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;
use crate::{interrupt, limit, open_files};

/// Time for which bare writes are measured after a run.
const LIMIT_DURATION: Duration = Duration::from_secs(1);

/// A server and the means to run plans against it.
#[derive(Debug)]
pub struct TestBed {
    target: SocketAddr,
    /// The servers that share the rooms; empty where the target is the only one.
    servers: Vec<SocketAddr>,
    process: Option<Process>,
    /// Connections that one process may open.
    max_connections: usize,
    /// The arguments of a spawned server.
    arguments: Vec<String>,
    /// Whether a run's progress is shown.
    shows_progress: bool,
    /// The spawned server, which stops when the test bed is dropped; `None` for an attached one.
    server: Option<Server>,
}

impl TestBed {
    /// Starts a server on a free port of this machine.
    ///
    /// # Errors
    /// Fails when the server does not start or does not print its address.
    pub fn spawn(program: &Path, arguments: Vec<String>) -> Result<Self> {
        // The server inherits the raised limit of open files.
        open_files::raise_limit()?;
        let server = Server::spawn(program, &arguments)?;
        let test_bed = Self::attach(server.address(), Some(server.pid()))?;
        Ok(Self { arguments, server: Some(server), ..test_bed })
    }

    /// Attaches to a running server. `pid` is its process on this machine, if known.
    ///
    /// # Errors
    /// Fails when the process cannot be read.
    pub fn attach(target: SocketAddr, pid: Option<u32>) -> Result<Self> {
        let max_connections = open_files::raise_limit()?;
        let process = pid.map(|pid| {
            Process::new(pid)
                .with_context(|| format!("--pid {pid} cannot be read: give the ID of a running process of this user"))
        });
        Ok(Self {
            target,
            servers: Vec::new(),
            process: process.transpose()?,
            max_connections,
            arguments: Vec::new(),
            shows_progress: true,
            server: None,
        })
    }

    /// Attaches to running servers that share their rooms.
    ///
    /// # Errors
    /// Fails when there is no server, or the limit of open files cannot be read.
    pub fn attach_to_all(servers: Vec<SocketAddr>) -> Result<Self> {
        let first = *servers.first().context("--servers names no server")?;
        Ok(Self { servers, ..Self::attach(first, None)? })
    }

    /// Returns the test bed without a display of progress.
    #[must_use]
    pub fn without_progress(self) -> Self {
        Self { shows_progress: false, ..self }
    }

    /// Returns the server's address; the first one's where several share the rooms.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// Returns the spawned server, if there is one.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Runs a plan on all servers of the test bed and judges it.
    ///
    /// # Errors
    /// Fails when the plan is invalid or the server does not accept connections.
    pub fn run(&mut self, scenario: &str, plan: &Plan) -> Result<TestResult> {
        let plan = &Plan { servers: self.servers.clone(), ..plan.clone() };
        plan.check()?;
        open_files::check_plan(plan, self.max_connections)?;
        probe(plan)?;
        let mut progress = self.shows_progress.then(|| ProgressDisplay::new(ProgressMode::of_stderr()));
        let mut run: RunRecord = coordinator::run(plan, self.process.as_ref(), &mut |snapshot| {
            if let Some(progress) = &mut progress {
                progress.show(snapshot);
            }
        })?;
        if let Some(progress) = &progress {
            progress.clear();
        }
        // A server that is about to end may be the cause of a failure, so its exit status is awaited then.
        let awaited = run.failure.is_some() && interrupt::caught_signal().is_none();
        let end = if awaited { Server::wait_exit_status } else { Server::exit_status };
        if let Some(how) = self.server.as_mut().and_then(end) {
            let before = run.failure.take().map_or(String::new(), |failure| format!(": {failure}"));
            run.failure = Some(format!("the spawned server {how}{before}"));
        }
        let mut result = TestResult::new(scenario, plan, &run);
        if let Some(server) = &self.server {
            result.outcome.parameters.insert("server_arguments".into(), self.arguments.clone().into());
            result.outcome.server_version = server.version().map(ToOwned::to_owned);
        }
        result.outcome.metrics = run.metrics;
        Ok(result)
    }
}

/// Measures bare writes with as many lines as the server put into one write, and adds them to the result.
///
/// # Errors
/// Fails when the limit of open files cannot be read.
pub fn with_limit(mut result: TestResult) -> Result<TestResult> {
    // A failed run has no figures to compare with bare writes.
    let whole = result.verdict.kind != VerdictKind::Incomplete && interrupt::caught_signal().is_none();
    let Some(figures) = result.outcome.server.as_ref().filter(|_| whole) else {
        return Ok(result);
    };
    let Some(lines) = figures.lines_per_write else { return Ok(result) };
    let delivered = result.outcome.counters.window_delivered.max(1);
    let line_bytes = usize::try_from(result.outcome.counters.window_bytes / delivered)?;
    let max_connections = open_files::raise_limit()? / 2;
    let sockets = usize::try_from(result.outcome.connections())?.min(max_connections);
    let lines = (1..4096_usize).find(|&count| count as f64 + 0.5 > lines).unwrap_or(4096);
    let mut found = match limit::measure(sockets, lines, line_bytes.max(1), LIMIT_DURATION) {
        Ok(found) => found,
        Err(error) => {
            console::print_note(&format!("loadtest: cannot measure the limit after this run: {error:#}"));
            return Ok(result);
        }
    };
    found.distance = Some(figures.cpu_ns_per_delivery / found.cpu_ns_per_delivery);
    result.outcome.limit = Some(found);
    Ok(result)
}
