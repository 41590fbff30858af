//! Slow readers: the members of a room that are read at a bounded rate while lines are sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The lowest and the highest rate: a read of each member, ten times a second, takes at least a few bytes, and fits into the
/// buffer of the worker.
const RATES: (u64, u64) = (100, 2 << 20);

/// The members that read slowly, and their rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowReaders {
    /// The part of a room's members that reads slowly. Senders read at once.
    pub share: f64,
    /// The rate at which each of these members is read.
    pub rate: ReadRate,
}

/// A rate of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRate {
    /// Bytes per second.
    pub bytes_per_second: u64,
}

impl SlowReaders {
    /// Returns whether a member of a room reads slowly. The slow members are spread evenly over the members that do not send,
    /// and at least one is slow where the room has one that does not send.
    #[must_use]
    pub fn includes(&self, member: usize, members: usize, senders: usize) -> bool {
        let first = senders.max(1);
        let (Some(at), others) = (member.checked_sub(first), members.saturating_sub(first)) else { return false };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
        let count = (self.share * members as f64).round() as usize;
        let count = count.max(1).min(others);
        (at + 1) * count / others.max(1) > at * count / others.max(1)
    }

    /// Returns the parameters under the names of their options, followed by their units.
    #[must_use]
    pub fn parameters(&self) -> Map<String, Value> {
        let value = json!({"share": self.share, "read_rate_bytes_per_second": self.rate.bytes_per_second});
        value.as_object().cloned().unwrap_or_default()
    }

    /// Checks the rule for rooms of at least `members` members.
    ///
    /// # Errors
    /// Returns one line for the user.
    pub fn check(&self, members: usize, senders: usize) -> Result<(), String> {
        let Self { share, rate } = *self;
        if !(share > 0.0 && share <= 1.0) {
            return Err(format!("--share {} % is not above 0 % and up to 100 %", share * 100.0));
        }
        if senders >= members {
            return Err(format!(
                "--senders {senders} is every member of a room, but senders read at once: lower it, or raise --connections"
            ));
        }
        if !(RATES.0..=RATES.1).contains(&rate.bytes_per_second) {
            return Err(format!("--read-rate {rate} is not between {} B/s and {} MiB/s", RATES.0, RATES.1 >> 20));
        }
        Ok(())
    }
}

impl FromStr for ReadRate {
    type Err = String;

    /// Parses `4KiB/s`, `4KiB`, `500B/s` or `500`, which means bytes per second.
    fn from_str(text: &str) -> Result<Self, String> {
        let amount = text.strip_suffix("/s").unwrap_or(text).trim();
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1), ("", 1)];
        let found = units.into_iter().find_map(|(unit, size)| Some((amount.strip_suffix(unit)?, size)));
        let bytes = found.and_then(|(number, size)| number.trim().parse::<u64>().ok()?.checked_mul(size));
        bytes
            .map(|bytes_per_second| Self { bytes_per_second })
            .ok_or_else(|| "a rate of reading is like 4KiB/s or 500B/s".into())
    }
}

impl fmt::Display for ReadRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} B/s", self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(share: f64) -> SlowReaders {
        SlowReaders { share, rate: ReadRate { bytes_per_second: 4096 } }
    }

    fn slow(share: f64, members: usize, senders: usize) -> Vec<usize> {
        (0..members).filter(|&member| readers(share).includes(member, members, senders)).collect()
    }

    #[test]
    fn slow_members_are_spread_evenly_over_those_that_do_not_send() {
        assert_eq!(slow(0.2, 10, 1), [5, 9]);
        assert_eq!(slow(0.2, 5, 2), [4]);
        assert_eq!(slow(0.01, 10, 1), [9], "a small share is one member");
        assert_eq!(
            (slow(1.0, 4, 2), slow(1.0, 3, 0)),
            (vec![2, 3], vec![1, 2]),
            "senders and the first member are fast"
        );
        assert_eq!(slow(1.0, 1, 1), [0; 0]);
        assert_eq!(slow(0.1, 1000, 1).len(), 100);
    }

    #[test]
    fn rate_of_reading_is_parsed_with_each_unit() {
        let parse = |text: &str| text.parse::<ReadRate>().map(|rate| rate.bytes_per_second);
        assert_eq!(
            (parse("4KiB/s"), parse("1 MiB/s"), parse("500B"), parse("500")),
            (Ok(4096), Ok(1 << 20), Ok(500), Ok(500))
        );
        assert!(parse("slow").is_err() && parse("4KiB/m").is_err() && parse("-1").is_err() && parse("").is_err());
        assert!(parse("99999999999999999MiB/s").is_err());
    }

    #[test]
    fn impossible_rule_is_refused_with_its_option() {
        let refusal = |share, bytes_per_second, senders| {
            SlowReaders { share, rate: ReadRate { bytes_per_second } }.check(5, senders).err().unwrap_or_default()
        };
        assert_eq!(refusal(0.5, 4096, 4), "");
        assert!(refusal(0.0, 4096, 1).starts_with("--share 0 %") && refusal(1.5, 4096, 1).starts_with("--share 150 %"));
        assert!(refusal(0.5, 4096, 5).starts_with("--senders 5 is every member"));
        assert_eq!(refusal(0.5, 5, 1), "--read-rate 5 B/s is not between 100 B/s and 2 MiB/s");
        assert!(refusal(0.5, 3 << 20, 1).starts_with("--read-rate 3145728 B/s"));
    }
}
