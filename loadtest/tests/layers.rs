//! The import graph of the crate's modules has no circle.
//!
//! Each file of `src` belongs to the module of its first path component: `worker/sending.rs` belongs to `worker`. A
//! module imports every module that a `crate::` or `super::` path names in one of its files, tests excluded.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each module, the modules that it imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_import_each_other_in_no_circle() {
    let graph = import_graph(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(graph["worker"].contains("connection"), "the graph misses an import that exists: {graph:?}");
    assert_eq!(find_circle(&graph), None);
}

#[test]
fn circle_of_three_modules_is_found() {
    let mut graph = graph(&[("app", "plan"), ("plan", "worker"), ("worker", "clock"), ("clock", "plan")]);
    assert_eq!(find_circle(&graph).unwrap(), ["plan", "worker", "clock", "plan"]);
    graph.get_mut("clock").unwrap().clear();
    assert_eq!(find_circle(&graph), None);
}

#[test]
fn paths_lists_and_super_are_followed() {
    let text = "use crate::{alpha, beta::{One, Two}, gamma::Three};\nuse super::super::delta;\nuse super::sibling;\n\
                fn epsilon() { crate::zeta::call() }\npub(crate) fn eta() {}\n";
    let found = imports(text, &["worker".into(), "sending".into()]);
    assert_eq!(found, ["alpha", "beta", "delta", "gamma", "worker", "zeta"].map(String::from).into());
}

#[test]
fn comments_and_test_modules_are_not_followed() {
    let text = "// crate::alpha\n/// [`crate::beta`]\n#[cfg(test)]\nmod tests {\n    use crate::gamma;\n}\nuse crate::delta;\n";
    assert_eq!(imports(text, &["plan".into()]), ["delta".to_owned()].into());
}

/// Returns a graph with these imports.
fn graph(imports: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::new();
    for &(from, to) in imports {
        graph.entry(from.into()).or_default().insert(to.into());
    }
    graph
}

/// Returns the import graph of all source files below a directory. `lib.rs` and `main.rs` are no modules, and files
/// named `tests.rs` hold tests only.
fn import_graph(source: &Path) -> Graph {
    let mut graph = Graph::new();
    for file in rust_files(source) {
        let relative = file.strip_prefix(source).unwrap().with_extension("");
        let mut path: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        path.pop_if(|last| last == "mod");
        if path.last().is_some_and(|last| ["lib", "main", "tests"].contains(&last.as_str())) {
            continue;
        }
        let module = path[0].clone();
        let mut found = imports(&fs::read_to_string(&file).unwrap(), &path);
        found.remove(&module);
        graph.entry(module).or_default().extend(found);
    }
    graph
}

/// Returns all Rust files below a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns the top-level modules that the text of a file names, where `path` is the file's module path.
fn imports(text: &str, path: &[String]) -> BTreeSet<String> {
    let code = code_without_tests(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        found.extend(first_names(&code[at + "crate::".len()..]));
    }
    for (at, _) in code.match_indices("super::") {
        // The inner ones of `super::super::` are read together with the first.
        if code[..at].ends_with("super::") {
            continue;
        }
        let rest = code[at..].trim_start_matches("super::");
        let levels = (code.len() - at - rest.len()) / "super::".len();
        if levels < path.len() {
            found.insert(path[0].clone());
        } else {
            found.extend(first_names(rest));
        }
    }
    found
}

/// Returns a file's text without line comments and without the items after `#[cfg(test)]`.
fn code_without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let item = lines.next().unwrap_or_default();
            if item.trim_end().ends_with('{') {
                lines.by_ref().take_while(|line| *line != end).for_each(drop);
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// Returns the first name of a path, or the first name of each path where a list in braces follows.
fn first_names(rest: &str) -> Vec<String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let name = |text: &str| text.trim_start().chars().take_while(|&letter| is_name(letter)).collect::<String>();
    let Some(list) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&list[start..at]));
                start = at + 1;
            }
            '}' => {
                names.push(name(&list[start..at]));
                break;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty() && name != "self");
    names
}

/// Returns the modules of a circle, the first one repeated at the end; `None` where there is no circle.
fn find_circle(graph: &Graph) -> Option<Vec<String>> {
    let mut finished = BTreeSet::new();
    graph.keys().find_map(|module| walk(graph, module, &mut Vec::new(), &mut finished))
}

/// Follows the imports of a module depth first. `path` holds the modules that led to it.
fn walk(graph: &Graph, module: &str, path: &mut Vec<String>, finished: &mut BTreeSet<String>) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|one| one == module) {
        return Some(path[start..].iter().cloned().chain([module.to_owned()]).collect());
    }
    if finished.contains(module) {
        return None;
    }
    path.push(module.to_owned());
    let imports = graph.get(module).into_iter().flatten();
    let circle = imports.into_iter().find_map(|next| walk(graph, next, path, finished));
    path.pop();
    finished.insert(module.to_owned());
    circle
}
