//! The JSON of `--json`: a result with its version, its time and its command line.
//!
//! `schema/result.schema.json` describes the JSON of a run, and `limit.schema.json` and `zoo.schema.json` those of `limit`
//! and `zoo`. A test derives the schemas from the types and compares them with the files.

use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::test_result::SCHEMA_VERSION;

/// The JSON schema of a run's result.
pub const RESULT_SCHEMA: &str = include_str!("../../schema/result.schema.json");

/// A result of `loadtest` with its version, time and command line.
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
        command_line: hide_token(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned())),
        result,
    })?;
    if json.get("window_seconds").and_then(Value::as_f64) == Some(0.0) {
        for rate in ["deliveries_per_second", "bytes_per_second"] {
            json[rate] = Value::Null;
        }
    }
    Ok(json)
}

/// Returns arguments without the value of `--token`: results are published.
fn hide_token(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_value = false;
    let hide = |argument: String| {
        let is_secret = std::mem::replace(&mut is_value, argument == "--token");
        match argument.strip_prefix("--token=") {
            Some(_) => "--token=…".into(),
            None if is_secret => "…".into(),
            None => argument,
        }
    };
    arguments.map(hide).collect()
}

/// Renders JSON with one value on each line.
#[must_use]
pub fn render(json: &Value) -> String {
    format!("{json:#}\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn token_is_no_part_of_a_result() {
        let arguments = ["loadtest", "--token", "SECRET", "steady", "--token=SECRET", "--json", "a.json"];
        let shown = super::hide_token(arguments.map(String::from).into_iter());
        assert_eq!(shown, ["loadtest", "--token", "…", "steady", "--token=…", "--json", "a.json"]);
    }

    use std::path::Path;

    use schemars::JsonSchema;
    use schemars::generate::SchemaSettings;

    use super::*;
    use crate::limit::Limit;
    use crate::test_result::TestResult;
    use crate::zoo::ZooResult;

    /// The environment variable with which the test writes the schemas instead of comparing them.
    const WRITE_SCHEMAS: &str = "WRITE_SCHEMAS";

    /// Returns the schema of a document with a result of type `T`.
    fn schema<T: JsonSchema + 'static>() -> String {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        render(generator.into_root_schema_for::<Document<'static, T>>().as_value())
    }

    #[test]
    fn committed_schemas_are_those_of_the_types() {
        let schemas =
            [("result", schema::<TestResult>()), ("limit", schema::<Limit>()), ("zoo", schema::<ZooResult>())];
        for (name, derived) in schemas {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(format!("{name}.schema.json"));
            if std::env::var_os(WRITE_SCHEMAS).is_some() {
                std::fs::write(&path, &derived).unwrap();
            }
            let committed = std::fs::read_to_string(path).unwrap_or_default();
            assert!(derived == committed, "the types of {name} have changed: run this test with {WRITE_SCHEMAS}=1");
        }
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
