//! SIGINT and SIGTERM. The handlers store the signal; every wait of the program checks for it, so that the program
//! stops the processes that it started.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The number of the caught signal, or 0. All accesses are relaxed, since no other data is published with it.
static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Installs handlers that store SIGINT and SIGTERM in place of ending the program.
///
/// # Errors
/// Fails when the system rejects a handler.
pub fn install_handlers() -> io::Result<()> {
    let signal = SIGNAL.get_or_init(Arc::default);
    for number in [SIGINT, SIGTERM] {
        let value = usize::try_from(number).unwrap_or_default();
        signal_hook::flag::register_usize(number, Arc::clone(signal), value)?;
    }
    Ok(())
}

/// Returns the signal that was caught, if any.
#[must_use]
pub fn caught_signal() -> Option<CaughtSignal> {
    let number = SIGNAL.get()?.load(Ordering::Relaxed);
    (number > 0).then(|| CaughtSignal { number: u8::try_from(number).unwrap_or_default() })
}

/// A signal that asks the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtSignal {
    /// The signal's number.
    number: u8,
}

impl CaughtSignal {
    /// Returns the signal's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        if i32::from(self.number) == SIGINT { "SIGINT" } else { "SIGTERM" }
    }

    /// Returns the exit code of a program that this signal stopped, by the convention of shells.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        128 + self.number
    }
}
