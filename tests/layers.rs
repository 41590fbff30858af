//! The layers of `src`: a folder imports only folders below its own, and no two folders import each other.
//!
//! `LAYERS` is the order. A failure names the file and line of each import that breaks it. The documents that name
//! files of `src` and `tests` are checked here, too.

#![allow(clippy::expect_used, clippy::unwrap_used)]

#[path = "layers/imports.rs"]
mod imports;
#[path = "layers/paths.rs"]
mod paths;

use imports::{imports, module_of};
use paths::stale_paths;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The folders of `src` by layer, the lowest first. Folders of one layer may import each other, as
/// long as no circle comes of it.
const LAYERS: [&[&str]; 7] = [
    &["config", "text", "limits", "metrics"],
    &["peer"],
    &["room"],
    &["net", "protocol", "terminal", "http", "web"],
    &["connection"],
    &["admin", "cluster", "handover"],
    &["server", "cli"],
];

/// The folders of pure code, which import these folders and no other.
const PURE: [(&str, &[&str]); 2] = [("protocol", &["text", "limits"]), ("terminal", &["text", "limits"])];

/// Imports within a layer that are forbidden although no circle comes of them.
const FORBIDDEN: [(&str, &str); 1] = [("server", "cli")];

/// The crate's roots, which import from any layer and which no folder imports.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

/// The least number of lines in the documentation at the top of a folder's `mod.rs`.
const FOLDER_DOC_LINES: usize = 3;

/// One import from a folder into another.
#[derive(Clone, Debug)]
struct Edge {
    /// The importing file and line: `src/peer/mod.rs:10`.
    place: String,
    from: String,
    to: String,
    /// The imported path: `crate::room::Room`.
    path: String,
}

/// A file's path below `src`, and its text.
type Source = (String, String);

/// Returns every file of `src` outside tests, ordered by path.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((file, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.retain(|(file, _)| !file.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "transcripts.rs")));
    found.sort();
    found
}

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|folders| folders.contains(&folder))
}

/// Returns the imports of `sources` that lead from one folder into another, or into a root.
fn edges(sources: &[Source]) -> Vec<Edge> {
    let mut found = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| !ROOTS.contains(&&**file)) {
        let module = module_of(file);
        for import in imports(text, &module) {
            let to = import.path.first().filter(|first| layer(first).is_some() || is_folder(first, sources));
            let to = to.map_or(ROOTS[0], String::as_str);
            if to != module[0] {
                found.push(Edge {
                    place: format!("src/{file}:{}", import.line),
                    from: module[0].to_owned(),
                    to: to.to_owned(),
                    path: format!("crate::{}", import.path.join("::")),
                });
            }
        }
    }
    found
}

fn is_folder(name: &str, sources: &[Source]) -> bool {
    sources.iter().any(|(file, _)| module_of(file).first() == Some(&name))
}

/// Returns a line for each import that the order of layers or another rule forbids.
fn forbidden_imports(edges: &[Edge]) -> Vec<String> {
    let line = |edge: &Edge| {
        let Edge { place, from, path, .. } = edge;
        reason_against(edge).map(|reason| format!("{place}: {from} imports {path}: {reason}"))
    };
    edges.iter().filter_map(line).collect()
}

/// Returns why an import is forbidden, if it is.
fn reason_against(Edge { from, to, .. }: &Edge) -> Option<String> {
    if ROOTS.contains(&to.as_str()) {
        return Some(format!("an item of {to}, which is above all layers"));
    }
    let (Some(own), Some(other)) = (layer(from), layer(to)) else {
        let unknown = if layer(from).is_none() { from } else { to };
        return Some(format!("{unknown} has no layer; add it to LAYERS"));
    };
    if other > own {
        return Some(format!("{from} is in layer {own}, and {to} above it in layer {other}"));
    }
    if FORBIDDEN.contains(&(from, to)) {
        return Some(format!("{from} must not import {to}"));
    }
    let (_, allowed) = PURE.into_iter().find(|(pure, _)| pure == from)?;
    (!allowed.contains(&to.as_str())).then(|| format!("{from} is pure code and imports only {}", allowed.join(" and ")))
}

/// Returns a description of each circle of folders, with one import for each of its steps.
fn circles(edges: &[Edge]) -> Vec<String> {
    let mut steps: BTreeMap<&str, BTreeMap<&str, &Edge>> = BTreeMap::new();
    for edge in edges {
        steps.entry(&edge.from).or_default().entry(&edge.to).or_insert(edge);
    }
    let mut found = BTreeSet::new();
    for start in steps.keys() {
        walk(&steps, &mut vec![start], &mut found);
    }
    found.into_iter().collect()
}

/// Follows every import from the end of `way`, and notes each way that comes back to its start. Only the
/// first of a circle's folders by name notes it, so that each circle is found once.
fn walk<'a>(steps: &BTreeMap<&'a str, BTreeMap<&'a str, &Edge>>, way: &mut Vec<&'a str>, found: &mut BTreeSet<String>) {
    let (start, last) = (way[0], way[way.len() - 1]);
    for (next, _) in steps.get(last).into_iter().flatten() {
        if *next == start {
            let ends = way.iter().skip(1).chain([&start]);
            let lines = way.iter().zip(ends).map(|(from, to)| {
                let Edge { place, path, .. } = steps[from][to];
                format!("  {place}: {from} imports {path}")
            });
            let circle = way.iter().chain([&start]).copied().collect::<Vec<_>>().join(" → ");
            found.insert(format!("{circle}\n{}", lines.collect::<Vec<_>>().join("\n")));
        } else if *next > start && !way.contains(next) {
            way.push(next);
            walk(steps, way, found);
            way.pop();
        }
    }
}

/// Returns a line for each folder whose `mod.rs` says too little about it.
fn undocumented_folders(sources: &[Source]) -> Vec<String> {
    let faces = sources.iter().filter(|(file, _)| file.ends_with("/mod.rs"));
    let lines = |text: &str| text.lines().take_while(|line| line.starts_with("//!")).count();
    let short = faces.filter(|(_, text)| lines(text) < FOLDER_DOC_LINES);
    short
        .map(|(file, text)| format!("src/{file}:1: {} of at least {FOLDER_DOC_LINES} `//!` lines", lines(text)))
        .collect()
}

#[test]
fn imports_lead_only_to_lower_layers() {
    let forbidden = forbidden_imports(&edges(&sources()));
    assert!(forbidden.is_empty(), "imports against the order of layers:\n{}", forbidden.join("\n"));
}

#[test]
fn folders_import_each_other_without_a_circle() {
    let circles = circles(&edges(&sources()));
    assert!(circles.is_empty(), "circles of imports:\n{}", circles.join("\n"));
}

#[test]
fn each_folder_has_a_documentation_of_its_content() {
    let undocumented = undocumented_folders(&sources());
    assert!(undocumented.is_empty(), "folders with a short documentation:\n{}", undocumented.join("\n"));
}

#[test]
fn files_that_the_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |document: &str| fs::read_to_string(root.join(document)).unwrap();
    // The documentation of the crate is the part of lib.rs in `//!` lines, which are its first lines.
    let crate_docs: String = read("src/lib.rs").split_inclusive('\n').filter(|line| line.starts_with("//!")).collect();
    let documents =
        [("README.md", read("README.md")), ("tests/README.md", read("tests/README.md")), ("src/lib.rs", crate_docs)];
    let exists = |path: &Path| root.join(path).exists();
    let stale: Vec<String> =
        documents.iter().flat_map(|(document, text)| stale_paths(document, text, exists)).collect();
    assert!(stale.is_empty(), "documents name files that do not exist:\n{}", stale.join("\n"));
}

/// Returns the imports of invented files, each given by its path below `src`.
fn invented(files: &[(&str, &str)]) -> Vec<Edge> {
    let owned = |&(file, text): &(&str, &str)| (file.to_owned(), text.to_owned());
    edges(&files.iter().map(owned).collect::<Vec<_>>())
}

#[track_caller]
fn assert_one_forbidden_import(file: &str, text: &str, expected: &str) {
    assert_eq!(forbidden_imports(&invented(&[(file, text)])), [expected]);
}

#[test]
fn upward_import_is_reported_in_each_form() {
    let expected =
        "src/peer/mod.rs:3: peer imports crate::room::Room: peer is in layer 1, and room above it in layer 2";
    for text in [
        "\n\nuse crate::room::Room;",
        "\n\nuse super::room::Room as R;",
        "\nuse crate::{config::Config,\nroom::Room};",
        "use crate::{\n    config::{Config, SlowReader as S},\n    room::{Room},\n};",
        "mod inner {\n fn f() {\n let room = super::super::room::Room::<u8>::new(); } }",
        "\nconst QUOTE: [char; 2] = ['\"', '\\''];\nfn f<'a>(room: &'a crate::room::Room) {}",
    ] {
        assert_one_forbidden_import("peer/mod.rs", text, expected);
    }
}

#[test]
fn each_other_forbidden_import_is_reported_with_its_reason() {
    for (file, text, expected) in [
        (
            "terminal/keys.rs",
            "use crate::peer::Peer;",
            "terminal imports crate::peer::Peer: terminal is pure code and imports only text and limits",
        ),
        ("server/mod.rs", "use crate::cli::args;", "server imports crate::cli::args: server must not import cli"),
        (
            "room/mod.rs",
            "use crate::Config;",
            "room imports crate::Config: an item of lib.rs, which is above all layers",
        ),
        (
            "other/mod.rs",
            "use crate::text::names;",
            "other imports crate::text::names: other has no layer; add it to LAYERS",
        ),
    ] {
        assert_one_forbidden_import(file, text, &format!("src/{file}:1: {expected}"));
    }
}

#[test]
fn allowed_imports_and_paths_in_text_or_tests_are_not_reported() {
    let text = r##"
        //! Not an import: crate::server::Server.
        /* Nor this: /* crate::cli */ crate::server */
        use crate::peer::{self, events::PeerEvents};
        use super::roster::Roster;
        mod inner { use super::super::roster; }
        const TEXT: &str = "crate::server::Server \" crate::server::Server";
        const RAW: &str = r#"crate::server " crate::server"#;
        #[cfg(test)]
        use crate::server::{Server};
        #[cfg(test)]
        fn helper(bytes: [u8; 2]) { crate::server::run(bytes) }
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { use crate::connection::Connection; }
    "##;
    let edges = invented(&[("room/batch.rs", text), ("lib.rs", "pub use crate::server::Server;")]);
    let paths: Vec<&str> = edges.iter().map(|edge| edge.path.as_str()).collect();
    assert_eq!(paths, ["crate::peer", "crate::peer::events::PeerEvents"]);
    assert_eq!(forbidden_imports(&edges), [""; 0]);
}

#[test]
fn circle_is_reported_once_with_an_import_for_each_step() {
    let edges = invented(&[
        ("text/mod.rs", "use crate::limits::rate;"),
        ("limits/mod.rs", "\nuse crate::metrics::counters;"),
        ("metrics/counters.rs", "use crate::text::names;\nuse crate::text::messages;"),
        ("peer/mod.rs", "use crate::text::names;"),
    ]);
    assert_eq!(forbidden_imports(&edges), [""; 0], "a circle within a layer");
    let expected = "limits → metrics → text → limits
  src/limits/mod.rs:2: limits imports crate::metrics::counters
  src/metrics/counters.rs:1: metrics imports crate::text::names
  src/text/mod.rs:1: text imports crate::limits::rate";
    assert_eq!(circles(&edges), [expected]);
}

#[test]
fn folder_with_short_documentation_is_reported() {
    let files = [
        ("peer/mod.rs", "//! A peer.\n//!\n//! More.\n"),
        ("room/mod.rs", "//! A room.\n\nuse std::fmt;\n//! Not at the top.\n"),
        ("room/batch.rs", "//! A file.\n"),
    ];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    assert_eq!(undocumented_folders(&files), ["src/room/mod.rs:1: 1 of at least 3 `//!` lines"]);
}

#[test]
fn stale_path_is_reported_in_each_form() {
    let exists = |path: &Path| path == Path::new("src/here.rs") || path == Path::new("tests/here.rs");
    let text = "`src/here.rs`, [here](src/here.rs#L1), <https://example.org/src/gone.rs>, other/src/gone.rs,
        [web](https://example.org/), [top](#top)
        `src/gone.rs` and [gone](src/gone.rs), tests/gone.rs.
        [gone](src/gone)";
    let expected = [
        "README.md:3: src/gone.rs does not exist",
        "README.md:3: tests/gone.rs does not exist",
        "README.md:4: src/gone does not exist",
    ];
    assert_eq!(stale_paths("README.md", text, exists), expected);
    let relative = "[here](here.rs), [here](../src/here.rs), [gone](gone.rs)";
    assert_eq!(stale_paths("tests/README.md", relative, exists), ["tests/README.md:1: gone.rs does not exist"]);
    let item = "[item](room::roster::Roster), `src/gone.rs`";
    assert_eq!(stale_paths("src/lib.rs", item, exists), ["src/lib.rs:1: src/gone.rs does not exist"]);
}
