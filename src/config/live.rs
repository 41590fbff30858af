//! The live settings: the group that can be swapped while the server runs.

use crate::config::LiveSettings;
use arc_swap::ArcSwap;

/// The settings in force now. Readers take no lock.
#[derive(Debug)]
pub struct Live(ArcSwap<LiveSettings>);

impl Live {
    /// Puts `settings` in force.
    #[must_use]
    pub fn new(settings: LiveSettings) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    /// Returns a copy of the settings in force, so that no arc-swap guard leaves this module.
    #[must_use]
    pub fn get(&self) -> LiveSettings {
        **self.0.load()
    }

    /// Returns whether lines that begin like a command are commands.
    pub(crate) fn commands(&self) -> bool {
        self.0.load().commands
    }

    /// Puts other settings in force. A connection sees them at its next read, timer or command; its bounds on a line and
    /// on its backlog, its login deadline and its socket options stay those of its start.
    pub fn replace(&self, settings: LiveSettings) {
        self.0.store(settings.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_settings_are_in_force_at_the_next_read() {
        let live = Live::new(LiveSettings::default());
        let before = live.get();
        live.replace(LiveSettings { rate: 7, ..before });
        assert_eq!((before.rate, live.get().rate), (LiveSettings::default().rate, 7));
    }
}
