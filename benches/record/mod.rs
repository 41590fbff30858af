//! What a bench leaves behind: its figures as JSON, its plots, and its part of `results.md`.
#![allow(dead_code, reason = "each bench uses its part")]

mod frame;

use anyhow::{Context, Result};
use frame::Frame;
use loadtest::plot::{Axes, Series, chart};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where results go, if it is said.
const DIRECTORY: &str = "ROOMCAST_RESULTS";
/// The file that all benches share.
const SHARED: &str = "results.md";
/// What it begins with.
const HEAD: &str = "\
# What the benches measured

`ROOMCAST_RESULTS=benches/results cargo bench` makes this file anew, the plots, and the JSON files beside it, which have
every figure in full. Absolute figures move from run to run and from machine to machine: compare within one part.
";
/// Each part begins with it.
const PART: &str = "\n## ";
/// The parts in their order, by title.
const PARTS: [&str; 3] = [FANOUT, MEMBERSHIP, SCALABILITY];

/// The part of `benches/fanout.rs`.
pub(crate) const FANOUT: &str = "Fan-out in memory";
/// The part of `benches/membership.rs`.
pub(crate) const MEMBERSHIP: &str = "Joining and leaving";
/// The part of `benches/scalability.rs`.
pub(crate) const SCALABILITY: &str = "The whole server over loopback";

/// Whether figures are wanted, and not only a test that the bench runs: as criterion sees it.
pub(crate) fn measuring() -> bool {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    given("--bench") && !given("--test")
}

/// A count on an axis.
pub(crate) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// One bench's results.
pub(crate) struct Record {
    /// The bench's name, and that of its files.
    bench: &'static str,
    /// The title of its part.
    title: &'static str,
    /// Its part, as Markdown.
    text: String,
    /// Its plots: a file's name, and SVG.
    plots: Vec<(String, String)>,
}

/// What the JSON file has.
#[derive(Serialize)]
struct EncodedBatch<'a, F> {
    #[serde(flatten)]
    frame: &'a Frame,
    figures: F,
}

impl Record {
    /// Nothing yet, of `bench`; `title` is one of the parts'.
    pub(crate) fn new(bench: &'static str, title: &'static str) -> Self {
        Self { bench, title, text: String::new(), plots: Vec::new() }
    }

    /// Adds a paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "\n{text}");
    }

    /// Adds a table; its columns stand below each other in plain text, too.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let header: Vec<String> = header.iter().map(ToString::to_string).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&header).chain(rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(2)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let rule: Vec<String> = widths.iter().map(|width| format!("{}:", "-".repeat(width - 1))).collect();
        self.text.push('\n');
        for row in [&header, &rule].into_iter().chain(rows) {
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(self.text, "| {cell:>width$} ");
            }
            self.text.push_str("|\n");
        }
    }

    /// Adds a plot.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub(crate) fn plot(&mut self, name: &str, axes: &Axes<'_>, series: &[Series]) -> Result<()> {
        let file = format!("{}-{name}.svg", self.bench);
        let _ = writeln!(self.text, "\n![{}]({file})", axes.title);
        self.plots.push((file, chart(axes, series)?));
        Ok(())
    }

    /// Shows all of it and keeps it, if this is no test.
    ///
    /// # Errors
    /// When files cannot be written.
    pub(crate) fn finish(self, figures: impl Serialize) -> Result<()> {
        // One iteration of each case measures nothing.
        if !measuring() {
            return Ok(());
        }
        println!("\n{}\n{}", self.title, self.text);
        let directory = directory();
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let frame = Frame::here(self.bench);
        let sheet = serde_json::to_string_pretty(&EncodedBatch { frame: &frame, figures })?;
        save(&directory, &format!("{}.json", self.bench), &(sheet + "\n"))?;
        for (file, svg) in &self.plots {
            save(&directory, file, svg)?;
        }
        let shared = fs::read_to_string(directory.join(SHARED)).unwrap_or_default();
        let part = format!("{}\n\n{frame}\n{}", self.title, self.text);
        save(&directory, SHARED, &with_part(&shared, self.title, &part))?;
        println!("kept in {}", directory.display());
        Ok(())
    }
}

fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).map_or_else(|| Path::new("target").join("bench-results"), PathBuf::from)
}

fn save(directory: &Path, file: &str, text: &str) -> Result<()> {
    let path = directory.join(file);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The shared file with one part made anew; the other parts stay, and all stand in their order.
fn with_part(shared: &str, title: &str, part: &str) -> String {
    let old = |wanted: &str| shared.split(PART).skip(1).find(|old| old.lines().next() == Some(wanted));
    let parts = PARTS.into_iter().filter_map(|wanted| if wanted == title { Some(part) } else { old(wanted) });
    parts.fold(HEAD.to_owned(), |text, part| text + PART + part.trim_end() + "\n")
}
