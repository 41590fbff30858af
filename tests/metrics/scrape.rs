//! A scrape: the text of `/metrics`, read strictly.

use crate::common::http;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The families and samples of one scrape.
pub(crate) struct Scrape {
    /// The text itself.
    pub(crate) text: String,
    /// The name and the type of each family, in order.
    pub(crate) families: Vec<(String, String)>,
    /// The value of each sample, by its name and labels as they are written.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Gets `/metrics`.
    #[track_caller]
    pub(crate) fn of(address: SocketAddr) -> Self {
        let response = http::get(address, "/metrics");
        assert_eq!(response.status, "200 OK");
        assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(response.body)
    }

    /// Reads a text in which each family has one line of help, one with its type, and then its samples.
    #[track_caller]
    fn parse(text: String) -> Self {
        let (mut families, mut samples) = (Vec::<(String, String)>::new(), BTreeMap::new());
        let mut helped = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(families.iter().all(|(known, _)| known != name), "{name} has two lines of help");
                assert!(help.ends_with('.') && help.len() > 10, "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "a type without its help before it");
                families.push((name.to_owned(), kind.to_owned()));
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                let (family, kind) = families.last().unwrap();
                let suffix = key.split('{').next().unwrap().strip_prefix(&**family);
                let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(
                    suffix.is_some_and(|suffix| suffixes.contains(&suffix)),
                    "{line} is among the samples of {family}"
                );
                assert_eq!(samples.insert(key.to_owned(), value.parse().unwrap()), None, "{key} occurs twice");
            }
        }
        Self { text, families, samples }
    }

    /// Returns the value of a sample.
    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> f64 {
        *self.samples.get(key).unwrap_or_else(|| panic!("no {key} in:\n{}", self.text))
    }

    /// Returns the sum of the samples of a family.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let is_of_family = |key: &str| key.split('{').next() == Some(family);
        self.samples.iter().filter(|(key, _)| is_of_family(key)).map(|(_, value)| value).sum()
    }

    /// Returns the samples of a family that are not 0, by the value of their one label.
    pub(crate) fn nonzero(&self, family: &str) -> Vec<(&str, f64)> {
        let found = self.samples.iter().filter_map(|(key, value)| {
            let labels = key.strip_prefix(family)?.strip_prefix('{')?.strip_suffix("\"}")?;
            Some((labels.split_once("=\"")?.1, *value)).filter(|(_, value)| *value != 0.0)
        });
        found.collect()
    }

    /// Asserts that the buckets of a histogram ascend, and that the last one is the count; returns the count.
    #[track_caller]
    pub(crate) fn assert_histogram(&self, name: &str) -> f64 {
        let start = format!("# TYPE {name} histogram\n");
        let lines = self.text.split_once(&start).unwrap_or_else(|| panic!("no {name}")).1.lines();
        let buckets = lines.take_while(|line| line.starts_with(&format!("{name}_bucket")));
        let counts: Vec<f64> = buckets.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        assert_eq!(counts.len(), 13, "twelve bounds and infinity");
        assert!(counts.is_sorted(), "{name}: {counts:?}");
        let count = self.value(&format!("{name}_count"));
        assert_eq!((counts.last(), self.value(&format!("{name}_bucket{{le=\"+Inf\"}}"))), (Some(&count), count));
        count
    }
}
