//! The offset between the monotonic clocks of two machines, measured by round trips.
//!
//! Each machine counts its ticks from a start of its own, so a tick that crosses a link has to be converted. The
//! estimate follows NTP (RFC 5905, section 8): the fastest of several round trips bounds the error by half of its time.
//!
//! The latency of a line needs no conversion: all members of a room are in one worker, so the planned time and the time
//! of receipt of a line come from one clock. A conversion is needed to start all workers at once, and to compare the
//! windows of workers on different machines.

use crate::clock::Tick;

/// The ticks of one round trip: a request to the other machine, and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// The tick of this machine at which the request was sent.
    pub sent: Tick,
    /// The tick of the other machine at which the request was received.
    pub received: Tick,
    /// The tick of the other machine at which the reply was sent.
    pub replied: Tick,
    /// The tick of this machine at which the reply was received.
    pub returned: Tick,
}

/// An estimate of the offset of another machine's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset {
    /// The other clock less this clock.
    pub offset: i64,
    /// The bound of the estimate's error, in both directions.
    pub error: u64,
}

impl RoundTrip {
    /// Returns the time that the request and the reply were in transit; `None` where the ticks contradict each other.
    fn transit_time(&self) -> Option<Tick> {
        let (whole, there) = (self.returned.checked_sub(self.sent)?, self.replied.checked_sub(self.received)?);
        whole.checked_sub(there)
    }
}

impl ClockOffset {
    /// Estimates the offset from the fastest round trip. Returns `None` where no round trip has possible ticks.
    ///
    /// The error is at most half of that round trip, which is reached when one of the two directions takes no time.
    #[must_use]
    pub fn estimate(round_trips: &[RoundTrip]) -> Option<Self> {
        let timed = round_trips.iter().filter_map(|trip| Some((trip.transit_time()?, trip)));
        let (transit, fastest) = timed.min_by_key(|(transit, _)| *transit)?;
        let ahead = |there: Tick, here: Tick| i128::from(there) - i128::from(here);
        let twice = ahead(fastest.received, fastest.sent) + ahead(fastest.replied, fastest.returned);
        Some(Self { offset: i64::try_from(twice.div_euclid(2)).ok()?, error: transit.div_ceil(2) })
    }
}

/// Returns a tick on a clock that is `offset` ahead. The values 0 and [`Tick::MAX`] stay: they mean "not reached" and
/// "no end" on every clock.
#[must_use]
pub fn shift(tick: Tick, offset: i64) -> Tick {
    match tick {
        0 | Tick::MAX => tick,
        _ => tick.saturating_add_signed(offset).clamp(1, Tick::MAX - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    /// One hour in nanoseconds.
    const HOUR: i64 = 3_600_000_000_000;

    /// Returns a round trip with these delays to a machine whose clock is `offset` ahead, which replies after `work`.
    fn round_trip(sent: Tick, offset: i64, (there, work, back): (Tick, Tick, Tick)) -> RoundTrip {
        let received = (sent + there).checked_add_signed(offset).unwrap();
        let replied = received + work;
        RoundTrip { sent, received, replied, returned: sent + there + work + back }
    }

    fn assert_within_bound(round_trips: &[RoundTrip], offset: i64) {
        let estimate = ClockOffset::estimate(round_trips).unwrap();
        assert!(estimate.offset.abs_diff(offset) <= estimate.error, "{estimate:?} of {offset}: {round_trips:?}");
    }

    #[test]
    fn symmetric_delays_give_the_exact_offset() {
        for offset in [-HOUR, -1, 0, 1, 12_345, HOUR] {
            let trip = round_trip(2 * HOUR.unsigned_abs(), offset, (70_000, 5_000, 70_000));
            assert_eq!(ClockOffset::estimate(&[trip]), Some(ClockOffset { offset, error: 70_000 }));
        }
    }

    #[test]
    fn error_bound_holds_for_asymmetric_delays() {
        let delays = [0, 1, 2, 3, 1_000, 49_999, 50_000, 250_001, SECOND, 9 * SECOND + 1];
        for offset in [-HOUR, -7, 0, 7, HOUR] {
            for there in delays {
                for back in delays {
                    assert_within_bound(&[round_trip(3 * HOUR.unsigned_abs(), offset, (there, 40_000, back))], offset);
                }
            }
        }
    }

    #[test]
    fn fastest_of_recorded_round_trips_is_used() {
        // Times in microseconds of pings between two machines: to the other one, on it, and back.
        let recorded =
            [(412, 31, 188), (96, 22, 104), (2_950, 19, 101), (99, 610, 3_204), (143, 25, 98), (97, 20, 5_022)];
        let trips: Vec<RoundTrip> = (SECOND..)
            .step_by(10_000_000)
            .zip(recorded)
            .map(|(at, (there, work, back))| round_trip(at, 5 * HOUR, (there * 1000, work * 1000, back * 1000)))
            .collect();
        let estimate = ClockOffset::estimate(&trips).unwrap();
        assert_eq!(estimate, ClockOffset { offset: 5 * HOUR - 4_000, error: 100_000 });
        assert_within_bound(&trips, 5 * HOUR);
    }

    #[test]
    fn impossible_round_trips_are_not_used() {
        let possible = round_trip(SECOND, HOUR, (10, 10, 10));
        let replied_before_receipt = RoundTrip { replied: 5, received: 6, ..possible };
        let longer_there_than_here = RoundTrip { replied: possible.received + SECOND, ..possible };
        let returned_before_sent = RoundTrip { returned: 0, ..possible };
        let all = [replied_before_receipt, longer_there_than_here, returned_before_sent];
        assert_eq!(ClockOffset::estimate(&all), None);
        assert_eq!(ClockOffset::estimate(&[all[0], possible, all[1]]).unwrap().offset, HOUR);
        let too_far = RoundTrip { sent: 0, received: Tick::MAX, replied: Tick::MAX, returned: 1 };
        assert_eq!(ClockOffset::estimate(&[too_far]), None);
    }

    #[test]
    fn conversion_there_and_back_keeps_a_tick() {
        for tick in [1, SECOND, 7 * SECOND + 5] {
            assert_eq!(shift(tick, HOUR), tick + HOUR.unsigned_abs());
            assert_eq!(shift(shift(tick, HOUR), -HOUR), tick);
        }
    }

    #[test]
    fn ticks_that_mean_none_are_not_converted() {
        for offset in [-HOUR, HOUR, i64::MIN, i64::MAX] {
            assert_eq!((shift(0, offset), shift(Tick::MAX, offset)), (0, Tick::MAX));
            assert!((1..Tick::MAX).contains(&shift(SECOND, offset)), "a tick never becomes one that means none");
        }
    }
}
