//! The sizes of lines' texts: one size, or several with weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most sizes of a mix.
const MAX_SIZES: usize = 16;

/// Sizes in bytes, each with its weight. The size of a line follows from its number, so that a line of another size is
/// found as corrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeMix(Vec<(usize, u32)>);

impl SizeMix {
    /// Returns the size for a pseudo-random number.
    #[must_use]
    pub fn pick(&self, random: u64) -> usize {
        if let [(size, _)] = self.0[..] {
            return size;
        }
        let sum: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut left = random % sum.max(1);
        for (size, weight) in &self.0 {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return *size,
            }
        }
        0
    }

    /// Returns the smallest size.
    #[must_use]
    pub fn smallest(&self) -> usize {
        self.0.iter().map(|(size, _)| *size).min().unwrap_or(0)
    }

    /// Returns the largest size.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.0.iter().map(|(size, _)| *size).max().unwrap_or(0)
    }

    /// Returns the value for a result: a number for one size, otherwise the text of the option.
    #[must_use]
    pub fn to_value(&self) -> Value {
        if let [(size, _)] = self.0[..] { json!(size) } else { json!(self.to_string()) }
    }
}

impl From<usize> for SizeMix {
    /// Returns a mix of one size.
    fn from(size: usize) -> Self {
        Self(vec![(size, 1)])
    }
}

impl fmt::Display for SizeMix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(size, _)] = self.0[..] {
            return write!(formatter, "{size}");
        }
        let parts: Vec<String> = self.0.iter().map(|(size, weight)| format!("{size}:{weight}")).collect();
        formatter.write_str(&parts.join(","))
    }
}

impl FromStr for SizeMix {
    type Err = String;

    /// Parses `64` or `40:70,400:25,4000:5`: sizes with their weights.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "a size is like 64, or 40:70,400:25,4000:5 for sizes with their weights";
        if let Ok(size) = text.parse::<usize>() {
            return Ok(size.into());
        }
        let part = |part: &str| {
            let (size, weight) = part.split_once(':')?;
            Some((size.trim().parse().ok()?, weight.trim().parse().ok().filter(|weight| *weight > 0)?))
        };
        let sizes: Option<Vec<(usize, u32)>> = text.split(',').map(part).collect();
        let sizes = sizes.ok_or(FORM)?;
        if sizes.len() > MAX_SIZES {
            return Err(format!("{} sizes are too many: at most {MAX_SIZES}", sizes.len()));
        }
        Ok(Self(sizes))
    }
}

impl TryFrom<String> for SizeMix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SizeMix> for String {
    fn from(sizes: SizeMix) -> Self {
        sizes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn sizes_come_as_often_as_their_weights_say() {
        let mix: SizeMix = "40:70,400:25,4000:5".parse().unwrap();
        let mut random = stream(1, 1);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            let size = mix.pick(random.u64(..));
            counts[[40, 400, 4000].iter().position(|known| *known == size).unwrap()] += 1;
        }
        assert!(counts[0].abs_diff(7000) < 200 && counts[1].abs_diff(2500) < 200 && counts[2].abs_diff(500) < 100);
        assert_eq!((mix.smallest(), mix.largest()), (40, 4000));
    }

    #[test]
    fn text_of_a_mix_is_parsed_back() {
        for text in ["64", "40:70,400:25"] {
            let mix: SizeMix = text.parse().unwrap();
            assert_eq!(mix.to_string(), text);
            let json = serde_json::to_string(&mix).unwrap();
            assert_eq!(serde_json::from_str::<SizeMix>(&json).unwrap(), mix);
        }
        assert_eq!(SizeMix::from(64).to_value(), json!(64));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "big", "40:", ":4", "40:0", "40:1,", "40:-1", &"1:1,".repeat(17)] {
            assert!(text.parse::<SizeMix>().is_err(), "{text:?}");
        }
        let many = vec!["40:1"; 17].join(",");
        assert_eq!(many.parse::<SizeMix>().unwrap_err(), "17 sizes are too many: at most 16");
    }
}
