//! Hooks: the calls of the program for commands that concern its configuration and its log.

use std::fmt;
use std::sync::Arc;

/// A call of the program with the text after the command's word. Returns the text of the reply, or the reason for a refusal.
/// The call may wait for a disk, since it runs on no worker of the runtime.
pub type AdminHook = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The calls of the program. A command whose hook is missing is unknown.
#[derive(Clone, Default)]
pub struct AdminHooks {
    /// `reload`: reads the configuration again, all or nothing.
    pub reload: Option<AdminHook>,
    /// `log-level [LEVEL]`: shows or changes the level of the log.
    pub log_level: Option<AdminHook>,
    /// `config`: shows the settings that the configuration says now.
    pub config: Option<AdminHook>,
    /// `upgrade`: hands the server over to a new process.
    pub upgrade: Option<AdminHook>,
}

/// One of the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookKind {
    Reload,
    LogLevel,
    Config,
    Upgrade,
}

impl AdminHooks {
    /// Returns a hook, if the program has it.
    pub(super) fn get(&self, kind: HookKind) -> Option<&AdminHook> {
        match kind {
            HookKind::Reload => self.reload.as_ref(),
            HookKind::LogLevel => self.log_level.as_ref(),
            HookKind::Config => self.config.as_ref(),
            HookKind::Upgrade => self.upgrade.as_ref(),
        }
    }
}

impl fmt::Debug for AdminHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [HookKind::Reload, HookKind::LogLevel, HookKind::Config, HookKind::Upgrade];
        f.debug_set().entries(kinds.iter().filter(|kind| self.get(**kind).is_some())).finish()
    }
}
