//! The list of bans in force: readers take no lock, and each change is in the file before it counts.

use super::file::{BansFile, BansFileError, render};
use super::storage::{SystemDisk, replace_file};
use super::table::BanTable;
use super::{Ban, MAX_BANS};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

/// The bans of a server.
#[derive(Debug)]
pub struct BanList {
    /// The bans in force. Only the holder of `changes` stores.
    table: ArcSwap<BanTable>,
    /// Where changes are written; `None` for bans that end with the server.
    path: Option<PathBuf>,
    /// Held from the read of the table to the store of the next one, the write of the file included.
    changes: Arc<Mutex<()>>,
}

/// Why the list is not changed. Shown, it says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BanListError {
    /// The list is full.
    #[error("the list has {MAX_BANS} bans, and no more fit: unban some, or ban whole networks")]
    Full,
    /// The file can't be replaced.
    #[error("{}: {error}: the list in force is unchanged", path.display().to_string().escape_debug())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error; the message holds it already, so it is no source.
        error: io::Error,
    },
}

/// Bans that were read again and are not in force yet. No other change happens before they are installed or dropped.
#[derive(Debug)]
pub struct PreparedBans {
    table: BanTable,
    _changes: OwnedMutexGuard<()>,
}

impl BanList {
    /// Returns the list of a file, or without one an empty list that is not kept.
    pub(crate) fn new(file: Option<BansFile>) -> Arc<Self> {
        let (path, bans) = file.map_or((None, Vec::new()), |BansFile { path, bans }| (Some(path), bans));
        let table = ArcSwap::from_pointee(BanTable::new(bans));
        Arc::new(Self { table, path, changes: Arc::default() })
    }

    /// Returns a ban of `ip` that is in force at the time that `now` returns. The clock is read for a banned address alone.
    pub(crate) fn find(&self, ip: IpAddr, now: impl Fn() -> SystemTime) -> Option<Arc<Ban>> {
        self.table.load().find(ip, now).cloned()
    }

    /// Returns all bans, expired ones included.
    pub(crate) fn table(&self) -> Arc<BanTable> {
        self.table.load_full()
    }

    /// Returns whether the bans are kept in a file.
    pub(crate) fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Adds a ban, or replaces that of the same network. The ban is in force, and in the file, when this returns.
    ///
    /// # Errors
    /// [`BanListError`]; the list is unchanged then.
    pub(crate) async fn add(&self, ban: Ban, now: SystemTime) -> Result<(), BanListError> {
        let _changes = self.changes.lock().await;
        let table = self.table.load_full().with(ban, now).ok_or(BanListError::Full)?;
        self.store(table).await
    }

    /// Removes the ban of exactly this network; returns whether there was one in force.
    ///
    /// # Errors
    /// [`BanListError`]; the list is unchanged then.
    pub(crate) async fn remove(&self, network: IpNet, now: SystemTime) -> Result<bool, BanListError> {
        let _changes = self.changes.lock().await;
        let table = self.table.load_full();
        if !table.get(network).is_some_and(|ban| ban.is_in_force(|| now)) {
            return Ok(false);
        }
        self.store(table.without(network, now)).await?;
        Ok(true)
    }

    /// Reads the file again, and changes nothing. `None` for a list without a file.
    ///
    /// # Errors
    /// [`BansFileError`] if the file can't be read.
    pub async fn prepare_reload(&self) -> Result<Option<PreparedBans>, BansFileError> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        let changes = Arc::clone(&self.changes).lock_owned().await;
        let read = {
            let path = path.clone();
            spawn_blocking(move || BansFile::read(path)).await
        };
        let BansFile { bans, .. } =
            read.map_err(|error| BansFileError::Unreadable { path, error: io::Error::other(error) })??;
        Ok(Some(PreparedBans { table: BanTable::new(bans), _changes: changes }))
    }

    /// Puts the bans in force that were read again.
    pub fn install(&self, prepared: PreparedBans) {
        self.table.store(Arc::new(prepared.table));
    }

    /// Writes a table to the file, and then puts it in force. The caller holds `changes`.
    async fn store(&self, table: BanTable) -> Result<(), BanListError> {
        if let Some(path) = self.path.clone() {
            let content = render(&table);
            let file = path.clone();
            // A worker of the runtime must not wait for the disk.
            let written = spawn_blocking(move || replace_file(&mut SystemDisk, &file, content.as_bytes())).await;
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
            written.map_err(|error| BanListError::Write { path, error })?;
        }
        self.table.store(Arc::new(table));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::ban;
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: SystemTime = UNIX_EPOCH;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("roomcast-{}-list-{name}", std::process::id()))
    }

    fn is_banned(list: &BanList, ip: &str) -> bool {
        list.find(ip.parse().unwrap(), || NOW).is_some()
    }

    #[tokio::test]
    async fn change_is_in_the_file_when_it_returns() {
        let path = path("kept");
        let list = BanList::new(Some(BansFile::read(path.clone()).unwrap()));
        list.add(ban("10.0.0.0/8"), NOW).await.unwrap();
        list.add(ban("192.0.2.7"), NOW).await.unwrap();
        assert!(list.is_kept() && is_banned(&list, "10.1.1.1") && is_banned(&list, "192.0.2.7"));
        let kept = BanList::new(Some(BansFile::read(path.clone()).unwrap()));
        assert!(is_banned(&kept, "10.1.1.1") && is_banned(&kept, "192.0.2.7"));
        assert!(list.remove(ban("10.0.0.0/8").network, NOW).await.unwrap());
        assert!(!list.remove(ban("10.0.0.0/8").network, NOW).await.unwrap());
        assert!(!list.remove(ban("10.1.1.1").network, NOW).await.unwrap(), "only the exact network is removed");
        assert_eq!(BansFile::read(path.clone()).unwrap().bans.len(), 1);
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn list_is_unchanged_when_the_file_cannot_be_written() {
        let path = path("missing").join("bans");
        let list = BanList::new(Some(BansFile { path: path.clone(), bans: vec![Arc::new(ban("10.0.0.0/8"))] }));
        let error = list.add(ban("192.0.2.7"), NOW).await.unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.ends_with("is unchanged"), "{error}");
        assert!(list.remove(ban("10.0.0.0/8").network, NOW).await.is_err());
        assert!(is_banned(&list, "10.1.1.1") && !is_banned(&list, "192.0.2.7"));
    }

    #[tokio::test]
    async fn list_without_a_file_is_not_kept_and_reads_nothing_again() {
        let list = BanList::new(None);
        list.add(ban("10.0.0.0/8"), NOW).await.unwrap();
        assert!(!list.is_kept() && is_banned(&list, "10.1.1.1"));
        assert!(list.prepare_reload().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn concurrent_changes_are_all_kept() {
        let path = path("concurrent");
        let list = BanList::new(Some(BansFile::read(path.clone()).unwrap()));
        let changes = (0..20).map(|number| {
            let list = Arc::clone(&list);
            tokio::spawn(async move { list.add(ban(&format!("10.0.0.{number}")), NOW).await })
        });
        for change in changes.collect::<Vec<_>>() {
            change.await.unwrap().unwrap();
        }
        assert_eq!((list.table().bans().len(), BansFile::read(path.clone()).unwrap().bans.len()), (20, 20));
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn file_is_read_again_all_or_nothing_and_no_ban_is_lost_meanwhile() {
        let path = path("again");
        let list = BanList::new(Some(BansFile::read(path.clone()).unwrap()));
        list.add(ban("10.0.0.0/8"), NOW).await.unwrap();
        let edited = std::fs::read_to_string(&path).unwrap().replace("10.0.0.0/8", "11.0.0.0/8");
        std::fs::write(&path, &edited).unwrap();
        let prepared = list.prepare_reload().await.unwrap().unwrap();
        assert!(is_banned(&list, "10.1.1.1") && !is_banned(&list, "11.1.1.1"), "a prepared list is in force");
        let adding = tokio::spawn({
            let list = Arc::clone(&list);
            async move { list.add(ban("192.0.2.7"), NOW).await }
        });
        tokio::task::yield_now().await;
        list.install(prepared);
        adding.await.unwrap().unwrap();
        assert!(is_banned(&list, "11.1.1.1") && !is_banned(&list, "10.1.1.1") && is_banned(&list, "192.0.2.7"));
        std::fs::write(&path, &edited[..edited.len() / 2]).unwrap();
        assert!(list.prepare_reload().await.unwrap_err().to_string().contains("is cut off here"));
        assert!(is_banned(&list, "11.1.1.1"), "a file that is cut off replaces the list");
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn expired_ban_is_found_no_more_and_leaves_the_file_with_the_next_change() {
        let (path, end) = (path("expired"), NOW + Duration::from_secs(60));
        let list = BanList::new(Some(BansFile::read(path.clone()).unwrap()));
        list.add(Ban { expires: Some(end), ..ban("10.0.0.0/8") }, NOW).await.unwrap();
        let ip = "10.1.1.1".parse().unwrap();
        assert!(list.find(ip, || end - Duration::from_secs(1)).is_some() && list.find(ip, || end).is_none());
        assert!(!list.remove(ban("10.0.0.0/8").network, end).await.unwrap(), "an expired ban is removed");
        list.add(ban("192.0.2.7"), end).await.unwrap();
        assert_eq!(BansFile::read(path.clone()).unwrap().bans.len(), 1);
        std::fs::remove_file(path).unwrap();
    }
}
