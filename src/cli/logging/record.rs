//! Records: one line of text or one JSON object for each, without control characters.

use std::fmt::{Debug, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The field of the event's own text.
const MESSAGE: &str = "message";

/// The form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    /// Text with escape sequences that color the level.
    ColoredText,
    Json,
}

/// Collects the parts of a record.
struct RecordVisitor {
    style: Style,
    message: String,
    /// The other fields, each after a separator.
    fields: String,
}

/// Returns a record as a line, with its LF.
pub(super) fn format_record(event: &Event<'_>, style: Style, now: SystemTime) -> String {
    let mut visitor = RecordVisitor { style, message: String::new(), fields: String::new() };
    event.record(&mut visitor);
    let RecordVisitor { message, fields, .. } = visitor;
    // The texts of events are constants; this holds if one of them ever has a value in it.
    let message = if style == Style::Json { json_string(&message) } else { escape_controls(&message) };
    let (time, level) = (humantime::format_rfc3339_micros(now), *event.metadata().level());
    match style {
        Style::Json => {
            let level = level.as_str().to_ascii_lowercase();
            format!("{{\"ts\":\"{time}\",\"level\":\"{level}\",\"event\":{message}{fields}}}\n")
        }
        Style::Text => format!("{time} {:>5} {message}{fields}\n", level.as_str()),
        Style::ColoredText => {
            let color = color_of(level);
            format!("{time} \u{1B}[{color}m{:>5}\u{1B}[0m {message}{fields}\n", level.as_str())
        }
    }
}

/// Returns the number of the color of a level (ECMA-48, SGR).
fn color_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

impl RecordVisitor {
    /// Adds a field whose value is shown as it is.
    fn push_raw(&mut self, field: &Field, value: &str) {
        match self.style {
            Style::Json => self.fields.extend([",\"", field.name(), "\":", value]),
            Style::Text | Style::ColoredText => self.fields.extend([" ", field.name(), "=", value]),
        }
    }
}

impl Visit for RecordVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.style {
            _ if field.name() == MESSAGE => self.message.push_str(value),
            Style::Json => self.push_raw(field, &json_string(value)),
            Style::Text | Style::ColoredText => self.push_raw(field, &format!("{value:?}")),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_raw(field, &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_raw(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_raw(field, if value { "true" } else { "false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match self.style {
            _ if field.name() == MESSAGE => self.message.push_str(&text),
            Style::Text | Style::ColoredText if is_plain(&text) => self.push_raw(field, &text),
            _ => self.record_str(field, &text),
        }
    }
}

/// Returns whether a value needs no quotes beside other fields.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Returns a text with its control characters escaped.
fn escape_controls(text: &str) -> String {
    let escape = |shown: String, c: char| {
        if c.is_control() { shown + &c.escape_default().to_string() } else { shown + c.encode_utf8(&mut [0; 4]) }
    };
    text.chars().fold(String::with_capacity(text.len()), escape)
}

/// Returns a text as a JSON string (RFC 8259, section 7), with every control character escaped.
fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // Line ends of Unicode, too: each record is one line.
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                // Writing to a String can't fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::with_default;
    use tracing::{Metadata, Subscriber, error, info, warn};

    /// Collects the records of a thread at a fixed time.
    #[derive(Clone)]
    struct Collector(Style, Arc<Mutex<String>>);

    impl Subscriber for Collector {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &Event<'_>) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_234_567_000_042);
            self.1.try_lock().unwrap().push_str(&format_record(event, self.0, now));
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn records(style: Style, log: impl FnOnce()) -> String {
        let collector = Collector(style, Arc::default());
        with_default(collector.clone(), log);
        collector.1.try_lock().unwrap().clone()
    }

    fn log_close() {
        let (room, name) = (Some("lobby"), None::<&str>);
        info!(connection = 7_u64, address = %"[::1]:4000", room, name, reason = "end of input", lines_in = 3, "closed");
    }

    #[test]
    fn text_is_a_line_with_the_time_the_level_the_event_and_the_fields() {
        assert_eq!(
            records(Style::Text, log_close),
            "1970-01-15T06:56:07.000042Z  INFO closed connection=7 address=[::1]:4000 room=\"lobby\" \
             reason=\"end of input\" lines_in=3\n"
        );
    }

    #[test]
    fn json_is_an_object_with_stable_names() {
        assert_eq!(
            records(Style::Json, log_close),
            "{\"ts\":\"1970-01-15T06:56:07.000042Z\",\"level\":\"info\",\"event\":\"closed\",\"connection\":7,\
             \"address\":\"[::1]:4000\",\"room\":\"lobby\",\"reason\":\"end of input\",\"lines_in\":3}\n"
        );
    }

    #[test]
    fn colors_are_of_the_level_alone() {
        let record = records(Style::ColoredText, || error!(rooms = -1, "failed"));
        assert_eq!(record, "1970-01-15T06:56:07.000042Z \u{1B}[31mERROR\u{1B}[0m failed rooms=-1\n");
    }

    #[test]
    fn values_of_any_text_stay_on_one_line_and_can_be_read_back() {
        let hostile = "a\"b\\c\nd\u{1B}[2J\u{7F}\u{9B}\u{2028}é = x";
        for (style, is_json) in [(Style::Text, false), (Style::Json, true)] {
            let log = || warn!(text = hostile, debug = ?hostile, display = %hostile, is_on = true, "event\n\u{1B}");
            let record = records(style, log);
            assert!(record.ends_with('\n') && record.lines().count() == 1, "{record:?}");
            let is_control = |c: char| c.is_control() && c != '\n';
            assert!(!record.contains(is_control) && !record.contains('\u{2028}'), "{record:?}");
            if is_json {
                let value: serde_json::Value = serde_json::from_str(&record).unwrap();
                assert_eq!((&value["text"], &value["display"]), (&hostile.into(), &hostile.into()));
                assert_eq!((&value["event"], &value["is_on"]), (&"event\n\u{1B}".into(), &true.into()));
            }
        }
    }

    #[test]
    fn displayed_value_is_quoted_where_it_would_look_like_another_field() {
        let record =
            records(Style::Text, || info!(pause = ?Duration::from_millis(10), reason = %"a b=c", empty = %"", "e"));
        assert!(record.ends_with(" INFO e pause=10ms reason=\"a b=c\" empty=\"\"\n"), "{record}");
    }
}
