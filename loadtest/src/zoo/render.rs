//! The result of a zoo as a table for a terminal and as a Markdown page.

use std::fmt::Write as _;

use super::result::{KindResult, SoakResult, ZooResult};
use crate::attack;
use crate::format::{bytes, micros, thousands};

/// The heads of the table's columns.
const HEADS: [&str; 13] = [
    "kind",
    "sockets",
    "p50 calm",
    "control",
    "here",
    "p99 calm",
    "control",
    "here",
    "ratio",
    "lost",
    "CPU here",
    "memory peak",
    "idle after",
];

/// Renders the list of all kinds.
#[must_use]
pub fn render_kinds() -> String {
    let mut text = String::new();
    for kind in attack::kinds() {
        let _ = writeln!(text, "{:<15} {:>4} sockets  {}", kind.name, kind.sockets(), kind.about);
    }
    text
}

/// Renders the whole table for a terminal. Its last line is the verdict.
#[must_use]
pub fn render_table(result: &ZooResult) -> String {
    let mut text = heading(result);
    if let Some(soak) = &result.soak {
        soak_rows(&mut text, soak);
    } else {
        let rows: Vec<Vec<String>> = result.kinds.iter().map(|kind| cells(result, kind)).collect();
        let mut heads: Vec<String> = HEADS.iter().map(ToString::to_string).collect();
        heads.extend(["left over".to_owned(), "verdict".to_owned()]);
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([heads[column].len()]).max().unwrap_or(0)
        };
        for row in std::iter::once(&heads).chain(&rows) {
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(width(column) - cell.chars().count());
                match column {
                    0 => _ = write!(text, "  {cell}{pad}"),
                    _ if column + 1 == row.len() => _ = write!(text, "  {cell}"),
                    _ => _ = write!(text, "  {pad}{cell}"),
                }
            }
            text.push('\n');
        }
    }
    for kind in &result.kinds {
        for fault in &kind.faults {
            let _ = writeln!(text, "  {}: {fault}", kind.name);
        }
    }
    let _ = writeln!(text, "{}", result.verdict.text);
    text
}

/// Renders a Markdown page with the table, and the plot in the file that is named.
#[must_use]
pub fn render_markdown(result: &ZooResult, plot: &str) -> String {
    let title = if result.soak.is_some() { "Soak" } else { "Good clients beside bad ones" };
    let mut text = format!("# {title}\n\n```text\n{}```\n\n![]({plot})\n", heading(result));
    if let Some(soak) = &result.soak {
        let mut rows = String::new();
        soak_rows(&mut rows, soak);
        let _ = writeln!(text, "\n```text\n{rows}```");
    } else {
        let _ = writeln!(text, "\n| {} | left over | verdict |", HEADS.join(" | "));
        let _ = writeln!(text, "|---|{}---|---|", "---:|".repeat(HEADS.len() - 1));
        for kind in &result.kinds {
            let _ = writeln!(text, "| {} |", cells(result, kind).join(" | "));
        }
        text.push_str("\n| kind | attack |\n|---|---|\n");
        for kind in &result.kinds {
            let _ = writeln!(text, "| {} | {} |", kind.name, kind.about);
        }
        for kind in result.kinds.iter().filter(|kind| !kind.faults.is_empty()) {
            let _ = writeln!(text, "\n- {}: {}", kind.name, kind.faults.join("; "));
        }
    }
    let _ = writeln!(text, "\n{}", result.verdict.text);
    text
}

/// Describes the run in a few lines.
fn heading(result: &ZooResult) -> String {
    let value = |key: &str| result.parameters.get(key).map_or(String::new(), ToString::to_string);
    let number = |key: &str| value(key).trim_end_matches(".0").to_owned();
    let mut text = format!(
        "zoo: {} good clients, {} rooms, {} lines/s a room, {} bytes a line, {} s a phase, seed {}\n",
        value("connections"),
        value("rooms"),
        number("lines_per_second_per_room"),
        value("size_bytes"),
        number("each_seconds"),
        value("seed"),
    );
    if result.soak.is_some() {
        let _ = writeln!(text, "  soak              all kinds together for {} s", number("soak_seconds"));
    }
    let arguments = match &result.server_arguments[..] {
        [] => "none: its default bounds".to_owned(),
        arguments => arguments.join(" "),
    };
    let _ = writeln!(text, "  server arguments  {arguments}");
    let _ = writeln!(text, "  memory ceiling    {} ({})", bytes(result.ceiling.bytes as f64), result.ceiling.source);
    let machine = &result.machine;
    let _ = writeln!(text, "  machine           {} cores, {}, Linux {}", machine.cores, machine.cpu, machine.kernel);
    let (calm, lag) = (&result.calm, micros(result.calm.send_lag_p99_us));
    let _ = writeln!(
        text,
        "  calm              p50 {} p99 {} ({lag} of it the generator's own), server {:.0} % of a core",
        micros(calm.latency_us.p50),
        micros(calm.latency_us.p99),
        calm.server_cores * 100.0
    );
    text
}

/// Returns the cells of a kind's row.
fn cells(result: &ZooResult, kind: &KindResult) -> Vec<String> {
    let (calm, control, here) = (&result.calm, &kind.seen.control, &kind.seen.here);
    let mut left = Vec::new();
    if kind.seen.descriptors_left > 0 {
        left.push(format!("{} descriptors", thousands(kind.seen.descriptors_left)));
    }
    if !kind.seen.left_over.is_empty() {
        left.push("rooms or members".into());
    }
    let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
    let verdict = match kind.kind {
        crate::verdict::VerdictKind::Good => "good",
        crate::verdict::VerdictKind::Wrong => "WRONG",
        _ => "not measured",
    };
    vec![
        kind.name.clone(),
        thousands(kind.sockets as u64),
        micros(calm.latency_us.p50),
        micros(control.latency_us.p50),
        micros(here.latency_us.p50),
        micros(calm.latency_us.p99),
        micros(control.latency_us.p99),
        micros(here.latency_us.p99),
        format!("{:.2}", kind.ratio),
        thousands(here.lost),
        format!("{:.0} %", here.server_cores * 100.0),
        bytes(kind.seen.memory.sum() as f64),
        kind.seen.idle_after.map_or("not in 2 s".to_owned(), |seconds| format!("{seconds:.2} s")),
        left,
        verdict.into(),
    ]
}

/// Adds the figures of a soak.
fn soak_rows(text: &mut String, soak: &SoakResult) {
    let latency = &soak.phase.latency_us;
    let _ = writeln!(
        text,
        "  good clients      p50 {} p99 {} max {}, {} delivered, {} lost, {} closed",
        micros(latency.p50),
        micros(latency.p99),
        micros(latency.max),
        thousands(soak.phase.delivered),
        thousands(soak.phase.lost),
        thousands(soak.phase.closed),
    );
    if let Some(attack) = &soak.phase.attack {
        let _ = writeln!(
            text,
            "  bad clients       replaced {} times, {} connections, {} written, {} read, {} closed by the server",
            thousands(soak.churns),
            thousands(attack.connects),
            bytes(attack.bytes_written as f64),
            bytes(attack.bytes_read as f64),
            thousands(attack.closed_by_server),
        );
    }
    for (name, first, last) in &soak.thirds {
        let show = |value: f64| match name.as_str() {
            "memory" => bytes(value),
            _ => format!("{value:.0}"),
        };
        let factor = last / first.max(f64::MIN_POSITIVE);
        let _ =
            writeln!(text, "  {name:<17} first third {}, last third {}: {factor:.2} times", show(*first), show(*last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::VerdictKind;

    fn result() -> ZooResult {
        let mut result = ZooResult::default();
        let kind = |name: &str, kind| KindResult { name: name.into(), sockets: 1300, kind, ..KindResult::default() };
        result.kinds = vec![kind("who", VerdictKind::Good), kind("deaf", VerdictKind::Wrong)];
        result.kinds[1].seen.descriptors_left = 7;
        result.kinds[1].faults = vec!["7 descriptors stayed open".into()];
        result.verdict.text = "WRONG: deaf".into();
        result
    }

    #[test]
    fn table_has_a_row_for_each_kind_and_ends_with_the_verdict() {
        let text = render_table(&result());
        assert!(text.contains("none: its default bounds"), "{text}");
        assert!(text.contains("  who     1,300 ") && text.contains("7 descriptors  WRONG"), "{text}");
        assert!(text.ends_with("  deaf: 7 descriptors stayed open\nWRONG: deaf\n"), "{text}");
    }

    #[test]
    fn markdown_has_a_table_with_as_many_cells_in_each_row() {
        let text = render_markdown(&result(), "zoo.svg");
        let cells: Vec<usize> =
            text.lines().filter(|line| line.starts_with("| ")).map(|line| line.matches(" | ").count()).collect();
        assert_eq!(cells, [14, 14, 14, 1, 1, 1], "{text}");
        assert!(text.contains("![](zoo.svg)") && text.ends_with("WRONG: deaf\n"), "{text}");
    }

    #[test]
    fn list_has_one_line_for_each_kind() {
        assert_eq!(render_kinds().lines().count(), attack::kinds().count());
    }
}
