//! Tables: a server's reply to an operator, for people.

use roomcast::config::units::{show_duration, show_memory};
use roomcast::text::sanitize::sanitize;
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// A column: the member of each entry, the title, and whether its values are numbers.
type Column = (&'static str, &'static str, bool);

const ROOMS: [Column; 2] = [("room", "ROOM", false), ("members", "MEMBERS", true)];

const PEERS: [Column; 8] = [
    ("connection", "CONNECTION", true),
    ("address", "ADDRESS", false),
    ("room", "ROOM", false),
    ("name", "NAME", false),
    ("lines", "LINES", true),
    ("backlog_bytes", "BACKLOG", true),
    ("idle_seconds", "IDLE", true),
    ("muted", "MUTED", false),
];

const BANS: [Column; 4] =
    [("network", "NETWORK", false), ("expires", "UNTIL", false), ("by", "BY", false), ("reason", "REASON", false)];

/// The listings: the member of the reply that has the entries, and their columns.
const LISTINGS: [(&str, &[Column]); 3] = [("rooms", &ROOMS), ("peers", &PEERS), ("bans", &BANS)];

/// Returns the text for the reply to a command that was done.
pub(super) fn render(reply: &Value, command: &[String]) -> String {
    if let Some(message) = reply["message"].as_str() {
        return message.lines().fold(String::new(), |out, line| out + &safe(line) + "\n");
    }
    let listing = LISTINGS.iter().find_map(|(member, columns)| Some((reply[*member].as_array()?, *columns)));
    match listing {
        Some((entries, columns)) => render_listing(entries, columns) + &render_rest(reply, command),
        None => render_members(reply),
    }
}

/// Returns a text without characters that control a terminal.
pub(super) fn safe(text: &str) -> String {
    sanitize(text.as_bytes()).replace('\t', " ")
}

/// Returns a table with a title for each column.
fn render_listing(entries: &[Value], columns: &[Column]) -> String {
    let titles = columns.iter().map(|(_, title, _)| (*title).to_owned()).collect();
    let row = |entry: &Value| columns.iter().map(|(member, _, _)| show(member, &entry[*member])).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(entries.iter().map(row)).collect();
    let are_numbers: Vec<bool> = columns.iter().map(|(_, _, is_number)| *is_number).collect();
    align(&rows, &are_numbers)
}

/// Returns how many entries are left out, and the command that lists them.
fn render_rest(reply: &Value, command: &[String]) -> String {
    let Some(left_out) = reply["left_out"].as_u64().filter(|count| *count > 0) else { return String::new() };
    let first_words = command.iter().take_while(|word| *word != "after").map(|word| safe(word));
    let next = show("next", &reply["next"]);
    format!("{left_out} more: roomcast ctl {} after {next}\n", first_words.collect::<Vec<_>>().join(" "))
}

/// Returns a line for each member of an object.
fn render_members(reply: &Value) -> String {
    let members = reply.as_object().into_iter().flatten().filter(|(member, _)| *member != "ok");
    let rows: Vec<Vec<String>> = members.map(|(member, value)| vec![safe(member), show(member, value)]).collect();
    align(&rows, &[false, false])
}

/// Returns rows whose columns have the width of their widest value on a terminal.
fn align(rows: &[Vec<String>], are_numbers: &[bool]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..are_numbers.len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((value, width), is_number) in row.iter().zip(&widths).zip(are_numbers) {
            let blanks = " ".repeat(width - value.width());
            let (before, after) = if *is_number { (&*blanks, "") } else { ("", &*blanks) };
            // A write to a string never fails.
            let _ = write!(line, "{before}{value}{after}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Returns a value as people read it; `-` for one that is missing.
fn show(member: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => safe(text),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        other => match other.as_u64() {
            Some(seconds) if member.ends_with("_seconds") => show_duration(Duration::from_secs(seconds)),
            Some(bytes) if member.ends_with("_bytes") => show_memory(bytes),
            _ => safe(&other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(command: &str) -> Vec<String> {
        command.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn columns_are_aligned_by_the_width_on_a_terminal() {
        let reply = json!({ "ok": true, "left_out": 0, "next": null, "bans": [
            { "network": "10.0.0.0/8", "expires": null, "reason": "来字かな", "by": "uid 0" },
            { "network": "2001:db8::/64", "expires": "2027-01-15T08:00:00Z", "reason": "x", "by": "łąka" },
        ]});
        let expected = "\
NETWORK        UNTIL                 BY     REASON
10.0.0.0/8     -                     uid 0  来字かな
2001:db8::/64  2027-01-15T08:00:00Z  łąka   x
";
        assert_eq!(render(&reply, &words("bans")), expected);
    }

    #[test]
    fn numbers_are_aligned_to_the_right_and_have_units() {
        let reply = json!({ "ok": true, "left_out": 37, "next": 104, "peers": [
            { "connection": 7, "address": "192.0.2.7:4711", "room": "lobby", "name": "alice", "lines": 12,
              "backlog_bytes": 0, "idle_seconds": 90, "muted": false },
            { "connection": 104, "busy": true },
        ]});
        let expected = "\
CONNECTION  ADDRESS         ROOM   NAME   LINES  BACKLOG   IDLE  MUTED
         7  192.0.2.7:4711  lobby  alice     12       0B  1m30s  no
       104  -               -      -          -        -      -  -
37 more: roomcast ctl peers in lobby after 104
";
        assert_eq!(render(&reply, &words("peers in lobby after 6")), expected);
    }

    #[test]
    fn message_and_members_are_shown_without_characters_that_control_a_terminal() {
        let reply = json!({ "ok": true, "message": "one\u{1b}[2J\ntwo" });
        assert_eq!(render(&reply, &words("help")), "one\ntwo\n");
        let reply =
            json!({ "ok": true, "connections": 3, "draining": false, "uptime_seconds": 61, "version": "\u{9b}1" });
        let expected = "connections     3\ndraining        no\nuptime_seconds  1m1s\nversion         1\n";
        assert_eq!(render(&reply, &words("stats")), expected);
    }
}
