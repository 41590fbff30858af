//! Standard output and standard error.
//!
//! A closed standard output, as after `| head`, is no error; a full one is. Standard error carries notes only, so that
//! errors of writing to it are ignored. No text of this module has colors.

use std::io::{self, Write};

use anyhow::{Context, Result};

use crate::verdict::Verdict;

/// The streams on which tables appear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// Whether only a verdict that is not good is printed.
    pub quiet: bool,
    /// Whether an option for a file names standard output, so that tables go to standard error.
    pub tables_on_stderr: bool,
}

impl Console {
    /// Prints a table.
    ///
    /// # Errors
    /// Fails when standard output cannot be written to.
    pub fn print_table(self, table: &str) -> Result<()> {
        match self {
            Self { quiet: true, .. } => Ok(()),
            Self { tables_on_stderr: true, .. } => {
                let _ = io::stderr().write_all(table.as_bytes());
                Ok(())
            }
            Self { tables_on_stderr: false, .. } => print(table.as_bytes()),
        }
    }

    /// Prints a table whose last line is the verdict. A quiet console prints that line only, to standard error, and only
    /// where the verdict is not good.
    ///
    /// # Errors
    /// Fails when standard output cannot be written to.
    pub fn print_result(self, table: &str, verdict: &Verdict) -> Result<()> {
        if self.quiet && verdict.exit_code() != 0 {
            print_note(&verdict.text);
        }
        self.print_table(table)
    }

    /// Prints a line about the progress of a run to standard error; a quiet console prints none.
    pub fn print_progress(self, line: &str) {
        if !self.quiet {
            print_note(line);
        }
    }
}

/// Writes bytes to standard output.
///
/// # Errors
/// Fails when standard output cannot be written to, except where it is closed.
pub fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints a line to standard error.
pub fn print_note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
