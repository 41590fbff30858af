//! The texts of the live view.

use console::Style;

use super::phase::Phase;
use super::recent::{KEPT_SECONDS, RecentSeconds};
use crate::coordinator::ProgressSnapshot;
use crate::format::{micros, si, thousands};

/// Narrower windows show fewer parts: neither bar, sparklines nor the highest values.
const FULL_WIDTH: usize = 60;
/// Width of the names before the figures.
const NAME_WIDTH: usize = 12;
/// Width of the bar.
const BAR_WIDTH: usize = 20;

/// The state that the texts describe.
pub(super) struct View<'a> {
    /// The latest snapshot.
    pub(super) snapshot: &'a ProgressSnapshot,
    /// The seconds of the last minute.
    pub(super) recent: &'a RecentSeconds,
    /// Seconds since the start of the run.
    pub(super) elapsed: f64,
}

/// A line of the view.
struct Row {
    name: &'static str,
    text: String,
    /// Whether the line reports errors of the server.
    alert: bool,
}

impl View<'_> {
    /// Returns the lines for a window of this width.
    pub(super) fn lines(&self, width: usize, colors: bool) -> Vec<String> {
        let full = width >= FULL_WIDTH;
        let phase = Phase::of(self.snapshot, self.elapsed);
        let bar = phase.done.filter(|_| full).map_or(String::new(), |done| bar(done) + "  ");
        let mut rows = vec![row(phase.name, bar + &phase.time), row("joined", self.joined())];
        if self.snapshot.progress.sent > 0 {
            let spark_width = width.saturating_sub(NAME_WIDTH + 1).min(KEPT_SECONDS);
            rows.push(row("deliveries", self.rate(full)));
            rows.extend(full.then(|| row("", self.recent.rate_sparkline(spark_width))));
            rows.push(row("latency", self.latency(full)));
            rows.extend(full.then(|| row("", self.recent.p99_sparkline(spark_width))));
            rows.push(Row { alert: self.has_errors(), ..row("errors", self.error_counts()) });
            rows.push(row("own lag", self.own_lag()));
        }
        // The cursor takes the last column.
        rows.iter().map(|row| row.render(width.saturating_sub(1), colors)).collect()
    }

    /// Returns all figures in one line without colors.
    pub(super) fn plain_line(&self) -> String {
        let phase = Phase::of(self.snapshot, self.elapsed);
        let mut parts = vec![format!("{}: {}", phase.name, phase.time), format!("{} joined", self.joined())];
        if self.snapshot.progress.sent > 0 {
            parts.push(format!("{} delivered", self.rate(false)));
            parts.push(self.latency(false));
            parts.push(self.error_counts());
            parts.push(format!("own lag {}", self.own_lag()));
        }
        parts.join(", ")
    }

    fn joined(&self) -> String {
        format!("{} of {}", thousands(self.snapshot.progress.joined), thousands(self.snapshot.connections))
    }

    /// Returns the rate of the last second, and the highest one of the last minute where `highest` is set.
    fn rate(&self, highest: bool) -> String {
        let Some(last) = self.recent.last() else { return "-".into() };
        let rate = format!("{}/s", si(last.rate));
        if highest { format!("{rate}, at most {}/s in the last minute", si(self.recent.highest_rate())) } else { rate }
    }

    /// Returns the percentiles of the last second, and the highest one of the last minute where `highest` is set.
    fn latency(&self, highest: bool) -> String {
        let text = |us: Option<u64>| us.map_or("-".into(), micros);
        let progress = &self.snapshot.progress;
        let last = format!("p50 {}  p99 {}", text(progress.last_p50), text(progress.last_p99));
        match self.recent.highest_p99().filter(|_| highest) {
            Some(us) => format!("{last}, at most {} in the last minute", micros(us)),
            None => last,
        }
    }

    /// Returns the generator's own delays before a write and before a read.
    fn own_lag(&self) -> String {
        let progress = &self.snapshot.progress;
        format!("send p99 {}  receive p99 {}", micros(progress.send_lag_p99), micros(progress.receive_lag_p99))
    }

    /// Returns whether a delivery was lost or wrong.
    fn has_errors(&self) -> bool {
        let progress = &self.snapshot.progress;
        progress.lost + progress.duplicated + progress.corrupt + progress.misordered > 0
    }

    fn error_counts(&self) -> String {
        let progress = &self.snapshot.progress;
        let counts = [
            (progress.lost, "lost"),
            (progress.duplicated, "duplicated"),
            (progress.corrupt, "corrupt"),
            (progress.misordered, "out of order"),
        ];
        counts.map(|(count, name)| format!("{} {name}", thousands(count))).join(", ")
    }
}

fn row(name: &'static str, text: String) -> Row {
    Row { name, text, alert: false }
}

impl Row {
    /// Returns the line, cut off at a width. All letters of the view are one column wide.
    fn render(&self, width: usize, colors: bool) -> String {
        let name: String = format!("{:NAME_WIDTH$}", self.name).chars().take(width).collect();
        let text: String = self.text.chars().take(width.saturating_sub(NAME_WIDTH)).collect();
        if !colors {
            return format!("{name}{text}").trim_end().to_owned();
        }
        let text_style = if self.alert { Style::new().red().bold() } else { Style::new() };
        let name = Style::new().dim().force_styling(true).apply_to(name);
        format!("{name}{}", text_style.force_styling(true).apply_to(text))
    }
}

/// Returns a bar of which a share is filled.
fn bar(share: f64) -> String {
    let filled = (0..BAR_WIDTH).filter(|&cell| (cell as f64 + 0.5) / BAR_WIDTH as f64 <= share).count();
    "█".repeat(filled) + &"░".repeat(BAR_WIDTH - filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WorkerProgress;

    /// Returns the snapshot and the recent seconds of a run in the phase of sending.
    fn sending() -> (ProgressSnapshot, RecentSeconds) {
        let progress = WorkerProgress {
            joined: 1000,
            sent: 50,
            delivered: 500_000,
            last_p50: Some(266),
            last_p99: Some(3670),
            send_lag_p99: 1610,
            receive_lag_p99: 95,
            ..WorkerProgress::default()
        };
        let sending = Some((17.0, 62.0));
        let snapshot =
            ProgressSnapshot { connections: 1000, progress, sending, warmup: 2.0, ..ProgressSnapshot::default() };
        let mut recent = RecentSeconds::default();
        recent.record(1.5, 300_000, Some(7340));
        recent.record(2.5, 500_000, Some(3670));
        (snapshot, recent)
    }

    fn lines(width: usize, colors: bool, change: impl Fn(&mut ProgressSnapshot)) -> Vec<String> {
        let (mut snapshot, recent) = sending();
        change(&mut snapshot);
        View { snapshot: &snapshot, recent: &recent, elapsed: 20.0 }.lines(width, colors)
    }

    #[test]
    fn wide_window_shows_all_parts() {
        let expected = [
            "sending     █████░░░░░░░░░░░░░░░  15s of 1m, 45s left",
            "joined      1,000 of 1,000",
            "deliveries  200 k/s, at most 200 k/s in the last minute",
            "            ██",
            "latency     p50 266 µs  p99 3.67 ms, at most 7.34 ms in the last minute",
            "            █▅",
            "errors      0 lost, 0 duplicated, 0 corrupt, 0 out of order",
            "own lag     send p99 1.61 ms  receive p99 95 µs",
        ];
        assert_eq!(lines(80, false, |_| ()), expected);
    }

    #[test]
    fn narrow_window_shows_fewer_parts_within_its_width() {
        let expected = [
            "sending     15s of 1m, 45s left",
            "joined      1,000 of 1,000",
            "deliveries  200 k/s",
            "latency     p50 266 µs  p99 3.67 ms",
            "errors      0 lost, 0 duplicated, 0",
            "own lag     send p99 1.61 ms  recei",
        ];
        assert_eq!(lines(36, false, |_| ()), expected);
        for width in [0, 1, 12, 13, 59, 60, 61, 200] {
            assert!(lines(width, false, |_| ()).iter().all(|line| line.chars().count() < width.max(1)), "{width}");
        }
    }

    #[test]
    fn colors_are_used_only_where_they_are_wanted() {
        let escape = |lines: Vec<String>| lines.iter().filter(|line| line.contains('\x1b')).count();
        assert_eq!(escape(lines(80, false, |snapshot| snapshot.progress.lost = 3)), 0);
        assert_eq!(escape(lines(80, true, |_| ())), 8);
        let alert = |lines: Vec<String>| lines.iter().filter(|line| line.contains("\x1b[31m")).count();
        assert_eq!(alert(lines(80, true, |_| ())), 0);
        assert_eq!(alert(lines(80, true, |snapshot| snapshot.progress.lost = 3)), 1, "errors are red");
    }

    #[test]
    fn joining_shows_neither_rates_nor_latencies() {
        let shown = lines(80, false, |snapshot| {
            (snapshot.sending, snapshot.progress.sent, snapshot.progress.joined) = (None, 0, 250);
        });
        assert_eq!(shown, ["joining     █████░░░░░░░░░░░░░░░  20s", "joined      250 of 1,000"]);
    }

    #[test]
    fn second_without_a_latency_shows_a_dash() {
        let shown = lines(80, false, |snapshot| {
            (snapshot.progress.last_p50, snapshot.progress.last_p99) = (None, None);
        });
        assert_eq!(shown[4], "latency     p50 -  p99 -, at most 7.34 ms in the last minute");
    }

    #[test]
    fn plain_line_has_the_same_figures() {
        let (snapshot, recent) = sending();
        let view = View { snapshot: &snapshot, recent: &recent, elapsed: 20.0 };
        assert_eq!(
            view.plain_line(),
            "sending: 15s of 1m, 45s left, 1,000 of 1,000 joined, 200 k/s delivered, p50 266 µs  p99 3.67 ms, \
             0 lost, 0 duplicated, 0 corrupt, 0 out of order, own lag send p99 1.61 ms  receive p99 95 µs"
        );
    }

    #[test]
    fn bar_is_filled_in_proportion() {
        assert_eq!(bar(0.0), "░".repeat(BAR_WIDTH));
        assert_eq!(bar(0.5), "█".repeat(10) + &"░".repeat(10));
        assert_eq!(bar(1.0), "█".repeat(BAR_WIDTH));
    }
}
