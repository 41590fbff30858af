//! The bound of a server's memory: as the server prints it, as its arguments give it, or its documented default.

use super::result::Ceiling;
use crate::machine::Machine;

/// The divisor of the machine's memory in the server's default bound.
const DEFAULT_DIVISOR: u64 = 4;

/// Returns the bound that a server's printed lines name, or its arguments, or else a quarter of the machine's memory.
pub(super) fn find_ceiling(lines: &[String], arguments: &[String], machine: &Machine) -> Ceiling {
    let printed = lines.iter().find_map(|line| Some((size_after_memory(line)?, line.as_str())));
    if let Some((bytes, line)) = printed {
        return Ceiling { bytes, source: format!("printed by the server: {}", line.trim()) };
    }
    if let Some(bytes) = argument(arguments) {
        return Ceiling { bytes, source: "given to the server with --memory".into() };
    }
    let bytes = machine.memory_bytes / DEFAULT_DIVISOR;
    Ceiling { bytes, source: "a quarter of this machine's memory, as the server printed no bound".into() }
}

/// Returns the value of `--memory` in a server's arguments.
fn argument(arguments: &[String]) -> Option<u64> {
    let value = arguments.iter().enumerate().find_map(|(at, argument)| match argument.strip_prefix("--memory") {
        Some("") => arguments.get(at + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    parse_size(value?)
}

/// Returns the first size after the word `memory` in a line.
fn size_after_memory(line: &str) -> Option<u64> {
    let rest = &line[line.to_ascii_lowercase().find("memory")? + "memory".len()..];
    let words: Vec<&str> = rest.split([' ', ',', ';', ':', '(', ')', '=']).filter(|word| !word.is_empty()).collect();
    (0..words.len()).find_map(|at| {
        let with_unit = words.get(at + 1).and_then(|unit| parse_size(&format!("{}{unit}", words[at])));
        with_unit.or_else(|| parse_size(words[at]))
    })
}

/// Parses `512MiB`, `1.5GiB`, `64KB` or a number of bytes.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_end_matches('.').to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    let bytes = std::time::Duration::try_from_secs_f64(number * unit as f64).ok()?;
    Some(bytes.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lines: &[&str], arguments: &[&str]) -> Ceiling {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let machine = Machine { memory_bytes: 8 << 30, ..Machine::default() };
        find_ceiling(&owned(lines), &owned(arguments), &machine)
    }

    #[test]
    fn printed_bound_precedes_arguments_and_default() {
        let lines = ["join with: telnet localhost 4000", "memory ceiling 1.5GiB, Ctrl-C stops it"];
        assert_eq!(find(&lines, &["--memory", "1MiB"]).bytes, 3 << 29);
        assert_eq!(find(&["memory: at most 512 MiB in all"], &[]).bytes, 512 << 20);
        assert_eq!(find(&[], &["--memory", "256MiB"]).bytes, 256 << 20);
        assert_eq!(find(&[], &["-v", "--memory=64k"]).bytes, 64 << 10);
        assert_eq!(find(&["Ctrl-C stops it"], &["--rate", "0"]).bytes, 2 << 30);
    }

    #[test]
    fn line_without_a_size_names_no_bound() {
        assert_eq!(size_after_memory("memory is unlimited"), None);
        assert_eq!(size_after_memory("bounds: memory 100 connections"), Some(100));
        assert_eq!(parse_size("12parsecs"), None);
    }
}
