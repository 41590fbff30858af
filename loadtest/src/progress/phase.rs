//! The phase of a run, with its elapsed and remaining time.

use std::time::Duration;

use crate::coordinator::ProgressSnapshot;

/// A phase of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phase {
    /// The name of the phase.
    pub(super) name: &'static str,
    /// The share of the phase that is over; `None` where its end is not known.
    pub(super) done: Option<f64>,
    /// The elapsed and the remaining time as text.
    pub(super) time: String,
}

impl Phase {
    /// Returns the phase of a snapshot, taken a number of seconds after the start of the run.
    pub(super) fn of(snapshot: &ProgressSnapshot, elapsed: f64) -> Self {
        let progress = &snapshot.progress;
        let Some((sending, length)) = snapshot.sending.filter(|_| !snapshot.leaving) else {
            let name = if snapshot.leaving { "leaving" } else { "joining" };
            let done = (!snapshot.leaving).then(|| share(progress.joined as f64, snapshot.connections as f64));
            return Self { name, done, time: seconds(elapsed) };
        };
        if sending < snapshot.warmup {
            return Self::timed("warm-up", sending, snapshot.warmup);
        }
        let measured = sending - snapshot.warmup;
        match snapshot.planned_lines {
            Some(lines) if progress.sent < lines => {
                let done = Some(share(progress.sent as f64, lines as f64));
                Self { name: "sending", done, time: seconds(measured) }
            }
            None if sending < length => Self::timed("sending", measured, length - snapshot.warmup),
            _ => Self { name: "draining", done: None, time: "waits for the last deliveries".into() },
        }
    }

    /// Returns a phase of a known length in seconds.
    fn timed(name: &'static str, elapsed: f64, length: f64) -> Self {
        let left = length.floor() - elapsed.floor();
        let time = format!("{} of {}, {} left", seconds(elapsed), seconds(length), seconds(left));
        Self { name, done: Some(share(elapsed, length)), time }
    }
}

/// Returns `part / whole` between 0 and 1.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// Returns whole seconds as text: `12s`, `1m 5s`.
fn seconds(seconds: f64) -> String {
    let whole = Duration::from_secs(Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs()));
    humantime::format_duration(whole).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(sending: Option<(f64, f64)>) -> ProgressSnapshot {
        let mut snapshot = ProgressSnapshot { connections: 10, sending, warmup: 2.0, ..ProgressSnapshot::default() };
        (snapshot.progress.joined, snapshot.progress.sent) = (5, 25);
        snapshot
    }

    fn phase(name: &'static str, done: Option<f64>, time: &str) -> Phase {
        Phase { name, done, time: time.into() }
    }

    #[test]
    fn timed_run_passes_its_phases() {
        let of = |sending| Phase::of(&snapshot(sending), 3.0);
        assert_eq!(of(None), phase("joining", Some(0.5), "3s"));
        assert_eq!(of(Some((1.5, 62.0))), phase("warm-up", Some(0.75), "1s of 2s, 1s left"));
        assert_eq!(of(Some((17.0, 62.0))), phase("sending", Some(0.25), "15s of 1m, 45s left"));
        assert_eq!(of(Some((62.5, 62.0))), phase("draining", None, "waits for the last deliveries"));
        let leaving = ProgressSnapshot { leaving: true, ..snapshot(Some((62.5, 62.0))) };
        assert_eq!(Phase::of(&leaving, 70.0), phase("leaving", None, "1m 10s"));
    }

    #[test]
    fn counted_run_shows_the_share_of_its_lines() {
        let counted = ProgressSnapshot { planned_lines: Some(100), ..snapshot(Some((4.0, 0.0))) };
        assert_eq!(Phase::of(&counted, 9.0), phase("sending", Some(0.25), "2s"));
        let sent = ProgressSnapshot { planned_lines: Some(25), ..counted };
        assert_eq!(Phase::of(&sent, 9.0).name, "draining");
    }
}
