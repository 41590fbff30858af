//! The figures of a result by their names: `latency_us.p99` is the path in the JSON, `p99` its short form.
//!
//! The JSON schema names all figures, so that a name is checked before the run.

use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;

use super::document::RESULT_SCHEMA;
use crate::histogram::Quantile;

/// The figures that have a short name, which tables show and options take, and their paths.
const SHORT_NAMES: [(&str, &str); 22] = [
    ("min", "latency_us.min"),
    ("mean", "latency_us.mean"),
    ("p50", "latency_us.p50"),
    ("p90", "latency_us.p90"),
    ("p99", "latency_us.p99"),
    ("p999", "latency_us.p999"),
    ("p99.9", "latency_us.p999"),
    ("max", "latency_us.max"),
    ("throughput", "deliveries_per_second"),
    ("deliveries/s", "deliveries_per_second"),
    ("joins/s", "join.per_second"),
    ("join-p99", "join.latency_us.p99"),
    ("return-p50", "returns.join_us.p50"),
    ("return-p99", "returns.join_us.p99"),
    ("join-cpu", "join.server_cpu_seconds"),
    ("ns/delivery", "server.cpu_ns_per_delivery"),
    ("server-cores", "server.cpu_share"),
    ("rss", "server.rss_bytes"),
    ("rss/connection", "server.rss_bytes_per_connection"),
    ("lines/write", "server.lines_per_write"),
    ("times-the-limit", "limit.distance"),
    ("generator-ns/delivery", "generator.cpu_ns_per_delivery"),
];
/// The number of similar names that an error lists.
const SIMILAR_NAMES: usize = 3;

/// A figure of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A number in the JSON, by its path.
    Path(String),
    /// A quantile of latency that `--percentiles` names.
    Quantile(Quantile),
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share of a whole, which is 1.
    Share,
    /// A number of something.
    Count,
}

impl Figure {
    /// Returns the figure with a name: a path, a short name, the last part of one path only, or a quantile among
    /// `quantiles`.
    ///
    /// # Errors
    /// Returns one line that lists similar names.
    pub fn find(name: &str, quantiles: &[Quantile]) -> Result<Self, String> {
        if let Some(path) = path_of(name) {
            return Ok(Self::Path(path.into()));
        }
        if let Some(quantile) = quantiles.iter().find(|quantile| quantile.to_string() == name) {
            return Ok(Self::Quantile(*quantile));
        }
        let paths = &*FIGURE_PATHS;
        if paths.iter().any(|path| path == name) {
            return Ok(Self::Path(name.into()));
        }
        let same_end: Vec<&str> = paths.iter().map(String::as_str).filter(|path| last_part(path) == name).collect();
        match same_end[..] {
            [path] => Ok(Self::Path(path.into())),
            [] => Err(unknown_figure(name, paths)),
            _ => Err(format!("`{name}` is the last part of {}: give one of these", same_end.join(", "))),
        }
    }

    /// Returns the figure that tables show under a name: one with a short name, or else one whose path is the name.
    #[must_use]
    pub fn in_tables(name: &str) -> Self {
        Self::Path(path_of(name).unwrap_or(name).into())
    }

    /// Returns the figure's value in a result; `None` where it was not measured.
    #[must_use]
    pub fn value(&self, result: &Value) -> Option<f64> {
        match self {
            Self::Path(path) => path.split('.').try_fold(result, |value, part| value.get(part))?.as_f64(),
            Self::Quantile(quantile) => {
                let quantile = serde_json::to_value(quantile).ok()?;
                let all = result.get("percentiles")?.as_array()?;
                all.iter().find(|entry| entry.get("quantile") == Some(&quantile))?.get("value_us")?.as_f64()
            }
        }
    }

    /// Returns the figure's unit, which its name contains.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let Self::Path(path) = self else { return Unit::Microseconds };
        if last_part(path) == "count" {
            return Unit::Count;
        }
        let unit = |word: &str| match word {
            "us" => Some(Unit::Microseconds),
            "ns" => Some(Unit::Nanoseconds),
            "seconds" => Some(Unit::Seconds),
            "bytes" => Some(Unit::Bytes),
            "share" => Some(Unit::Share),
            _ => None,
        };
        path.split(['.', '_']).find_map(unit).unwrap_or(Unit::Count)
    }
}

/// Shows the figure's path.
impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => formatter.write_str(path),
            Self::Quantile(quantile) => write!(formatter, "latency_us.{quantile}"),
        }
    }
}

/// Shows the unit after a space, and a count without one.
impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Microseconds => " µs",
            Self::Nanoseconds => " ns",
            Self::Seconds => " s",
            Self::Bytes => " bytes",
            Self::Share | Self::Count => "",
        })
    }
}

/// Returns the path of the figure with a short name.
fn path_of(short_name: &str) -> Option<&'static str> {
    SHORT_NAMES.iter().find(|(short, _)| *short == short_name).map(|(_, path)| *path)
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn unknown_figure(name: &str, paths: &[String]) -> String {
    let quantile = name.strip_prefix('p').filter(|percent| percent.parse::<Quantile>().is_ok());
    if let Some(percent) = quantile {
        return format!("`{name}` is not among the percentiles: add {percent} to --percentiles");
    }
    let names = SHORT_NAMES.iter().map(|(short, _)| *short).chain(paths.iter().map(String::as_str));
    let mut similar: Vec<(f64, &str)> = names
        .map(|known| (strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, last_part(known))), known))
        .collect();
    similar.sort_by(|one, other| other.0.total_cmp(&one.0));
    let similar: Vec<&str> = similar.into_iter().take(SIMILAR_NAMES).map(|(_, known)| known).collect();
    format!("`{name}` is no figure of a result; similar names are {}", similar.join(", "))
}

/// The paths of all numbers of a result, except those in lists.
static FIGURE_PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    // A test checks that the schema is JSON.
    let schema: Value = serde_json::from_str(RESULT_SCHEMA).unwrap_or_default();
    let mut paths = Vec::new();
    collect_paths(&schema, &schema, "", &mut paths);
    paths
});

/// Adds the paths of all numbers that a part of the schema describes, where `path` is the path of that part.
fn collect_paths(root: &Value, part: &Value, path: &str, paths: &mut Vec<String>) {
    let definition = part.get("$ref").and_then(Value::as_str).and_then(|reference| root.pointer(&reference[1..]));
    // An optional structure is a choice of its definition and null.
    let choices = part.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    for part in definition.into_iter().chain(choices) {
        collect_paths(root, part, path, paths);
    }
    let is_number = |kind: &Value| kind == "integer" || kind == "number";
    let kinds = part.get("type").unwrap_or(&Value::Null);
    if is_number(kinds) || kinds.as_array().is_some_and(|kinds| kinds.iter().any(is_number)) {
        paths.push(path.to_owned());
    }
    for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_paths(root, property, &path, paths);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(name: &str) -> String {
        Figure::find(name, &[]).unwrap().to_string()
    }

    #[test]
    fn figure_is_found_by_path_short_name_and_last_part() {
        for name in
            ["lost", "latency_us.p99", "server.cpu_ns_per_delivery", "join.server_cpu_seconds", "limit.distance"]
        {
            assert_eq!(path(name), name);
        }
        assert_eq!(path("p99"), "latency_us.p99");
        assert_eq!(path("p99.9"), "latency_us.p999");
        assert_eq!(path("rss_bytes"), "server.rss_bytes");
        assert_eq!(path("joins/s"), "join.per_second");
    }

    #[test]
    fn unknown_figure_is_reported_with_similar_names() {
        let error = Figure::find("rss_byte", &[]).unwrap_err();
        assert!(
            error.starts_with("`rss_byte` is no figure of a result; similar names are server.rss_bytes"),
            "{error}"
        );
        let error = Figure::find("p98", &[]).unwrap_err();
        assert_eq!(error, "`p98` is not among the percentiles: add 98 to --percentiles");
        let error = Figure::find("cpu_ns_per_delivery", &[]).unwrap_err();
        assert!(error.contains("server.cpu_ns_per_delivery") && error.contains("generator.cpu_ns"), "{error}");
        assert!(Figure::find("", &[]).is_err() && Figure::find("latency_us", &[]).is_err());
    }

    #[test]
    fn unit_of_a_figure_is_the_one_in_its_name() {
        for (name, unit) in [
            ("p99", Unit::Microseconds),
            ("latency_us.count", Unit::Count),
            ("server.cpu_ns_per_delivery", Unit::Nanoseconds),
            ("window_seconds", Unit::Seconds),
            ("deliveries_per_second", Unit::Count),
            ("server.rss_bytes_per_connection", Unit::Bytes),
            ("server.cpu_share", Unit::Share),
            ("lost", Unit::Count),
        ] {
            assert_eq!(Figure::find(name, &[]).unwrap().unit(), unit, "{name}");
        }
    }

    #[test]
    fn value_is_read_from_a_path_and_from_the_list_of_percentiles() {
        let quantile: Quantile = "99.99".parse().unwrap();
        let figure = Figure::find("p99.99", &[quantile]).unwrap();
        let result = json!({
            "lost": 3, "latency_us": {"p99": null}, "server": null,
            "percentiles": [{"quantile": 0.5, "value_us": 4}, {"quantile": 0.9999, "value_us": 70}],
        });
        assert_eq!(figure.value(&result), Some(70.0));
        let value = |name: &str| Figure::find(name, &[]).unwrap().value(&result);
        assert_eq!((value("lost"), value("p99"), value("server.rss_bytes")), (Some(3.0), None, None));
    }
}
