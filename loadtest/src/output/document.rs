//! The JSON of `--json`: a result with its version, its time and its command line.
//!
//! `schema/result.schema.json` describes the JSON of a run. A test derives the schema from the types and compares both.

use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::test_result::SCHEMA_VERSION;

/// The JSON schema of a run's result.
pub const RESULT_SCHEMA: &str = include_str!("../../schema/result.schema.json");

/// A result of `loadtest`, and how it came about.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "result"))]
struct Document<'a, T> {
    /// The version of the names and units of this document.
    schema_version: u32,
    /// The start of the program, as RFC 3339 defines it, in UTC.
    started_at: String,
    /// The program and its arguments.
    command_line: Vec<String>,
    /// The result.
    #[serde(flatten)]
    result: &'a T,
}

/// Returns the JSON of a result. `started_at` is the time at which the program started.
///
/// # Errors
/// Fails when the result has no JSON form.
pub fn to_json(result: &impl Serialize, started_at: SystemTime) -> Result<Value> {
    let mut json = serde_json::to_value(Document {
        schema_version: SCHEMA_VERSION,
        started_at: humantime::format_rfc3339_seconds(started_at).to_string(),
        command_line: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        result,
    })?;
    if json.get("window_seconds").and_then(Value::as_f64) == Some(0.0) {
        for rate in ["deliveries_per_second", "bytes_per_second"] {
            json[rate] = Value::Null;
        }
    }
    Ok(json)
}

/// Renders JSON with one value on each line.
#[must_use]
pub fn render(json: &Value) -> String {
    format!("{json:#}\n")
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;

    use super::*;
    use crate::test_result::TestResult;

    /// The environment variable with which the test writes the schema instead of comparing it.
    const WRITE_SCHEMA: &str = "WRITE_SCHEMA";

    #[test]
    fn committed_schema_is_the_one_of_the_types() {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = generator.into_root_schema_for::<Document<'_, TestResult>>();
        let derived = render(schema.as_value());
        if std::env::var_os(WRITE_SCHEMA).is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/result.schema.json");
            std::fs::write(path, &derived).unwrap();
            return;
        }
        assert!(derived == RESULT_SCHEMA, "the types have changed: run this test with {WRITE_SCHEMA}=1, and commit");
    }

    #[test]
    fn rates_without_a_window_are_null() {
        let mut result = TestResult::default();
        let json = to_json(&result, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(json["started_at"], "1970-01-01T00:00:00Z");
        assert!(json["deliveries_per_second"].is_null() && json["bytes_per_second"].is_null(), "{json}");
        assert!(json["generator"]["cpu_ns_per_delivery"].is_null(), "{json}");
        result.outcome.window_seconds = 1.0;
        let json = to_json(&result, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(json["deliveries_per_second"], 0.0, "a measured zero");
    }
}
