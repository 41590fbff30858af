//! The operators' commands that concern the configuration and the log.

use super::parse::shown_settings;
use super::upgrade::Upgrader;
use roomcast::ServerHandle;
use roomcast::admin::{AdminHook, AdminHooks};
use roomcast::config::LiveLog;
use std::ffi::OsString;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Returns the calls for a server with this handle and this log, which was started with `arguments`. Needs a runtime.
pub(super) fn admin_hooks(
    server: ServerHandle,
    log: Arc<LiveLog>,
    arguments: Vec<OsString>,
    upgrader: Arc<Upgrader>,
) -> AdminHooks {
    let runtime = Handle::current();
    let reload: AdminHook = Arc::new(move |_| runtime.block_on(reload(&server)));
    let log_level: AdminHook = Arc::new(move |name| change_level(&log, name));
    let config: AdminHook = Arc::new(move |_| shown_settings(&arguments));
    let upgrade: AdminHook = Arc::new(move |_| upgrader.upgrade_and_answer());
    AdminHooks { reload: Some(reload), log_level: Some(log_level), config: Some(config), upgrade: Some(upgrade) }
}

/// Returns stand-ins for the calls of a server, for the list of its commands.
pub(super) fn stand_ins() -> AdminHooks {
    let stand_in: AdminHook = Arc::new(|_| Err("this program serves no rooms".to_owned()));
    let hook = || Some(Arc::clone(&stand_in));
    AdminHooks { reload: hook(), log_level: hook(), config: hook(), upgrade: hook() }
}

/// Reloads the settings; returns the changed ones that need a restart.
async fn reload(server: &ServerHandle) -> Result<String, String> {
    let needs_restart = server.reload().await?.needs_restart;
    if needs_restart.is_empty() {
        return Ok("settings reloaded".to_owned());
    }
    Ok(format!("settings reloaded, but for those that need a restart: {}", needs_restart.join(", ")))
}

/// Puts a level in force, or without a name shows the one in force.
fn change_level(log: &LiveLog, name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Ok(format!("the log's level is {}", log.get().level));
    }
    let level = name.parse().map_err(|wanted| format!("{name:?} is no level of the log: {wanted}"))?;
    log.set_level(level);
    Ok(format!("the log's level is {level}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomcast::config::{LogFormat, LogLevel, LogSettings};

    #[test]
    fn level_is_shown_and_changed_and_the_form_stays() {
        let log = LiveLog::new(LogSettings { level: LogLevel::Warn, format: LogFormat::Json });
        assert_eq!(change_level(&log, ""), Ok("the log's level is warn".to_owned()));
        assert_eq!(change_level(&log, "debug"), Ok("the log's level is debug".to_owned()));
        assert_eq!(log.get(), LogSettings { level: LogLevel::Debug, format: LogFormat::Json });
        let told = change_level(&log, "loud").unwrap_err();
        assert!(told.starts_with("\"loud\" is no level of the log: one of off, error, warn"), "{told}");
        assert_eq!(log.get().level, LogLevel::Debug);
    }
}
