//! The live settings: the values that can be swapped while the server runs.

use crate::config::{LiveSettings, Motd};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;

/// The settings in force now. Readers take no lock.
///
/// Replaced settings apply to connections that exist already, too, from their next read, timer or command on. These parts
/// stay as they were:
///
/// - a connection's bounds on a line and on its backlog, what happens to lines beyond the backlog, its login deadline
///   and its socket options (`dead_timeout`) stay those of its start;
/// - a timer that runs already ends when it would have ended, unless its limit is lifted: then it does not close the
///   connection. A member's idle time begins again with each line, and the time of a stalled peer with each byte it reads: from
///   then on the new limit holds.
#[derive(Debug)]
pub struct Live {
    settings: ArcSwap<LiveSettings>,
    /// The message of the day; `None` for no message.
    motd: ArcSwapOption<Motd>,
}

impl Live {
    /// Puts `settings` and the message of the day in force.
    #[must_use]
    pub fn new(settings: LiveSettings, motd: Option<Motd>) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), motd: ArcSwapOption::from_pointee(motd) }
    }

    /// Returns a copy of the settings in force, so that no arc-swap guard leaves this module.
    #[must_use]
    pub fn get(&self) -> LiveSettings {
        **self.settings.load()
    }

    /// Returns whether lines that begin like a command are commands.
    pub(crate) fn commands(&self) -> bool {
        self.settings.load().commands
    }

    /// Returns the message of the day.
    #[must_use]
    pub fn motd(&self) -> Option<Arc<Motd>> {
        self.motd.load_full()
    }

    /// Puts other settings in force, for all connections as [`Live`] says.
    pub fn replace(&self, settings: LiveSettings) {
        self.settings.store(settings.into());
    }

    /// Puts another message of the day in force, for each peer that joins from now on.
    pub fn replace_motd(&self, motd: Option<Motd>) {
        self.motd.store(motd.map(Arc::new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_settings_are_in_force_at_the_next_read() {
        let live = Live::new(LiveSettings::default(), None);
        let before = live.get();
        live.replace(LiveSettings { rate: 7, ..before });
        assert_eq!((before.rate, live.get().rate), (LiveSettings::default().rate, 7));
    }

    #[test]
    fn message_of_the_day_is_replaced_and_removed() {
        let motd = |text: &str| Some(Motd::new(text.as_bytes()).unwrap());
        let live = Live::new(LiveSettings::default(), motd("one"));
        live.replace_motd(motd("two"));
        assert_eq!(live.motd().unwrap().as_str(), "*** two\n");
        live.replace_motd(None);
        assert_eq!(live.motd(), None);
    }
}
