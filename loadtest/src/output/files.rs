//! Files for results: checked before a run, and written whole or not at all.
//!
//! A regular file is written under a temporary name in the same directory, and then renamed. A run that fails, or that
//! does not begin, leaves an older file as it was. Standard output, devices and pipes cannot be renamed, so they are
//! written directly.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::{Builder, NamedTempFile};

use super::console;
use crate::plan::UsageError;

/// The mode of a new file. The system clears the bits of its umask.
const NEW_FILE_MODE: u32 = 0o666;

/// A destination that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    /// Standard output.
    StandardOutput,
    /// Standard error.
    StandardError,
    /// A device, a pipe, a socket or an open descriptor.
    Special,
    /// A regular file, which may not exist yet.
    Regular,
}

impl Destination {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => return Self::StandardOutput,
            Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => return Self::StandardError,
            _ => {}
        }
        let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        if is_special || path.starts_with("/dev/fd") || path.starts_with("/proc") {
            Self::Special
        } else {
            Self::Regular
        }
    }
}

/// Returns whether a path names a regular file, which may not exist yet.
#[must_use]
pub fn is_regular(path: &Path) -> bool {
    Destination::of(path) == Destination::Regular
}

/// Returns whether a path names standard output.
#[must_use]
pub fn is_standard_output(path: &Path) -> bool {
    Destination::of(path) == Destination::StandardOutput
}

/// Checks that all files can be written, and that no two options name the same one. Leaves no new file.
///
/// # Errors
/// Returns a [`UsageError`] for two options with the same file, and otherwise names the file that cannot be written.
pub fn check(files: &[(&str, &Path)]) -> Result<()> {
    for (at, (option, path)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..at].iter().find(|(_, earlier)| is_same_file(earlier, path)) {
            let path = path.display();
            bail!(UsageError::new(format!("{other} and {option} name the same file {path}: give each its own")));
        }
        check_writable(path).with_context(|| cannot_write(path))?;
    }
    Ok(())
}

/// Writes a file whole, or leaves it as it was.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    match Destination::of(path) {
        Destination::StandardOutput => return console::print(content),
        Destination::StandardError => io::stderr().write_all(content),
        Destination::Special => OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(content)),
        Destination::Regular => replace(path, content),
    }
    .with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn check_writable(path: &Path) -> io::Result<()> {
    match Destination::of(path) {
        Destination::StandardOutput | Destination::StandardError => Ok(()),
        // Opening a pipe waits for its reader, so that only devices are opened.
        Destination::Special if !fs::metadata(path)?.file_type().is_char_device() => Ok(()),
        Destination::Special => OpenOptions::new().append(true).open(path).map(drop),
        Destination::Regular => {
            let target = resolve(path);
            if target.exists() {
                // A file without permission to write is not replaced, although its directory might allow that.
                OpenOptions::new().append(true).open(&target)?;
            }
            new_file_beside(&target).map(drop)
        }
    }
}

/// Replaces a regular file by one with the same permissions.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = resolve(path);
    let mut file = new_file_beside(&target)?;
    file.write_all(content)?;
    if let Ok(existing) = fs::metadata(&target) {
        file.as_file().set_permissions(existing.permissions())?;
    }
    // Some file systems report a full disk only now.
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

/// Creates a temporary file in the directory of another file. Dropping the temporary file removes it.
fn new_file_beside(target: &Path) -> io::Result<NamedTempFile<File>> {
    let directory = directory_of(target);
    fs::metadata(directory)?;
    let file =
        Builder::new().prefix(".loadtest-").permissions(Permissions::from_mode(NEW_FILE_MODE)).tempfile_in(directory);
    // The text of this error names the temporary file, which the user does not know.
    file.map_err(|error| error.kind().into())
}

/// Returns the path of a file without symbolic links, so that the target of a link is replaced and not the link.
fn resolve(path: &Path) -> PathBuf {
    let in_directory = || Some(fs::canonicalize(directory_of(path)).ok()?.join(path.file_name()?));
    fs::canonicalize(path).ok().or_else(in_directory).unwrap_or_else(|| path.to_owned())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns whether two paths name the same file. A character device such as `/dev/null` may serve several options.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let (first, second) = (Destination::of(one), Destination::of(other));
    if first != second {
        return false;
    }
    if matches!(first, Destination::StandardOutput | Destination::StandardError) {
        return true;
    }
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(_)) if one.file_type().is_char_device() => false,
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => resolve(one) == resolve(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn written_file_replaces_the_older_one_and_leaves_no_other() {
        let directory = directory();
        let path = directory.path().join("a.json");
        write(&path, b"long first text").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["a.json"]);
    }

    #[test]
    fn check_leaves_no_new_file_and_an_older_one_as_it_was() {
        let directory = directory();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs::write(&old, "kept").unwrap();
        check(&[("--json", &old), ("--csv", &new)]).unwrap();
        assert_eq!((names(directory.path()), fs::read(&old).unwrap()), (vec!["old".to_owned()], b"kept".to_vec()));
    }

    #[test]
    fn file_that_cannot_be_written_is_named() {
        let directory = directory();
        let missing = directory.path().join("missing/a.json");
        for path in [missing.as_path(), directory.path()] {
            let error = format!("{:#}", check(&[("--json", path)]).unwrap_err());
            assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
        }
        let error = format!("{:#}", write(Path::new("/dev/full"), b"text").unwrap_err());
        assert_eq!(error, "cannot write /dev/full: No space left on device (os error 28)");
    }

    #[test]
    fn link_keeps_its_target() {
        let directory = directory();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn two_options_with_the_same_file_are_refused_however_it_is_named() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "").unwrap();
        fs::hard_link(path("file"), path("hard")).unwrap();
        std::os::unix::fs::symlink(path("file"), path("soft")).unwrap();
        let refused = |one: &Path, other: &Path| {
            let error = check(&[("--json", one), ("--report", other)]).err()?;
            error.downcast_ref::<UsageError>().map(ToString::to_string)
        };
        for name in ["file", "hard", "soft", "./file"] {
            let error = refused(&path("file"), &path(name)).unwrap();
            assert!(error.starts_with("--json and --report name the same file "), "{error}");
        }
        assert!(refused(&path("new"), &directory.path().join(".").join("new")).is_some());
        assert!(refused(Path::new("-"), Path::new("/dev/stdout")).is_some());
        assert_eq!(refused(&path("file"), &path("new")), None);
        assert_eq!(refused(Path::new("/dev/null"), Path::new("/dev/null")), None);
    }
}
