//! `roomcast ctl` as a program.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `roomcast ctl` with these words.
pub fn ctl(socket: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roomcast")).arg("ctl").args(words).arg("--socket").arg(socket).output().unwrap()
}

/// Runs a command that is done, and returns what `roomcast ctl` prints.
#[track_caller]
pub fn ctl_done(socket: &Path, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = ctl(socket, words);
    assert!(status.success() && stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
