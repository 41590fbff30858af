//! SIGINT and SIGTERM: noted here, looked at wherever the program waits, so that what it started is stopped.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The signal that came, or 0. Relaxed: nothing else is told by it.
static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on the signals end nothing, but are noted.
///
/// # Errors
/// When the system lets no handler be set.
pub fn install_handlers() -> io::Result<()> {
    let signal = SIGNAL.get_or_init(Arc::default);
    for number in [SIGINT, SIGTERM] {
        let value = usize::try_from(number).unwrap_or_default();
        signal_hook::flag::register_usize(number, Arc::clone(signal), value)?;
    }
    Ok(())
}

/// The signal that came.
#[must_use]
pub fn caught_signal() -> Option<CaughtSignal> {
    let number = SIGNAL.get()?.load(Ordering::Relaxed);
    (number > 0).then(|| CaughtSignal { number: u8::try_from(number).unwrap_or_default() })
}

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtSignal {
    /// Its number.
    number: u8,
}

impl CaughtSignal {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        if i32::from(self.number) == SIGINT { "SIGINT" } else { "SIGTERM" }
    }

    /// The exit code of a program that it stopped, as shells have it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        128 + self.number
    }
}
