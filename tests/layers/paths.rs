//! Reads from a document which files of the package it names.

use std::path::{Component, Path, PathBuf};

/// The paths of a package's Rust files begin with one of these.
const FOLDERS: [&str; 2] = ["src/", "tests/"];

/// Returns a line for each file that a document names and that does not exist. `document` is the document's own path,
/// and every path is relative to the package's root. Links count in Markdown documents only: rustdoc checks those of
/// Rust files.
pub(crate) fn stale_paths(document: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut stale = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line_with_links = if has_extension(document, "md") { line } else { "" };
        let links = link_targets(line_with_links).map(|target| (target, resolve(folder, target)));
        let words = rust_files(line).map(|word| (word, PathBuf::from(word)));
        let mut missing: Vec<&str> =
            links.chain(words).filter(|(_, path)| !exists(path)).map(|(name, _)| name).collect();
        missing.sort_unstable();
        missing.dedup();
        stale.extend(missing.into_iter().map(|name| format!("{document}:{number}: {name} does not exist")));
    }
    stale
}

/// Returns the words of the form `src/….rs` and `tests/….rs`.
fn rust_files(line: &str) -> impl Iterator<Item = &str> {
    let is_path = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    let words = line.split(move |character| !is_path(character)).map(|word| word.trim_end_matches('.'));
    words.filter(|word| has_extension(word, "rs") && FOLDERS.iter().any(|folder| word.starts_with(folder)))
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|own| own == extension)
}

/// Returns the targets of Markdown links to files, without their fragments.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.filter(|target| !target.contains("://"));
    files.filter_map(|target| target.split('#').next()).filter(|target| !target.is_empty())
}

/// Returns the path that `target` names in a document of `folder`.
fn resolve(folder: &Path, target: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            component => path.push(component),
        }
    }
    path
}
