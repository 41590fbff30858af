//! The results of a bench: its figures as JSON, its plots, and its section of `results.md`.
#![allow(dead_code, reason = "each bench uses its part")]

mod environment;

use anyhow::{Context, Result};
use environment::Environment;
use loadtest::plot::{Axes, Series, chart, standalone};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names the directory of results.
const DIRECTORY: &str = "ROOMCAST_RESULTS";
/// The file that all benches share.
const SHARED: &str = "results.md";
/// The head of the shared file.
const HEAD: &str = "\
# What the benches measured

`ROOMCAST_RESULTS=benches/results cargo bench` writes this file, the plots, and the JSON files beside it, which have
every figure in full. Absolute figures move from run to run and from machine to machine: compare within one section.
";
/// The start of each section.
const SECTION: &str = "\n## ";
/// The sections' titles in their order.
const SECTIONS: [&str; 3] = [FANOUT, MEMBERSHIP, SCALABILITY];

/// The section of `benches/fanout.rs`.
pub(crate) const FANOUT: &str = "Fan-out in memory";
/// The section of `benches/membership.rs`.
pub(crate) const MEMBERSHIP: &str = "Joining and leaving";
/// The section of `benches/scalability.rs`.
pub(crate) const SCALABILITY: &str = "The whole server over loopback";

/// Returns whether the bench measures, and not only runs as a test. Criterion decides by the same options.
pub(crate) fn measuring() -> bool {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    given("--bench") && !given("--test")
}

/// Formats a count on an axis.
pub(crate) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

/// One bench's results.
pub(crate) struct Report {
    /// The name of the bench and of its files.
    bench: &'static str,
    /// The title of its section.
    title: &'static str,
    /// Its section, as Markdown.
    text: String,
    /// Its plots: file name and SVG.
    plots: Vec<(String, String)>,
}

/// The content of the JSON file.
#[derive(Serialize)]
struct ResultFile<'a, F> {
    #[serde(flatten)]
    environment: &'a Environment,
    figures: F,
}

impl Report {
    /// Creates an empty report of `bench`. `title` is one of the sections' titles.
    pub(crate) fn new(bench: &'static str, title: &'static str) -> Self {
        Self { bench, title, text: String::new(), plots: Vec::new() }
    }

    /// Adds a paragraph.
    pub(crate) fn add_paragraph(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "\n{text}");
    }

    /// Adds a table whose columns are aligned in plain text.
    pub(crate) fn add_table(&mut self, header: &[&str], rows: &[Vec<String>]) {
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
    pub(crate) fn add_plot(&mut self, name: &str, axes: &Axes<'_>, series: &[Series]) {
        let file = format!("{}-{name}.svg", self.bench);
        let _ = writeln!(self.text, "\n![{}]({file})", axes.title);
        self.plots.push((file, standalone(&chart(axes, series))));
    }

    /// Prints the report and writes its files, unless the bench runs as a test.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(self, figures: impl Serialize) -> Result<()> {
        // One iteration of each case measures nothing.
        if !measuring() {
            return Ok(());
        }
        println!("\n{}\n{}", self.title, self.text);
        let directory = directory();
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let environment = Environment::here(self.bench);
        let json = serde_json::to_string_pretty(&ResultFile { environment: &environment, figures })?;
        save(&directory, &format!("{}.json", self.bench), &(json + "\n"))?;
        for (file, svg) in &self.plots {
            save(&directory, file, svg)?;
        }
        let shared = fs::read_to_string(directory.join(SHARED)).unwrap_or_default();
        let part = format!("{}\n\n{environment}\n{}", self.title, self.text);
        save(&directory, SHARED, &with_section(&shared, self.title, &part))?;
        println!("written to {}", directory.display());
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

/// Returns the shared file with one section replaced. The other sections stay, in their order.
fn with_section(shared: &str, title: &str, part: &str) -> String {
    let old = |wanted: &str| shared.split(SECTION).skip(1).find(|old| old.lines().next() == Some(wanted));
    let parts = SECTIONS.into_iter().filter_map(|wanted| if wanted == title { Some(part) } else { old(wanted) });
    parts.fold(HEAD.to_owned(), |text, part| text + SECTION + part.trim_end() + "\n")
}
