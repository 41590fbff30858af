//! Departures: the rule by which members leave their rooms during a run and come back.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The shortest mean stay: a shorter one measures joins alone.
const MIN_STAY: Duration = Duration::from_millis(10);
/// The longest time of a stay, an absence or a jitter.
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// The rule by which members leave during a run and come back. The first members of each room stay, and the last ones
/// leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departures {
    /// All members stay.
    #[default]
    None,
    /// Members leave and come back at random, independently of each other. Senders stay.
    Churn {
        /// The part of a room's members that leaves.
        share: f64,
        /// The mean length of a stay; lengths are exponentially distributed.
        stay: Duration,
        /// The mean length of an absence; lengths are exponentially distributed.
        away: Duration,
    },
    /// Members are cut at once, senders included, and come back after a random time.
    Cuts {
        /// The part of a room's members that is cut.
        share: f64,
        /// The time from the start of the measured window to the first cut.
        first: Duration,
        /// The time from one cut to the next; `None` for a single cut.
        every: Option<Duration>,
        /// The longest absence; absences are uniformly distributed.
        jitter: Duration,
        /// Whether a connection is cut by a reset.
        reset: bool,
    },
}

impl Departures {
    /// Returns whether members leave during the run.
    #[must_use]
    pub fn exist(&self) -> bool {
        *self != Self::None
    }

    /// Returns the members of a room that leave: its last ones, and at least one where the rule permits one.
    #[must_use]
    pub fn leavers(&self, members: usize, senders: usize) -> Range<usize> {
        let (share, most) = match self {
            Self::None => return members..members,
            // A sender stays, so that each room always has a member that shows the order.
            Self::Churn { share, .. } => (*share, members.saturating_sub(senders.max(1))),
            Self::Cuts { share, .. } => (*share, members),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
        let count = (share * members as f64).round() as usize;
        members - count.max(1).min(most)..members
    }

    /// Returns the parameters under the names of their options, followed by their units; none where all members stay.
    #[must_use]
    pub fn parameters(&self) -> Map<String, Value> {
        let value = match self {
            Self::None => Value::Null,
            Self::Churn { share, stay, away } => json!({
                "share": share, "stay_seconds": stay.as_secs_f64(), "away_seconds": away.as_secs_f64(),
            }),
            Self::Cuts { share, first, every, jitter, reset } => json!({
                "share": share, "first_cut_seconds": first.as_secs_f64(), "every_seconds": every.map(|every| every.as_secs_f64()),
                "jitter_seconds": jitter.as_secs_f64(), "reset": reset,
            }),
        };
        value.as_object().cloned().unwrap_or_default()
    }

    /// Checks the rule for rooms of at least `members` members, which send for `length` after the warm-up.
    ///
    /// # Errors
    /// Returns one line for the user.
    pub fn check(&self, members: usize, senders: usize, length: Duration) -> Result<(), String> {
        let show = humantime::format_duration;
        match *self {
            Self::Churn { share, .. } | Self::Cuts { share, .. } if !(share > 0.0 && share <= 1.0) => {
                Err(format!("--share {} % is not above 0 % and up to 100 %", share * 100.0))
            }
            Self::Churn { stay, .. } if stay < MIN_STAY => {
                Err(format!("--stay {} is too short: at least {}", show(stay), show(MIN_STAY)))
            }
            Self::Churn { stay, away, .. } if stay.max(away) > MAX_TIME => {
                Err(format!("--stay and --away are at most {}", show(MAX_TIME)))
            }
            Self::Churn { .. } if senders >= members => Err(format!(
                "--senders {senders} is every member of a room, but senders stay: lower it, or raise --connections"
            )),
            Self::Cuts { every: Some(every), jitter, .. } if every <= jitter => Err(format!(
                "--every {} is not longer than --jitter {}: members would be cut before they are back",
                show(every),
                show(jitter)
            )),
            Self::Cuts { first, jitter, .. } if first.saturating_add(jitter) > length => Err(format!(
                "--jitter {} after a cut at {} exceeds --duration {}: lower one of them, or raise --duration",
                show(jitter),
                show(first),
                show(length)
            )),
            Self::None | Self::Churn { .. } | Self::Cuts { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn churn(share: f64) -> Departures {
        Departures::Churn { share, stay: SECOND, away: SECOND }
    }

    fn cuts(share: f64, every: Option<Duration>) -> Departures {
        Departures::Cuts { share, first: SECOND, every, jitter: SECOND, reset: false }
    }

    #[test]
    fn last_members_leave_and_senders_stay_in_a_churn() {
        assert_eq!(Departures::None.leavers(10, 1), 10..10);
        assert_eq!(churn(0.3).leavers(10, 1), 7..10);
        assert_eq!(churn(0.01).leavers(10, 1), 9..10, "a small share is one member");
        assert_eq!((churn(1.0).leavers(10, 4), churn(1.0).leavers(10, 0)), (4..10, 1..10));
        assert_eq!((cuts(1.0, None).leavers(10, 4), cuts(0.5, None).leavers(3, 1)), (0..10, 1..3));
    }

    #[test]
    fn impossible_times_are_refused_with_their_options() {
        let refusal = |departures: Departures, senders| departures.check(5, senders, 10 * SECOND).err();
        assert_eq!((refusal(churn(0.5), 4), refusal(cuts(1.0, Some(2 * SECOND)), 5)), (None, None));
        assert!(refusal(churn(0.5), 5).is_some_and(|text| text.starts_with("--senders 5 is every member")));
        let short = Departures::Churn { share: 0.5, stay: Duration::ZERO, away: SECOND };
        assert!(refusal(short, 1).is_some_and(|text| text.starts_with("--stay 0s is too short")));
        assert!(refusal(cuts(1.0, Some(SECOND)), 1).is_some_and(|text| text.starts_with("--every 1s is not longer")));
        assert!(refusal(churn(0.0), 1).is_some() && refusal(cuts(1.5, None), 1).is_some());
        let late = cuts(1.0, None).check(5, 1, SECOND).unwrap_err();
        assert!(late.starts_with("--jitter 1s after a cut at 1s exceeds --duration 1s"), "{late}");
    }
}
