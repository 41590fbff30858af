//! The bounds in force, on one line for the operator.

use crate::config::Settings;
use crate::config::units::{show_duration, show_size};
use std::time::Duration;

impl Settings {
    /// Returns the bounds in force, on one line for the operator; `connections` is how many there may be.
    #[must_use]
    pub fn bounds(&self, connections: usize) -> String {
        let Self { network, rooms, live, .. } = self;
        let names = if rooms.allow_duplicate_names { ", duplicate names allowed" } else { "" };
        let commands = if live.commands { "" } else { ", no commands" };
        let replay = match rooms.replay_lines {
            0 => String::new(),
            lines => format!(" and {lines} replayed"),
        };
        format!(
            "bounds: {connections} connections, {} an address, {}, exempt {}, line {}, login {}, {}, {}, \
             backlog {} then {}, stall {}, idle {}, dead {}, rooms {}, inbox {} a room, \
             history {} lines a room{replay}, drain {}{names}{commands}",
            show_count(network.max_per_address),
            show_rate("connect rate", &network.connect_rate.to_string(), &network.connect_burst.to_string()),
            network.exempt,
            show_size(live.max_line),
            show_timeout(live.login_timeout),
            show_rate("rate", &live.rate.to_string(), &live.burst.to_string()),
            show_rate("byte rate", &show_byte_rate(live.byte_rate), &show_size(live.byte_burst.get() as usize)),
            show_size(live.backlog),
            live.slow_reader.as_str(),
            show_timeout(live.stall_timeout),
            show_timeout(live.idle_timeout),
            show_timeout(live.dead_timeout),
            show_count(rooms.max_rooms),
            show_size(rooms.inbox_bytes),
            rooms.history_lines,
            show_duration(live.drain),
        )
    }
}

/// Shows a rate with its burst; `0` is no limit.
fn show_rate(name: &str, rate: &str, burst: &str) -> String {
    if rate == "0" { format!("{name} unlimited") } else { format!("{name} {rate}/s burst {burst}") }
}

/// Shows a number of bytes a second, `0` for no limit.
fn show_byte_rate(rate: u32) -> String {
    if rate == 0 { "0".to_owned() } else { show_size(rate as usize) }
}

/// Shows a bound that 0 lifts.
fn show_count(count: usize) -> String {
    if count == 0 { "unlimited".to_owned() } else { count.to_string() }
}

/// Shows a timeout that zero lifts.
fn show_timeout(timeout: Duration) -> String {
    if timeout.is_zero() { "never".to_owned() } else { show_duration(timeout) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_one_line_that_names_each() {
        assert_eq!(
            Settings::default().bounds(19_936),
            "bounds: 19936 connections, 50 an address, connect rate 20/s burst 100, exempt 127.0.0.0/8,::1/128,unix, \
             line 20000B, login 30s, rate 100/s burst 1000, byte rate 128KiB/s burst 1MiB, backlog 1MiB then skip, \
             stall 1m, idle never, dead 1m, rooms unlimited, inbox 1MiB a room, history 100 lines a room, drain 5s"
        );
    }

    #[test]
    fn lifted_bounds_are_shown_as_such() {
        let mut settings = Settings::default();
        settings.network.max_per_address = 0;
        settings.network.connect_rate = 0;
        settings.rooms.max_rooms = 7;
        let live = &mut settings.live;
        (live.login_timeout, live.stall_timeout, live.dead_timeout) = Default::default();
        (live.rate, live.byte_rate, live.backlog) = (0, 0, usize::MAX);
        live.idle_timeout = Duration::from_secs(600);
        let bounds = settings.bounds(10);
        for part in [
            "unlimited an address, connect rate unlimited",
            "login never, rate unlimited, byte rate unlimited, backlog unlimited then skip",
            "stall never, idle 10m, dead never, rooms 7,",
        ] {
            assert!(bounds.contains(part), "{bounds}");
        }
    }
}
