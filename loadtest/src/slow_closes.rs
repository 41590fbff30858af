//! The reasons for which a server closed members that read slowly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most different reasons that are kept: a server may make up a text for each member.
const MAX_REASONS: usize = 16;
/// The reason that stands for all further ones.
const OTHERS: &str = "other reasons";

/// The reasons, and the number of members closed for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct SlowCloses(BTreeMap<String, u64>);

impl SlowCloses {
    /// Counts `count` members that were closed for a reason.
    pub fn count(&mut self, reason: &str, count: u64) {
        let is_kept = self.0.contains_key(reason) || self.0.len() < MAX_REASONS;
        *self.0.entry(if is_kept { reason } else { OTHERS }.to_owned()).or_default() += count;
    }

    /// Adds the reasons of another worker.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(reason, count)| self.count(reason, *count));
    }

    /// Returns the reasons with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, count)| (reason.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_several_workers_are_added_and_bounded() {
        let mut closes = SlowCloses::default();
        closes.count("stalled", 2);
        let mut other = closes.clone();
        (0..1000).for_each(|number| other.count(&number.to_string(), 1));
        closes.add(&other);
        assert!(closes.iter().count() <= MAX_REASONS + 1);
        assert_eq!(closes.iter().find(|(reason, _)| *reason == "stalled"), Some(("stalled", 4)));
        assert_eq!(closes.iter().map(|(_, count)| count).sum::<u64>(), 1004);
    }
}
