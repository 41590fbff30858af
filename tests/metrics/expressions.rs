//! The expressions of the dashboard and of the alert rules: each name, label and reason in them is one of `/metrics`.

use crate::scrape::Scrape;
use crate::start_with_metrics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words of the query language that are no names of metrics, and that no parenthesis need follow.
const KEYWORDS: [&str; 9] = ["and", "or", "unless", "bool", "offset", "sum", "max", "min", "avg"];

/// Words of the query language that a list of labels in parentheses follows.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Labels that Prometheus adds to each sample.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// Returns the path of a file that operators install.
pub(crate) fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

/// Returns the expressions of the panels of the dashboard, with the legend of each.
pub(crate) fn dashboard_expressions() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(packaged("grafana/roomcast.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let text = |target: &Value, key: &str| target[key].as_str().unwrap().to_owned();
    targets.map(|target| (text(target, "expr"), text(target, "legendFormat"))).collect()
}

/// Returns the expressions of the alert rules: each is on the line of its key.
fn rule_expressions() -> Vec<String> {
    let rules = fs::read_to_string(packaged("prometheus/roomcast.rules.yml")).unwrap();
    rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ").map(str::to_owned)).collect()
}

/// The names in an expression.
#[derive(Debug, Default, PartialEq)]
struct Names {
    metrics: Vec<String>,
    labels: Vec<String>,
    /// The values of the label `reason`.
    reasons: Vec<String>,
}

/// Finds the names in an expression by its words and brackets.
fn names_in(expression: &str) -> Names {
    let (mut names, mut rest) = (Names::default(), expression);
    while let Some(start) = rest.find(|char: char| char.is_ascii_alphanumeric() || "_{[\"".contains(char)) {
        rest = &rest[start..];
        if let Some(matchers) = rest.strip_prefix('{') {
            let (matchers, after) = matchers.split_once('}').unwrap();
            matchers.split(',').for_each(|matcher| add_matcher(&mut names, matcher.trim()));
            rest = after;
        } else if let Some(range) = rest.strip_prefix('[') {
            rest = range.split_once(']').unwrap().1;
        } else if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').unwrap().1;
        } else {
            let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || "_:.".contains(char)));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.trim_start();
            if LABEL_LISTS.contains(&word) {
                let (labels, after) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
                names.labels.extend(labels.split(',').map(|label| label.trim().to_owned()));
                rest = after;
            } else if !rest.starts_with('(')
                && !KEYWORDS.contains(&word)
                && !word.starts_with(|c: char| c.is_ascii_digit())
            {
                names.metrics.push(word.to_owned());
            }
        }
    }
    names
}

/// Adds the label of a matcher, and the reasons that it names.
fn add_matcher(names: &mut Names, matcher: &str) {
    let (label, value) = matcher.split_once(['=', '!']).unwrap();
    names.labels.push(label.to_owned());
    if label == "reason" {
        let value = value.trim_start_matches(['=', '~', '!']).trim_matches('"');
        names.reasons.extend(value.split('|').map(str::to_owned));
    }
}

/// The names that a scrape has.
struct Known {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
    text: String,
}

impl Known {
    fn of(scrape: Scrape) -> Self {
        let names = scrape.samples.keys().map(|key| key.split('{').next().unwrap().to_owned());
        let labels = scrape.samples.keys().filter_map(|key| Some(key.split_once('{')?.1.split_once('=')?.0.to_owned()));
        let (metrics, labels) = (names.chain(["up".to_owned()]), labels.chain(TARGET_LABELS.map(str::to_owned)));
        Self { metrics: metrics.collect(), labels: labels.collect(), text: scrape.text }
    }

    /// Returns what an expression names and the scrape has not.
    fn missing(&self, expression: &str) -> Vec<String> {
        let Names { metrics, labels, reasons } = names_in(expression);
        let has_reason = |reason: &String| self.text.contains(&format!("{{reason=\"{reason}\"}}"));
        let metrics = metrics.into_iter().filter(|name| !self.metrics.contains(name));
        let labels = labels.into_iter().filter(|label| !self.labels.contains(label));
        metrics.chain(labels).chain(reasons.into_iter().filter(|reason| !has_reason(reason))).collect()
    }
}

#[test]
fn dashboard_and_rules_use_only_names_that_the_server_has() {
    let (_server, metrics) = start_with_metrics(&[]);
    let known = Known::of(Scrape::of(metrics));
    let dashboard = dashboard_expressions();
    assert!(dashboard.len() > 20 && rule_expressions().len() > 8, "expressions were not found");
    for expression in dashboard.iter().map(|(expression, _)| expression).chain(&rule_expressions()) {
        assert!(!names_in(expression).metrics.is_empty(), "no metric in {expression}");
        assert_eq!(known.missing(expression), [""; 0], "{expression}");
    }
    for (expression, legend) in dashboard {
        let labels = legend.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0);
        let unknown: Vec<_> = labels.filter(|label| !known.labels.contains(*label)).collect();
        assert!(unknown.is_empty(), "the legend of {expression} shows {unknown:?}");
    }
}

#[test]
fn dashboard_shows_each_metric() {
    let (_server, metrics) = start_with_metrics(&[]);
    let shown: String = dashboard_expressions().into_iter().map(|(expression, _)| expression + "\n").collect();
    // The address space says little where much of it is reserved.
    let families = Scrape::of(metrics).families.into_iter().map(|(name, _)| name);
    let hidden: Vec<_> =
        families.filter(|name| !shown.contains(&**name) && name != "process_virtual_memory_bytes").collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let rules = fs::read_to_string(packaged("prometheus/roomcast.rules.yml")).unwrap();
    let tests = fs::read_to_string(packaged("prometheus/roomcast.rules.test.yml")).unwrap();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let cases: Vec<&str> =
            tests.split("- eval_time: ").filter(|case| case.contains(&format!("alertname: {alert}\n"))).collect();
        let firing = cases.iter().filter(|case| case.contains("exp_alerts:")).count();
        assert!(firing > 0 && firing < cases.len(), "{alert} fires in {firing} of {} cases", cases.len());
    }
}

#[test]
fn names_are_found_in_each_form_of_an_expression() {
    let expression = "histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{reason=~\"x|y\", job!=\"z\"}[5m]))) > 1e3 \
                      and on (instance) (time() - b) / ignoring(what) group_left (version) c == 0.5";
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        names_in(expression),
        Names {
            metrics: text(&["a_bucket", "b", "c"]),
            labels: text(&["le", "job", "reason", "job", "instance", "what", "version"]),
            reasons: text(&["x", "y"]),
        }
    );
}

#[test]
fn name_that_the_server_has_not_is_missing() {
    let known = Known {
        metrics: ["a".to_owned()].into(),
        labels: ["reason".to_owned()].into(),
        text: "a{reason=\"x\"} 1\n".to_owned(),
    };
    assert_eq!(known.missing("sum by (reason) (a{reason=\"x\"})"), [""; 0]);
    assert_eq!(known.missing("sum by (room) (rate(b{reason=~\"x|y\"}[5m]))"), ["b", "room", "y"]);
}
