//! The display of a run's progress: a bar on a terminal, otherwise a line at an interval.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{SECOND, Tick, now};
use crate::coordinator::ProgressSnapshot;
use crate::format::{micros, si, thousands};

/// Interval of the lines where standard error is no terminal.
const LINE_INTERVAL: Tick = 5 * SECOND;

/// Shows progress on standard error.
#[derive(Debug)]
pub struct ProgressDisplay {
    /// The bar; `None` where standard error is no terminal.
    bar: Option<ProgressBar>,
    /// The tick of the last line.
    written: Tick,
    /// The deliveries and tick of the last update, from which the rate is computed.
    last: (u64, Tick),
}

impl Default for ProgressDisplay {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgressDisplay {
    /// Creates the display, and shows the bar on a terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:8} [{bar:30}] {msg}");
            let bar = ProgressBar::new(1000);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar
        });
        Self { bar, written: now(), last: (0, now()) }
    }

    /// Shows a snapshot.
    pub fn show(&mut self, snapshot: &ProgressSnapshot) {
        let progress = &snapshot.progress;
        let (phase, done) = match snapshot.sending {
            None => ("joining", progress.joined as f64 / snapshot.connections.max(1) as f64),
            Some((_, 0.0)) => ("sending", 0.0),
            Some((at, length)) => ("sending", (at / length).min(1.0)),
        };
        let at = now();
        let pause = at.saturating_sub(self.last.1);
        if pause < SECOND / 5 {
            return;
        }
        let rate = progress.delivered.saturating_sub(self.last.0) as f64 * SECOND as f64 / pause as f64;
        let (joined, all) = (thousands(progress.joined), thousands(snapshot.connections));
        let mut text = format!("{joined} of {all} joined, {}/s delivered", si(rate));
        if progress.p99 > 0 {
            text = format!("{text}, p99 {}", micros(progress.p99));
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(phase);
            bar.set_position(std::time::Duration::from_secs_f64(done).as_millis().try_into().unwrap_or(0));
            bar.set_message(text);
            self.last = (progress.delivered, at);
        } else if at >= self.written + LINE_INTERVAL {
            eprintln!("{phase}: {text}");
            self.written = at;
            self.last = (progress.delivered, at);
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
