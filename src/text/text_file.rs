//! Text files that the server reads at its start and at each reload.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a regular file, or a link to one, for reading.
///
/// The kind of the file is checked before it is opened: opening a pipe waits for its writer, and a reload must not wait for
/// ever.
///
/// # Errors
/// The system's error, or that the file is a directory, a pipe or a device.
pub fn open_text_file(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    Err(io::Error::other(if kind.is_dir() { "it is a directory" } else { "it is no regular file" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_file_alone_is_opened() {
        assert!(open_text_file(&std::env::current_exe().unwrap()).is_ok());
        let error = |path: &str| open_text_file(Path::new(path)).unwrap_err();
        assert_eq!(error("/").to_string(), "it is a directory");
        assert_eq!(error("/dev/zero").to_string(), "it is no regular file");
        assert_eq!(error("/no/such/file").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn pipe_without_a_writer_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("roomcast-{}-pipe", std::process::id()));
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(open_text_file(&path).unwrap_err().to_string(), "it is no regular file");
        fs::remove_file(path).unwrap();
    }
}
