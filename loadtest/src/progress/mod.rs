//! The live view of a run on standard error: several lines that are redrawn on a terminal, otherwise a line at an
//! interval.
//!
//! The view takes no screen of its own: it stands below the shell's earlier output, and is removed at the end. Its texts
//! are pure functions of a snapshot and the recent seconds.

use std::io::{IsTerminal, stderr};

use console::{Term, colors_enabled_stderr};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{SECOND, Tick, now};
use crate::coordinator::ProgressSnapshot;
use crate::interrupt;

mod phase;
mod recent;
mod view;

use recent::RecentSeconds;
use view::View;

/// Interval of the lines where standard error is no terminal.
const LINE_INTERVAL: Tick = 5 * SECOND;
/// Interval at which the view is redrawn on a terminal.
const REDRAW_INTERVAL: Tick = SECOND / 5;

/// The form in which progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressMode {
    /// Several lines that are redrawn.
    Terminal,
    /// A plain line every five seconds.
    Lines,
    /// Nothing.
    Quiet,
}

impl ProgressMode {
    /// Returns the mode that suits standard error.
    #[must_use]
    pub fn of_stderr() -> Self {
        if stderr().is_terminal() { Self::Terminal } else { Self::Lines }
    }
}

/// Shows progress on standard error.
#[derive(Debug)]
pub struct ProgressDisplay {
    mode: ProgressMode,
    /// Draws the lines of [`ProgressMode::Terminal`], and removes them when it is dropped.
    terminal: ProgressBar,
    /// The tick at which the run started.
    started: Tick,
    /// The tick from which progress is shown again.
    next: Tick,
    /// The figures of the last minute.
    recent: RecentSeconds,
}

impl ProgressDisplay {
    /// Creates the display of a run that starts now.
    #[must_use]
    pub fn new(mode: ProgressMode) -> Self {
        let target = match mode {
            ProgressMode::Terminal => ProgressDrawTarget::stderr(),
            ProgressMode::Lines | ProgressMode::Quiet => ProgressDrawTarget::hidden(),
        };
        let terminal = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            terminal.set_style(style);
        }
        let started = now();
        let next = if mode == ProgressMode::Lines { started + LINE_INTERVAL } else { started };
        Self { mode, terminal, started, next, recent: RecentSeconds::default() }
    }

    /// Shows a snapshot, unless another one was shown recently or a signal has ended the run.
    pub fn show(&mut self, snapshot: &ProgressSnapshot) {
        let now = now();
        if let Some((elapsed, _)) = snapshot.sending {
            self.recent.record(elapsed, snapshot.progress.delivered, snapshot.progress.last_p99);
        }
        if now < self.next || interrupt::caught_signal().is_some() {
            return;
        }
        let elapsed = now.saturating_sub(self.started) as f64 / SECOND as f64;
        let view = View { snapshot, recent: &self.recent, elapsed };
        match self.mode {
            ProgressMode::Terminal => {
                // The window may have another width than before.
                let width = usize::from(Term::stderr().size().1);
                self.terminal.set_message(view.lines(width, colors_enabled_stderr()).join("\n"));
                self.next = now + REDRAW_INTERVAL;
            }
            ProgressMode::Lines => {
                eprintln!("{}", view.plain_line());
                self.next = now + LINE_INTERVAL;
            }
            ProgressMode::Quiet => {}
        }
    }

    /// Removes the view from the terminal. After a signal the view stays: a terminal writes `^C` after the view, which
    /// moves the cursor away from the place from which the view could be removed.
    pub fn clear(&self) {
        if self.mode == ProgressMode::Terminal && interrupt::caught_signal().is_some() {
            self.terminal.set_draw_target(ProgressDrawTarget::hidden());
            eprintln!();
        }
        self.terminal.finish_and_clear();
    }
}
