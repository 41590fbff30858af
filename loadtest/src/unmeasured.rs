//! The JSON form of a figure that may not have been measured: 0 in Rust, null in JSON.
//!
//! Serde uses the two functions of this module through `#[serde(with = "crate::unmeasured")]`. A figure uses the module
//! only where a measured 0 is impossible, such as a latency.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Serializes a figure, and 0 as null.
pub(crate) fn serialize<T, S>(figure: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Default + PartialEq + Serialize,
    S: Serializer,
{
    Some(figure).filter(|figure| **figure != T::default()).serialize(serializer)
}

/// Deserializes a figure, and null as 0.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Figure {
        #[serde(with = "super")]
        value: u64,
    }

    #[test]
    fn zero_is_null_and_null_is_zero() {
        for (value, json) in [(0, "{\"value\":null}"), (7, "{\"value\":7}")] {
            assert_eq!(serde_json::to_string(&Figure { value }).unwrap(), json);
            assert_eq!(serde_json::from_str::<Figure>(json).unwrap(), Figure { value });
        }
    }
}
