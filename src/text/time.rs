//! Time of day: the minute in which a line was said, as people read it.

use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// A minute since the Unix epoch, in UTC. Four bytes, since each line of a room's history has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Minute(pub u32);

/// The minutes of a day.
const DAY: i64 = 24 * 60;

impl Minute {
    /// Returns the current minute by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let minutes = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
        Self(u32::try_from(minutes).unwrap_or(u32::MAX))
    }

    /// Returns the time of day as `12:34`, `offset` minutes east of UTC.
    #[must_use]
    pub fn format(self, offset: i16) -> String {
        let minute = (i64::from(self.0) + i64::from(offset)).rem_euclid(DAY);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_day_is_shown_with_two_digits_in_the_offset_asked_for() {
        let minute = Minute(29_000_000);
        assert_eq!(minute.format(0), "21:20");
        assert_eq!(minute.format(120), "23:20");
        assert_eq!(minute.format(-330), "15:50");
        assert_eq!(minute.format(14 * 60), "11:20");
        assert_eq!(Minute(0).format(-1), "23:59");
    }
}
