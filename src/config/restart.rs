//! Settings that a restart alone can change: which of them differ between two groups of settings.

use crate::config::{MetricsSettings, ModerationSettings, NetworkSettings, RoomSettings, Settings};

impl Settings {
    /// Returns the flags of the settings that are different in `other` and that a restart alone can change.
    #[must_use]
    pub fn restart_differences(&self, other: &Self) -> Vec<&'static str> {
        // Each field is named here, so that a new one is a decision: at run time, or by a restart.
        let Self { network, rooms, live: _, motd: _, moderation, log: _, metrics, cluster } = self;
        let NetworkSettings {
            listen,
            is_listen_given: _,
            socket_mode,
            workers,
            max_connections,
            max_per_address,
            connect_rate,
            connect_burst,
            exempt,
            memory,
            tls,
            allow_origin,
            trust: _,
        } = network;
        let RoomSettings { inbox_bytes, history_lines, replay_lines, allow_duplicate_names, max_rooms } = rooms;
        let ModerationSettings { admin_socket, bans } = moderation;
        let MetricsSettings { listen: metrics_listen } = metrics;
        let Self { network: new, rooms: new_rooms, moderation: new_moderation, .. } = other;
        // The bans themselves are read again.
        let new_bans = new_moderation.bans.as_ref().map(|file| &file.path);
        let differences = [
            ("--listen (or the port and --bind)", *listen != new.listen),
            ("--socket-mode", *socket_mode != new.socket_mode),
            ("--workers", *workers != new.workers),
            ("--max-connections", *max_connections != new.max_connections),
            ("--max-per-address", *max_per_address != new.max_per_address),
            ("--connect-rate", *connect_rate != new.connect_rate),
            ("--connect-burst", *connect_burst != new.connect_burst),
            ("--exempt", *exempt != new.exempt),
            ("--memory", *memory != new.memory),
            // Other files of a certificate are read at run time.
            ("--tls-cert", tls.is_some() != new.tls.is_some()),
            ("--allow-origin", *allow_origin != new.allow_origin),
            ("--inbox", *inbox_bytes != new_rooms.inbox_bytes),
            ("--history", *history_lines != new_rooms.history_lines),
            ("--replay", *replay_lines != new_rooms.replay_lines),
            ("--allow-duplicate-names", *allow_duplicate_names != new_rooms.allow_duplicate_names),
            ("--max-rooms", *max_rooms != new_rooms.max_rooms),
            ("--cluster (or a setting of it)", *cluster != other.cluster),
            ("--metrics", *metrics_listen != other.metrics.listen),
            ("--admin", *admin_socket != new_moderation.admin_socket),
            ("--bans", bans.as_ref().map(|file| &file.path) != new_bans),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(flag, _)| flag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_settings_need_no_restart() {
        let mut other = Settings::default();
        other.live.rate = 7;
        other.live.commands = false;
        assert_eq!(Settings::default().restart_differences(&other), [""; 0]);
    }

    #[test]
    fn settings_that_need_a_restart_are_named_by_their_flags() {
        let mut other = Settings::default();
        other.network.listen.clear();
        other.network.workers = Some(2);
        other.rooms.history_lines = 7;
        let flags = ["--listen (or the port and --bind)", "--workers", "--history"];
        assert_eq!(Settings::default().restart_differences(&other), flags);
        assert_eq!(other.restart_differences(&Settings::default()), flags);
    }
}
