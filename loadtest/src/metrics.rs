//! The metrics that one worker records: counters, latencies, and figures for each second.

use serde::{Deserialize, Serialize};

use crate::clock::{SECOND, Tick};
use crate::clock_offset::shift;
use crate::histogram::Histogram;
use crate::slow_closes::SlowCloses;
use crate::slowest::Slowest;

/// Seconds of sending for which figures are kept: one day.
pub const MAX_SECONDS: usize = 24 * 3600;

/// All counters. The counters of several workers are added field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Lines sent.
    pub sent: u64,
    /// Lines that an open loop planned and did not send, because the generator was too slow.
    #[serde(default)]
    pub unsent: u64,
    /// Deliveries that the sent lines should cause.
    pub expected: u64,
    /// Deliveries that arrived; each line counts once for each member.
    pub delivered: u64,
    /// Deliveries that had not arrived when the run stopped early: they may have been in transit.
    #[serde(default)]
    pub in_flight: u64,
    /// Deliveries that never arrived.
    pub lost: u64,
    /// Deliveries that arrived more than once.
    pub duplicated: u64,
    /// Deliveries that are out of the sender's order or out of the room's order.
    pub misordered: u64,
    /// Deliveries that arrived after a later line of the same sender.
    pub misordered_sender: u64,
    /// Deliveries at another position than in the room's common order: that of the member's server, where several share the
    /// rooms without --total-order.
    pub misordered_room: u64,
    /// Lines that no member of this room has sent in this form.
    pub corrupt: u64,
    /// Connections that the server closed during the run.
    pub closed: u64,
    /// `ERROR` lines and other refusals.
    pub errors: u64,
    /// Notices about skipped lines.
    pub skip_notices: u64,
    /// Lines that skip notices announce as skipped; but for `untrue_skips` and those of members that read slowly, they are
    /// included in `lost`.
    pub skipped: u64,
    /// Lines that skip notices announce as skipped although the member received them.
    #[serde(default)]
    pub untrue_skips: u64,
    /// Notices about missing lines of another server that shares the room.
    #[serde(default)]
    pub gap_notices: u64,
    /// Lines that gap notices tell as missing; each counts once for each member that is told. Missing deliveries that are
    /// told are not `lost`. Join and leave notices count as lines, too.
    #[serde(default)]
    pub told_missing: u64,
    /// Lines that gap notices tell as missing although the member received them.
    #[serde(default)]
    pub untrue_gaps: u64,
    /// Notices that the servers which share a room have lost each other, or have found each other again.
    #[serde(default)]
    pub split_notices: u64,
    /// Members that read slowly.
    #[serde(default)]
    pub slow_members: u64,
    /// Deliveries that arrived at members that read slowly.
    #[serde(default)]
    pub slow_delivered: u64,
    /// Deliveries to members that read slowly which are missing where a skip notice announces them. They are not `lost`.
    #[serde(default)]
    pub slow_skipped: u64,
    /// Leave notices to members that read slowly which are missing, and which skip notices announce.
    #[serde(default)]
    pub slow_leaves_skipped: u64,
    /// Skip notices to members that read slowly.
    #[serde(default)]
    pub slow_skip_notices: u64,
    /// Members that read slowly which the server closed during the run. They are not in `closed`.
    #[serde(default)]
    pub slow_closed: u64,
    /// Connections that the server closed after the generator had shut down their sending side.
    #[serde(default)]
    pub left: u64,
    /// Connections that joined their room.
    pub joined: u64,
    /// Members that left their room during the run, or whose connection was cut.
    #[serde(default)]
    pub departures: u64,
    /// Members that came back into their room.
    #[serde(default)]
    pub returned: u64,
    /// Connections of members that came back which the server refused, or closed before the member was in its room. The
    /// member tried again.
    #[serde(default)]
    pub connections_refused: u64,
    /// Join requests of members that came back which the server refused because the name was still taken. The member tried
    /// again.
    #[serde(default)]
    pub names_taken: u64,
    /// Lines that were not sent because their room had no sender, or a cut was about to happen.
    #[serde(default)]
    pub withheld: u64,
    /// Join notices that are expected: each member receives its own notice and those of all later members. Those of members on
    /// other servers count where they had to arrive or did, and those that gap notices tell as missing do not.
    pub join_notices_expected: u64,
    /// Join notices that arrived: of each two members on one server, only the earlier one may receive the notice of the later
    /// one.
    pub join_notices: u64,
    /// Join and leave notices that are wrong or repeated.
    #[serde(default)]
    pub untrue_notices: u64,
    /// Leave notices that arrived.
    pub leave_notices: u64,
    /// Leave notices that are expected: the members of a room leave in steps, so that some members have to receive the
    /// notices of others before they leave.
    #[serde(default)]
    pub leave_notices_expected: u64,
    /// Expected leave notices that never arrived.
    #[serde(default)]
    pub leave_notices_lost: u64,
    /// Members of all rooms.
    #[serde(default)]
    pub members: u64,
    /// Members with at least one delivery in the window whose latency was measured.
    #[serde(default)]
    pub sampled_members: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Reads that returned data.
    pub reads: u64,
    /// Writes of at least one line.
    pub writes: u64,
    /// Deliveries received within the measured window.
    pub window_delivered: u64,
    /// Bytes received within the measured window.
    pub window_bytes: u64,
    /// Reads within the measured window.
    pub window_reads: u64,
    /// Writes within the measured window.
    pub window_writes: u64,
}

impl Counters {
    /// Adds the counters of another worker.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.fields().into_iter().zip(other.clone().fields().map(|field| *field));
        for (field, more) in pairs {
            *field += more;
        }
    }

    /// Counts deliveries that are at another position than in the room's common order.
    pub(crate) fn add_misplaced_in_room(&mut self, count: u64) {
        self.misordered_room += count;
        self.misordered += count;
    }

    /// Returns a number that grows with each progress of the run: a delivery that was missing, a member that joined, or a
    /// first notice of a join or leave. A server that only repeats or makes up messages makes no progress.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.delivered + self.joined + self.join_notices + self.leave_notices
    }

    fn fields(&mut self) -> [&mut u64; 48] {
        [
            &mut self.sent,
            &mut self.unsent,
            &mut self.expected,
            &mut self.delivered,
            &mut self.in_flight,
            &mut self.lost,
            &mut self.duplicated,
            &mut self.misordered,
            &mut self.misordered_sender,
            &mut self.misordered_room,
            &mut self.corrupt,
            &mut self.closed,
            &mut self.errors,
            &mut self.skip_notices,
            &mut self.skipped,
            &mut self.untrue_skips,
            &mut self.gap_notices,
            &mut self.told_missing,
            &mut self.untrue_gaps,
            &mut self.split_notices,
            &mut self.slow_members,
            &mut self.slow_delivered,
            &mut self.slow_skipped,
            &mut self.slow_leaves_skipped,
            &mut self.slow_skip_notices,
            &mut self.slow_closed,
            &mut self.left,
            &mut self.joined,
            &mut self.departures,
            &mut self.returned,
            &mut self.connections_refused,
            &mut self.names_taken,
            &mut self.withheld,
            &mut self.join_notices_expected,
            &mut self.join_notices,
            &mut self.untrue_notices,
            &mut self.leave_notices,
            &mut self.leave_notices_expected,
            &mut self.leave_notices_lost,
            &mut self.members,
            &mut self.sampled_members,
            &mut self.bytes_received,
            &mut self.reads,
            &mut self.writes,
            &mut self.window_delivered,
            &mut self.window_bytes,
            &mut self.window_reads,
            &mut self.window_writes,
        ]
    }
}

/// The times of a line, up to its way to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineTimes {
    /// The tick for which it was planned.
    pub planned: Tick,
    /// The tick at which the generator wrote it for the first time.
    pub sent: Tick,
}

/// The figures of one second of sending.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SecondMetrics {
    /// Deliveries received in this second.
    pub delivered: u64,
    /// The latencies of those deliveries.
    pub latency: Histogram<2>,
}

/// The metrics of one worker, or the sum of several workers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The counts.
    pub counters: Counters,
    /// Latency of every timed delivery whose line was planned within the window.
    pub latency: Histogram<3>,
    /// Time from the start of connecting to the notice of the connection's own join.
    pub join: Histogram<3>,
    /// Time from the planned return of a member to the notice of its own join.
    #[serde(default)]
    pub return_join: Histogram<3>,
    /// That time without the generator's own lag.
    #[serde(default)]
    pub return_join_without_lag: Histogram<3>,
    /// Time from a member's leave or cut to the notice of its own join.
    #[serde(default)]
    pub absence: Histogram<3>,
    /// Time from a line's planned time to its write to the socket.
    pub send_lag: Histogram<3>,
    /// Time from a line's planned time until the socket had accepted all of it. Longer than the send lag where the server
    /// reads slowly.
    pub write_lag: Histogram<3>,
    /// The longest time that a delivery can have waited in the kernel until the worker read it.
    pub receive_lag: Histogram<3>,
    /// Latency without send lag and receive lag.
    pub latency_without_lag: Histogram<3>,
    /// The receive lag of the bytes that are being received.
    #[serde(skip)]
    read_lag: Tick,
    /// The seconds from the first line on, warm-up included.
    pub seconds: Vec<SecondMetrics>,
    /// The tick at which the first second starts.
    pub start: Tick,
    /// The measured window: from its first tick to the one after its last.
    pub window: (Tick, Tick),
    /// The members and rooms with the highest latency.
    #[serde(default)]
    pub slowest: Slowest,
    /// The reasons for which the server closed members that read slowly, with their numbers.
    #[serde(default)]
    pub slow_closes: SlowCloses,
    /// The tick of the previous read of the members that are read at an interval. Bytes that are read from them now
    /// arrived later.
    #[serde(skip)]
    pub(crate) previous_deferred_read: Tick,
}

/// A second in which nothing was delivered.
const EMPTY_SECOND: &SecondMetrics = &SecondMetrics { delivered: 0, latency: Histogram::EMPTY };

impl Metrics {
    /// Sets the start of the seconds and the measured window.
    pub fn set_window(&mut self, start: Tick, window: (Tick, Tick)) {
        self.start = start;
        self.window = window;
    }

    /// Returns whether a tick lies in the measured window.
    #[must_use]
    pub fn in_window(&self, tick: Tick) -> bool {
        (self.window.0..self.window.1).contains(&tick)
    }

    /// Records `count` deliveries, received at `now`, of lines that were planned and sent at the same ticks. The latency of
    /// untimed deliveries is not recorded: the generator itself may have left them unread.
    pub fn record_deliveries(&mut self, now: Tick, line: LineTimes, count: u64, timed: bool) {
        self.counters.delivered += count;
        if self.in_window(now) {
            self.counters.window_delivered += count;
        }
        let latency = now.saturating_sub(line.planned);
        if timed && self.in_window(line.planned) {
            self.latency.record(latency, count);
            // A line cannot have waited to be read before it was sent.
            let receive_lag = self.read_lag.min(now.saturating_sub(line.sent));
            let send_lag = line.sent.saturating_sub(line.planned);
            self.receive_lag.record(receive_lag, count);
            self.latency_without_lag.record(latency.saturating_sub(send_lag + receive_lag), count);
        }
        let second = usize::try_from(now.saturating_sub(self.start) / SECOND).unwrap_or(usize::MAX);
        if second < MAX_SECONDS {
            if second >= self.seconds.len() {
                self.seconds.resize_with(second + 1, SecondMetrics::default);
            }
            let second = &mut self.seconds[second];
            second.delivered += count;
            if timed {
                second.latency.record(latency, count);
            }
        }
    }

    /// Returns the metrics of each whole second from the first line to the end of the window, those without a delivery
    /// included. Deliveries after the window fill only a part of a second, so their second is left out.
    pub fn whole_seconds(&self) -> impl Iterator<Item = &SecondMetrics> {
        let count = match self.window.1 {
            _ if self.counters.sent == 0 => 0,
            // A worker that failed did not close its window, and a run that ended in the warm-up did not open it.
            end if end == Tick::MAX || end <= self.window.0 => self.seconds.len(),
            end => usize::try_from(end.saturating_sub(self.start) / SECOND).unwrap_or(usize::MAX).max(1),
        };
        (0..count.min(MAX_SECONDS)).map(move |second| self.seconds.get(second).unwrap_or(EMPTY_SECOND))
    }

    /// Records a read of some bytes, which may have waited for the worker for `lag`.
    pub fn record_read(&mut self, now: Tick, bytes: usize, lag: Tick) {
        self.read_lag = lag;
        self.counters.reads += 1;
        self.counters.bytes_received += bytes as u64;
        if self.in_window(now) {
            self.counters.window_reads += 1;
            self.counters.window_bytes += bytes as u64;
        }
    }

    /// Converts all ticks to a clock that is `offset` ahead.
    pub(crate) fn shift_ticks(&mut self, offset: i64) {
        // Every field is named, so that a new one is not forgotten here: a duration stays, a tick is converted.
        let Self {
            counters: _,
            latency: _,
            join: _,
            return_join: _,
            return_join_without_lag: _,
            absence: _,
            send_lag: _,
            write_lag: _,
            receive_lag: _,
            latency_without_lag: _,
            read_lag: _,
            seconds: _,
            slowest: _,
            slow_closes: _,
            start,
            window,
            previous_deferred_read,
        } = self;
        for tick in [start, &mut window.0, &mut window.1, previous_deferred_read] {
            *tick = shift(*tick, offset);
        }
    }

    /// Adds the metrics of another worker.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        if self.start == 0 {
            (self.start, self.window) = (other.start, other.window);
        }
        self.latency.add(&other.latency);
        self.join.add(&other.join);
        self.return_join.add(&other.return_join);
        self.return_join_without_lag.add(&other.return_join_without_lag);
        self.absence.add(&other.absence);
        self.send_lag.add(&other.send_lag);
        self.write_lag.add(&other.write_lag);
        self.receive_lag.add(&other.receive_lag);
        self.latency_without_lag.add(&other.latency_without_lag);
        self.slowest.add(&other.slowest);
        self.slow_closes.add(&other.slow_closes);
        if other.seconds.len() > self.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), SecondMetrics::default);
        }
        for (ours, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            ours.delivered += theirs.delivered;
            ours.latency.add(&theirs.latency);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_include_those_without_a_delivery() {
        let mut metrics = Metrics::default();
        assert_eq!(metrics.whole_seconds().count(), 0, "no line was sent");
        metrics.counters.sent = 3;
        metrics.set_window(SECOND, (SECOND, 5 * SECOND + 1));
        metrics.record_deliveries(SECOND + 1, LineTimes { planned: SECOND, sent: SECOND }, 3, true);
        metrics.record_deliveries(3 * SECOND + 1, LineTimes { planned: SECOND, sent: SECOND }, 4, true);
        metrics.record_deliveries(6 * SECOND, LineTimes { planned: SECOND, sent: SECOND }, 5, true);
        let delivered: Vec<u64> = metrics.whole_seconds().map(|second| second.delivered).collect();
        assert_eq!(delivered, [3, 0, 4, 0]);
        metrics.window = (9 * SECOND, 9 * SECOND);
        assert_eq!(metrics.whole_seconds().count(), 6, "the run ended in the warm-up");
    }

    #[test]
    fn every_counter_is_added() {
        let json = serde_json::to_value(Counters::default()).unwrap();
        let ones: serde_json::Map<_, _> = json.as_object().unwrap().keys().map(|key| (key.clone(), 1.into())).collect();
        let mut sum: Counters = serde_json::from_value(ones.into()).unwrap();
        sum.add(&sum.clone());
        let values = serde_json::to_value(sum).unwrap();
        assert!(values.as_object().unwrap().values().all(|value| value == 2), "{values}");
    }
}
