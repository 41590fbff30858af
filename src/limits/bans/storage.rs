//! Storage: replaces a file so that a crash at any moment leaves the old content or the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The permission bits of the file: it names peers' addresses.
const MODE: u32 = 0o600;

/// The steps of a replacement, which tests cut.
pub(super) trait Disk {
    /// Creates an empty file, or empties the one that is there.
    fn create(&mut self, path: &Path) -> io::Result<File>;
    /// Writes some of the bytes; returns how many.
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize>;
    /// Waits until the content of a file is on the disk.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Gives a file the name of another one, which it replaces in one step.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until the names in a folder are on the disk.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}

/// The disk of this machine.
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// Replaces the content of `path`: writes a new file beside it, waits until that is on the disk, gives it the name and
/// waits until the name is on the disk. After an error the file has its old content, but for an error of the last step.
///
/// # Errors
/// The error of the first step that failed.
pub(super) fn replace_file(disk: &mut impl Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    // A link is followed, or the rename would replace it and leave the file that it names.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = new_path(&path);
    let mut file = disk.create(&new)?;
    let mut rest = content;
    while !rest.is_empty() {
        match disk.write(&mut file, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    disk.sync(&file)?;
    disk.rename(&new, &path)?;
    disk.sync_folder(folder_of(&path))
}

/// Returns the folder that holds a file.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns where the new content is written before it replaces the old one.
fn new_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::file::{BansFile, render};
    use super::super::table::BanTable;
    use super::super::table::tests::ban;
    use super::*;
    use std::sync::Arc;

    /// A disk that takes bytes one by one and fails after so many steps, as a crash would end them.
    struct CrashingDisk {
        /// The steps that are left.
        left: usize,
        /// The names of the steps that were done, each once in a row.
        done: Vec<&'static str>,
    }

    impl CrashingDisk {
        fn step(&mut self, name: &'static str) -> io::Result<()> {
            self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("crash"))?;
            if self.done.last() != Some(&name) {
                self.done.push(name);
            }
            Ok(())
        }
    }

    impl Disk for CrashingDisk {
        fn create(&mut self, path: &Path) -> io::Result<File> {
            self.step("create")?;
            SystemDisk.create(path)
        }

        fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
            self.step("write")?;
            SystemDisk.write(file, &bytes[..1])
        }

        fn sync(&mut self, file: &File) -> io::Result<()> {
            self.step("sync")?;
            SystemDisk.sync(file)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.step("rename")?;
            SystemDisk.rename(from, to)
        }

        fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
            self.step("sync folder")?;
            SystemDisk.sync_folder(folder)
        }
    }

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("roomcast-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn table(networks: &[&str]) -> BanTable {
        BanTable::new(networks.iter().map(|network| Arc::new(ban(network))))
    }

    /// Replaces the old list until the disk fails after `steps` steps; returns the bans of the file then, and the steps.
    fn replace_until(steps: usize, path: &Path, old: &BanTable, new: &BanTable) -> (Vec<String>, Vec<&'static str>) {
        replace_file(&mut SystemDisk, path, render(old).as_bytes()).unwrap();
        let mut disk = CrashingDisk { left: steps, done: Vec::new() };
        let outcome = replace_file(&mut disk, path, render(new).as_bytes());
        assert_eq!(outcome.is_ok(), disk.done.last() == Some(&"sync folder"), "an error is hidden after {steps} steps");
        let read = BansFile::read(path.to_owned()).expect("a crash leaves a list that can be read");
        (read.bans.iter().map(|ban| ban.network.to_string()).collect(), disk.done)
    }

    #[test]
    fn crash_at_any_byte_and_step_leaves_the_old_list_or_the_new_one() {
        let folder = Folder::new("crash");
        let path = folder.0.join("bans");
        let (old, new) = (table(&["10.0.0.0/8", "192.0.2.7"]), table(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]));
        let names = |table: &BanTable| table.bans().iter().map(|ban| ban.network.to_string()).collect::<Vec<_>>();
        // One step for each byte, and the creation, two syncs and the rename.
        let all_steps = render(&new).len() + 4;
        for steps in 0..=all_steps {
            let (bans, done) = replace_until(steps, &path, &old, &new);
            let is_renamed = done.contains(&"rename");
            assert_eq!(bans, names(if is_renamed { &new } else { &old }), "after {steps} steps");
        }
        let (_, done) = replace_until(all_steps, &path, &old, &new);
        assert_eq!(done, ["create", "write", "sync", "rename", "sync folder"]);
    }

    #[test]
    fn rest_of_a_crashed_replacement_is_replaced_and_only_the_owner_reads_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("rest");
        let path = folder.0.join("bans");
        fs::write(new_path(&path), "x".repeat(10_000)).unwrap();
        fs::set_permissions(new_path(&path), fs::Permissions::from_mode(0o600)).unwrap();
        replace_file(&mut SystemDisk, &path, render(&table(&["10.0.0.0/8"])).as_bytes()).unwrap();
        assert_eq!(BansFile::read(path.clone()).unwrap().bans.len(), 1);
        assert!(!new_path(&path).exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn link_to_the_file_is_kept() {
        let folder = Folder::new("link");
        let (file, link) = (folder.0.join("bans"), folder.0.join("link"));
        fs::write(&file, render(&table(&[]))).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace_file(&mut SystemDisk, &link, render(&table(&["10.0.0.0/8"])).as_bytes()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(BansFile::read(file).unwrap().bans.len(), 1);
    }

    #[test]
    fn file_name_without_a_folder_is_in_the_current_one() {
        assert_eq!(folder_of(Path::new("bans")), Path::new("."));
        assert_eq!(folder_of(Path::new("/var/lib/bans")), Path::new("/var/lib"));
        assert_eq!(new_path(Path::new("/var/lib/bans")), Path::new("/var/lib/bans.new"));
    }
}
