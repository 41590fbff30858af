//! The result of a zoo, as `--json` keeps it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attack::AttackReport;
use crate::histogram::Percentiles;
use crate::machine::Machine;
use crate::verdict::{Verdict, VerdictKind};

/// The result of a zoo or of a soak.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ZooResult {
    /// The generator's version.
    pub version: String,
    /// Every parameter of the run.
    pub parameters: Map<String, Value>,
    /// The arguments of both servers. Without arguments they have their default bounds.
    pub server_arguments: Vec<String>,
    /// The machine of the run.
    pub machine: Machine,
    /// The bound of the server's memory.
    pub ceiling: Ceiling,
    /// The figures of the phase without an attack.
    pub calm: PhaseFigures,
    /// The results of the kinds that ran.
    pub kinds: Vec<KindResult>,
    /// The result of `--soak`.
    pub soak: Option<SoakResult>,
    /// The verdict on all of it.
    pub verdict: Verdict,
}

/// The bound of the server's memory, and where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ceiling {
    /// The bound in bytes.
    pub bytes: u64,
    /// The place that names it.
    pub source: String,
}

/// The figures of the good clients in one phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PhaseFigures {
    /// Time from a line's planned time to its arrival at a member.
    pub latency_us: Percentiles,
    /// The 99th percentile of the generator's own delay in sending, which is part of the latency.
    pub send_lag_p99_us: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that never arrived.
    pub lost: u64,
    /// Good clients that the server closed.
    pub closed: u64,
    /// The violations or the failure of the phase in one line; empty where all is well.
    pub problem: String,
    /// The reason why the generator was the bottleneck; empty where it was not.
    pub saturated: String,
    /// Cores that the attacked server used; in a calm phase, those of the good clients' server.
    pub server_cores: f64,
    /// Cores that the generator of the good clients used.
    pub generator_cores: f64,
    /// The work of the attack.
    pub attack: Option<AttackReport>,
    /// Cores that the attacking process used.
    pub attack_cores: f64,
}

/// The highest memory of a server during a phase, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemoryPeak {
    /// Resident memory at the highest sum.
    #[serde(rename = "rss_bytes")]
    pub rss: u64,
    /// Growth of the kernel's TCP memory, of the whole machine, at the highest sum.
    #[serde(rename = "kernel_bytes")]
    pub kernel: u64,
}

impl MemoryPeak {
    /// Returns the sum of both.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.rss + self.kernel
    }
}

/// The observations of one kind in one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Observation {
    /// The phase in which the control server was attacked.
    pub control: PhaseFigures,
    /// The phase in which the good clients' server was attacked.
    pub here: PhaseFigures,
    /// The memory of the good clients' server during its phase.
    pub memory: MemoryPeak,
    /// Seconds from the attack's end until the server was idle; `None` when it was not within the bound.
    #[serde(rename = "idle_after_seconds")]
    pub idle_after: Option<f64>,
    /// Descriptors of the server that the attack left open.
    pub descriptors_left: u64,
    /// The rooms and members that the attack left, as a probe saw them; empty where the probe saw itself only.
    pub left_over: String,
    /// How the server ended; empty while it runs.
    pub server_ended: String,
}

/// The result of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KindResult {
    /// The kind's name.
    pub name: String,
    /// The attack in one line.
    pub about: String,
    /// The sockets of the bad clients.
    pub sockets: usize,
    /// The rounds that were measured.
    pub rounds: usize,
    /// The round with the median ratio.
    #[serde(flatten)]
    pub seen: Observation,
    /// The 99th percentile here, divided by the highest of control, calm and floor.
    pub ratio: f64,
    /// The kind of the verdict.
    pub kind: VerdictKind,
    /// The effects of the attack; empty where it had none.
    pub faults: Vec<String>,
}

/// One sample of a soak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SoakSample {
    /// Seconds since the attack began.
    #[serde(rename = "at_seconds")]
    pub at: f64,
    /// Resident memory in bytes.
    #[serde(rename = "rss_bytes")]
    pub rss: u64,
    /// Growth of the kernel's TCP memory in bytes.
    #[serde(rename = "kernel_bytes")]
    pub kernel: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// The result of a soak.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SoakResult {
    /// The figures of the good clients over the whole time.
    pub phase: PhaseFigures,
    /// One sample a second.
    pub samples: Vec<SoakSample>,
    /// Seconds since the start and the 99th percentile in microseconds, for each period.
    pub p99_us: Vec<(f64, u64)>,
    /// How often all bad clients were replaced.
    pub churns: u64,
    /// The means and medians of the first and of the last third.
    pub thirds: Vec<(String, f64, f64)>,
    /// The effects of the attack; empty where it had none.
    pub faults: Vec<String>,
}
