//! What one worker writes down while it works: counts, latencies, and what happened in each second.

use serde::{Deserialize, Serialize};

use crate::clock::{SECOND, Tick};
use crate::histogram::Histogram;

/// Everything that is counted. Sums over workers are sums of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Lines sent.
    pub sent: u64,
    /// Deliveries that those lines owe.
    pub expected: u64,
    /// Deliveries that arrived, each line counted once a member.
    pub delivered: u64,
    /// Deliveries that had not arrived when the run was cut short: they may have been on their way.
    #[serde(default)]
    pub in_flight: u64,
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Deliveries that arrived more than once.
    pub duplicated: u64,
    /// Deliveries out of order in either of the two senses below.
    pub misordered: u64,
    /// Deliveries that arrived after a later line of the same sender.
    pub misordered_sender: u64,
    /// Deliveries at another place than in the room's common order.
    pub misordered_room: u64,
    /// Lines that nobody sent, to this room, in this form.
    pub corrupt: u64,
    /// Connections that the server ended before their time.
    pub closed: u64,
    /// Refusals.
    pub errors: u64,
    /// Notices that lines were skipped.
    pub skip_notices: u64,
    /// Lines that these notices speak of: part of what is lost.
    pub skipped: u64,
    /// Connections that the server ended after they had said goodbye.
    #[serde(default)]
    pub left: u64,
    /// Connections that entered their room.
    pub joined: u64,
    /// Notices of newcomers owed: each member is told of itself and of all who come after it.
    pub join_notices_expected: u64,
    /// Notices of newcomers that arrived.
    pub join_notices: u64,
    /// Notices of joins and leaves that did not happen, or were told before.
    #[serde(default)]
    pub untrue_notices: u64,
    /// Notices of leaving that arrived.
    pub leave_notices: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Reads that returned something.
    pub reads: u64,
    /// Writes of one line or more.
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
    /// Adds another worker's counts.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.fields().into_iter().zip(other.clone().fields().map(|field| *field));
        for (field, more) in pairs {
            *field += more;
        }
    }

    fn fields(&mut self) -> [&mut u64; 27] {
        [
            &mut self.sent,
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
            &mut self.left,
            &mut self.joined,
            &mut self.join_notices_expected,
            &mut self.join_notices,
            &mut self.untrue_notices,
            &mut self.leave_notices,
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

/// One second of talk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SecondMetrics {
    /// Deliveries received in it.
    pub delivered: u64,
    /// Their latencies.
    pub latency: Histogram<2>,
}

/// A worker's notes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The counts.
    pub counters: Counters,
    /// Latency of every delivery whose line was planned within the window.
    pub latency: Histogram<3>,
    /// From the start of connecting to being told of the own entry.
    pub join: Histogram<3>,
    /// How late lines were handed to the kernel, measured from their planned time.
    pub send_lag: Histogram<3>,
    /// The seconds since the first line, warm-up included.
    pub seconds: Vec<SecondMetrics>,
    /// When the seconds start.
    pub start: Tick,
    /// The measured window.
    pub window: (Tick, Tick),
}

impl Metrics {
    /// Begins the seconds and sets the window.
    pub fn set_window(&mut self, start: Tick, window: (Tick, Tick)) {
        self.start = start;
        self.window = window;
    }

    /// Whether a tick lies in the measured window.
    #[must_use]
    pub fn in_window(&self, tick: Tick) -> bool {
        (self.window.0..self.window.1).contains(&tick)
    }

    /// Notes `count` deliveries, received now, of lines planned at the same tick. Untimed ones may have lain in
    /// their socket until it suited us: their latency would be ours.
    pub fn record_deliveries(&mut self, now: Tick, planned: Tick, count: u64, timed: bool) {
        self.counters.delivered += count;
        if self.in_window(now) {
            self.counters.window_delivered += count;
        }
        let latency = now.saturating_sub(planned);
        if timed && self.in_window(planned) {
            self.latency.record(latency, count);
        }
        let second = usize::try_from(now.saturating_sub(self.start) / SECOND).unwrap_or(usize::MAX);
        if second < 24 * 3600 {
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

    /// Notes a read.
    pub fn record_read(&mut self, now: Tick, bytes: usize) {
        self.counters.reads += 1;
        self.counters.bytes_received += bytes as u64;
        if self.in_window(now) {
            self.counters.window_reads += 1;
            self.counters.window_bytes += bytes as u64;
        }
    }

    /// Adds another worker's notes.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        if self.start == 0 {
            (self.start, self.window) = (other.start, other.window);
        }
        self.latency.add(&other.latency);
        self.join.add(&other.join);
        self.send_lag.add(&other.send_lag);
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
    fn every_count_is_added() {
        let json = serde_json::to_value(Counters::default()).unwrap();
        let ones: serde_json::Map<_, _> = json.as_object().unwrap().keys().map(|key| (key.clone(), 1.into())).collect();
        let mut sum: Counters = serde_json::from_value(ones.into()).unwrap();
        sum.add(&sum.clone());
        let values = serde_json::to_value(sum).unwrap();
        assert!(values.as_object().unwrap().values().all(|value| value == 2), "{values}");
    }
}
