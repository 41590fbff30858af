//! The check that runs can be compared: the same work, on the same machine, with good results.
//!
//! A ratio tells something about two servers only where everything else is equal, so every parameter counts as work, also
//! one that a later version adds. These parameters are the exceptions:
//!
//! - `target`: the server's address.
//! - `protocol`: another server may speak another protocol, in which the same lines are sent.
//! - `threads`, `processes`: they divide the generator's work, and a generator that did not keep up has no good result.
//! - `workers`: they name the hosts that divide the work.
//! - `sources`: they provide ports, and a server accepts a connection from each address alike.
//! - `connecting`: it paces the joins, before any line is sent.
//! - `first_room`: it names the rooms.
//! - `patience_seconds`: it bounds waiting for a server that does not answer, which a good run never exhausts.
//! - `server_arguments`: they describe a server that was started for the run.
//!
//! The runs of one side must be equal in these, too, the address excepted. A difference between the sides is shown.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Rules, Run};
use crate::plan::UsageError;
use crate::verdict::VerdictKind;

/// The parameters that are no work.
pub(super) const EXCEPTIONS: [&str; 10] = [
    "target",
    "protocol",
    "threads",
    "processes",
    "sources",
    "connecting",
    "first_room",
    "patience_seconds",
    "server_arguments",
    "workers",
];
/// The exception in which runs of one side may differ: a server that is started for a run has a free port.
const ADDRESS: &str = "target";
/// The parameters that are a result of the run in the scenario `step`.
pub(super) const REACHED: [&str; 3] = ["lines_per_second_per_room", "connections", "rooms"];
/// The most results that an error names.
const MAX_NAMED: usize = 3;

/// Checks that all runs can be compared. Returns one line for each permitted difference.
///
/// # Errors
/// Fails when two runs differ in the work, in the machine or within a side, or when a result is not good; names the
/// parameter or the results.
pub(super) fn check(first: &[Run], second: &[Run], rules: &Rules) -> Result<Vec<String>> {
    let (Some(base), Some(other)) = (first.first(), second.first()) else {
        bail!(UsageError::new("a comparison needs a result on each side".into()));
    };
    let mut notes = Vec::new();
    for run in first.iter().chain(second) {
        check_work(base, run)?;
    }
    for side in [first, second] {
        check_side(side)?;
    }
    for run in first.iter().chain(second) {
        let Some(difference) = find_difference(&machine(base)?, &machine(run)?) else { continue };
        let text = format!("{} ({} and {})", difference, base.name, run.name);
        if !rules.across_machines {
            bail!(UsageError::new(format!(
                "results of different machines cannot be compared: {text}; --across-machines compares them all the same"
            )));
        }
        notes.push(format!("the machines differ, and the ratios are theirs, too: {text}"));
        break;
    }
    if !rules.include_bad {
        check_good(first.iter().chain(second))?;
    }
    for key in EXCEPTIONS.into_iter().filter(|key| *key != ADDRESS) {
        if let Some(difference) = parameter_difference(base, other, key) {
            notes.push(format!("{key} differs: {difference}"));
        }
    }
    if base.result.outcome.version != other.result.outcome.version {
        let versions = [base, other].map(|run| run.result.outcome.version.as_str());
        notes.push(format!("loadtest's version differs: {} and {}", versions[0], versions[1]));
    }
    Ok(notes)
}

/// Checks that a run had the same work as the first one.
fn check_work(base: &Run, run: &Run) -> Result<()> {
    let refuse = |what: &str, difference: &str| {
        let text = format!("different work cannot be compared: {what} is {difference} ({}, {})", base.name, run.name);
        Err(UsageError::new(text).into())
    };
    let scenarios = [base, run].map(|run| run.result.outcome.scenario.as_str());
    if scenarios[0] != scenarios[1] {
        return refuse("scenario", &scenarios.join(" and "));
    }
    let keys: BTreeSet<&String> =
        [base, run].into_iter().flat_map(|run| run.result.outcome.parameters.keys()).collect();
    for key in keys {
        let reached = base.result.outcome.scenario == "step" && REACHED.contains(&key.as_str());
        if reached || EXCEPTIONS.contains(&key.as_str()) {
            continue;
        }
        if let Some(difference) = parameter_difference(base, run, key) {
            return refuse(key, &difference);
        }
    }
    Ok(())
}

/// Checks that the runs of a side are equal in all parameters but the address: a median over two settings describes
/// neither.
fn check_side(side: &[Run]) -> Result<()> {
    for (run, key) in side.iter().flat_map(|run| EXCEPTIONS.map(|key| (run, key))) {
        if key == ADDRESS {
            continue;
        }
        if let Some(difference) = parameter_difference(&side[0], run, key) {
            bail!(UsageError::new(format!(
                "the runs of one side must be alike: {key} is {difference} ({}, {})",
                side[0].name, run.name
            )));
        }
    }
    Ok(())
}

/// Checks that all results are good.
fn check_good<'a>(runs: impl Iterator<Item = &'a Run>) -> Result<()> {
    let bad: Vec<String> = runs
        .filter(|run| run.result.verdict.kind != VerdictKind::Good)
        .map(|run| format!("{}: {}", run.name, run.result.verdict.text))
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    let more = match bad.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let named = bad[..bad.len().min(MAX_NAMED)].join("; ");
    bail!("results that are not good cannot be compared: {named}{more}: run them again, or add --include-bad")
}

/// Returns both values of a parameter, where they differ. A parameter that a result lacks counts as null.
fn parameter_difference(first: &Run, second: &Run, key: &str) -> Option<String> {
    let [first, second] =
        [first, second].map(|run| run.result.outcome.parameters.get(key).cloned().unwrap_or(Value::Null));
    (first != second).then(|| format!("{first} and {second}"))
}

/// Returns the machine of a run as JSON.
fn machine(run: &Run) -> Result<Value> {
    Ok(serde_json::to_value(&run.result.outcome.machine)?)
}

/// Returns the first property in which two machines differ, with both values.
fn find_difference(first: &Value, second: &Value) -> Option<String> {
    let (first, second) = (first.as_object()?, second.as_object()?);
    let different = first.iter().find(|(key, value)| second.get(*key) != Some(value));
    different.map(|(key, value)| format!("{key} is {value} and {}", second.get(key).unwrap_or(&Value::Null)))
}
