//! Tables of the report.

use std::fmt::Write as _;

use serde_json::Value;

use crate::format::bytes;
use crate::markup::escape;
use crate::outcome::Outcome;

/// Returns a table with these names of columns. All texts are escaped. The first column holds names, and the others hold
/// figures; a last column with the name `result` or `description` holds text.
#[must_use]
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let class = |index: usize| match columns.get(index) {
        Some(&("result" | "description")) => " class=\"text\"",
        _ => "",
    };
    let mut html = "<div class=\"scroll\"><table>\n<tr>".to_owned();
    // Writing to a string cannot fail.
    for (index, column) in columns.iter().enumerate() {
        let _ = write!(html, "<th{}>{}</th>", class(index), escape(column));
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            let _ = write!(html, "<{tag}{}>{}</{tag}>", class(index), escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html + "</table></div>\n"
}

/// Returns every parameter, the machine and the versions.
pub(super) fn parameter_section(outcome: &Outcome) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let given = outcome.parameters.iter().filter(|(_, value)| !value.is_null());
    let parameters: Vec<(&str, String)> = given.map(|(name, value)| (name.as_str(), text(value))).collect();
    let machine = &outcome.machine;
    let rest = [
        ("cores", machine.cores.to_string()),
        ("cpu", machine.cpu.clone()),
        ("memory", bytes(machine.memory_bytes as f64)),
        ("kernel", machine.kernel.clone()),
        ("loadtest", outcome.version.clone()),
    ];
    format!("<h2>Parameters</h2>\n{}<h2>Machine and versions</h2>\n{}", pairs(&parameters), pairs(&rest))
}

/// Returns a table of names and texts.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let mut html = "<div class=\"scroll\"><table class=\"pairs\">\n".to_owned();
    for (name, value) in rows {
        let _ = writeln!(html, "<tr><th>{}</th><td class=\"text\">{}</td></tr>", escape(name), escape(value));
    }
    html + "</table></div>\n"
}
