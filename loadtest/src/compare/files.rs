//! The files of a comparison: results that `--json` wrote, or directories of them.
//!
//! A result may stand once: a run that counts twice would narrow the interval without a second measurement.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Run;
use crate::plan::UsageError;
use crate::scenario::CompareArgs;
use crate::test_result::{TestResult, split_run_number};

/// Reads the results of both sides.
///
/// # Errors
/// Fails when a file cannot be read or stands twice, when a directory has no results or those of several rows, or when the
/// arguments name no second side.
pub(super) fn read_sides(args: &CompareArgs) -> Result<(Vec<Run>, Vec<Run>)> {
    let (first, second) = match (args.first.as_slice(), args.to.as_slice()) {
        ([first, second], []) => (vec![first.clone()], vec![second.clone()]),
        (_, []) => {
            bail!(UsageError::new("give two results, or several with --to before those of the second side".into()))
        }
        (first, second) => (first.to_vec(), second.to_vec()),
    };
    let mut seen = BTreeSet::new();
    Ok((read_side(&first, &mut seen)?, read_side(&second, &mut seen)?))
}

/// Reads the results of one side, and adds their files to `seen`.
fn read_side(paths: &[PathBuf], seen: &mut BTreeSet<PathBuf>) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in paths {
        let files = if path.is_dir() { list_results(path)? } else { vec![path.clone()] };
        for file in files {
            let run = Run::new(file.display().to_string(), TestResult::read(&file)?)?;
            if !seen.insert(file.canonicalize().unwrap_or(file)) {
                bail!(UsageError::new(format!("{} is given twice: one run counts once", run.name)));
            }
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Returns the results in a directory in the order of their runs.
fn list_results(directory: &Path) -> Result<Vec<PathBuf>> {
    let read =
        || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect() };
    let mut files = read().with_context(|| format!("cannot read {}", directory.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort_by_cached_key(|file| split_run_number(file));
    let numbered = files.iter().map(|file| split_run_number(file)).filter(|(_, number)| number.is_some());
    let rows: BTreeSet<String> = numbered.map(|(row, _)| row).collect();
    if rows.len() > 1 {
        let rows = rows.into_iter().collect::<Vec<_>>().join(", ");
        bail!(UsageError::new(format!("{} has runs of {rows}: name the files of one side", directory.display())));
    }
    if files.is_empty() {
        bail!(UsageError::new(format!("{} has no results: no file ends in .json", directory.display())));
    }
    Ok(files)
}
