//! The embedded engine behind a small private facade: the only module that names sled.
//!
//! Owns the rules for opening a store's directory: an own lock taken first and waited for, torn snapshots removed,
//! corruption set aside under another name and replaced by an empty store. Refuses to interpret keys and values.
//! A failed write or flush is for the caller to treat as fatal; reads of damaged pages come back as `Damaged`.

use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outpost_model::limits;

use crate::error::StorageError;

/// Pause between tries to take the lock.
const LOCK_POLL: Duration = Duration::from_millis(20);
/// Names tried for a directory that is set aside.
const SET_ASIDE_NAMES_MAX: u32 = 10_000;

/// An opened store with its trees.
pub(crate) struct Kv {
    /// Records, positions and jobs: everything that must commit together.
    pub(crate) state: Tree,
    /// Pieces of large values.
    pub(crate) chunks: Tree,
    db: sled::Db,
    // Dropped last: fields drop in order, and the engine must be closed before another process may open it.
    _lock: File,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Where a damaged store was moved; the store started empty.
    pub set_aside: Option<PathBuf>,
    /// Torn snapshots of an earlier crash that were removed.
    pub torn_snapshots_removed: usize,
    /// Jobs that were running when the process ended and wait again.
    pub jobs_interrupted: usize,
    /// Records that could not be read and were dropped.
    pub records_damaged: u64,
    /// Whether acknowledged history was missing, so that a new epoch was minted over the surviving data.
    pub history_lost: bool,
}

/// Opens the store under `root`, waiting up to `lock_wait_ms` for another process to let go of it. A condemned store is
/// set aside first. `cache_bytes` bounds the engine's page cache; its memory is a few times that.
pub(crate) fn open(
    root: &Path,
    lock_wait_ms: u64,
    cache_bytes: u64,
) -> Result<(Kv, OpenReport), StorageError> {
    fs::create_dir_all(root).map_err(|error| io_error("create", root, &error))?;
    let deadline = Instant::now() + Duration::from_millis(lock_wait_ms);
    let lock = take_lock(root, deadline)?;
    let mut report = OpenReport::default();
    let dir = engine_dir(root);
    if condemned_marker(root).exists() {
        report.set_aside = set_aside(root)?;
    }
    report.torn_snapshots_removed = remove_torn_snapshots(&dir)?;
    let db = open_engine(&dir, deadline, cache_bytes)?;
    let condemn = Condemn(condemned_marker(root));
    let state = open_tree(&db, "state", &condemn)?;
    let chunks = open_tree(&db, "chunks", &condemn)?;
    Ok((Kv { state, chunks, db, _lock: lock }, report))
}

/// Runs `load`; when it finds the store under `root` damaged, the store is set aside and `load` runs over an empty one.
pub(crate) fn rebuilding<T>(
    root: &Path,
    load: impl Fn() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    // The engine asserts on some forms of damage instead of returning an error.
    let attempt = catch_unwind(AssertUnwindSafe(&load));
    let cause = match attempt {
        Ok(Err(StorageError::Damaged(cause))) => cause,
        Ok(other) => return other,
        Err(_) => "the engine panicked".to_owned(),
    };
    tracing::error!(%cause, directory = %root.display(), "the store is damaged and is set aside");
    Condemn(condemned_marker(root)).mark();
    load()
}

impl Kv {
    /// Waits until everything applied so far is on disk.
    pub(crate) fn flush(&self) -> Result<(), StorageError> {
        self.db.flush().map(|_| ()).map_err(|error| engine_error(&error))
    }

    /// Bytes that the store takes on disk.
    pub(crate) fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.db.size_on_disk().map_err(|error| engine_error(&error))
    }
}

/// Marks a store whose engine found its own files damaged, so that the next open sets it aside and starts anew.
#[derive(Clone)]
struct Condemn(PathBuf);

impl Condemn {
    fn mark(&self) {
        if let Err(error) = File::create(&self.0) {
            tracing::error!(%error, "failed to mark the damaged store for replacement");
        }
    }

    /// Turns an engine's error into ours, marking the store when its files are damaged.
    fn judge(&self, error: &sled::Error) -> StorageError {
        if !is_damage(error) {
            return engine_error(error);
        }
        tracing::error!(%error, "the store's files are damaged; restart the node to rebuild it");
        self.mark();
        StorageError::Damaged(error.to_string())
    }
}

/// An ordered map of bytes. Clones share it.
#[derive(Clone)]
pub(crate) struct Tree {
    tree: sled::Tree,
    condemn: Condemn,
}

/// Writes that take effect together in one tree; a later one of the same key wins.
#[derive(Default)]
pub(crate) struct Batch {
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.writes.push((key, None));
    }

    /// The writes, in the order in which they were added.
    pub(crate) fn into_writes(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.writes.into_iter()
    }
}

impl Tree {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        Ok(self.tree.get(key).map_err(|error| self.condemn.judge(&error))?.map(Value::whole))
    }

    /// Writes one pair. Unlike [`Tree::apply`] it does not keep the engine's readers waiting.
    pub(crate) fn put(&self, key: &[u8], value: Vec<u8>) -> Result<(), StorageError> {
        self.tree.insert(key, value).map(|_| ()).map_err(|error| self.write_failed(&error))
    }

    /// Deletes one pair. Unlike [`Tree::apply`] it does not keep the engine's readers waiting.
    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.tree.remove(key).map(|_| ()).map_err(|error| self.write_failed(&error))
    }

    /// Applies all writes of a batch or none. Every reader of every store of the process waits meanwhile.
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let mut writes = sled::Batch::default();
        for (key, value) in batch.writes {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.tree.apply_batch(writes).map_err(|error| self.write_failed(&error))
    }

    /// A write that fails leaves the store in doubt, whatever the cause.
    fn write_failed(&self, error: &sled::Error) -> StorageError {
        match self.condemn.judge(error) {
            full @ StorageError::DiskFull(_) => full,
            other => StorageError::Engine(other.to_string()),
        }
    }

    /// Pairs whose key starts with `prefix`, in order.
    pub(crate) fn prefix<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Value, Value), StorageError>> + use<'a> {
        self.tree.scan_prefix(prefix).map(|item| self.pair(item))
    }

    /// Pairs with `from <= key`, in order.
    pub(crate) fn from<'a>(
        &'a self,
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Value, Value), StorageError>> + use<'a> {
        self.tree.range(from.to_vec()..).map(|item| self.pair(item))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    fn pair(&self, item: sled::Result<(sled::IVec, sled::IVec)>) -> Result<(Value, Value), StorageError> {
        item.map(|(key, value)| (Value::whole(key), Value::whole(value)))
            .map_err(|error| self.condemn.judge(&error))
    }
}

/// Bytes held by the engine.
pub(crate) struct Value {
    bytes: sled::IVec,
    /// Bytes at the start that are not shown.
    skipped: usize,
}

impl Value {
    fn whole(bytes: sled::IVec) -> Self {
        Self { bytes, skipped: 0 }
    }

    /// The same without its first `length` bytes.
    pub(crate) fn without_first(self, length: usize) -> Self {
        Self { skipped: (self.skipped + length).min(self.bytes.len()), ..self }
    }
}

impl std::ops::Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.skipped..]
    }
}

fn engine_dir(root: &Path) -> PathBuf {
    root.join("sled")
}

fn condemned_marker(root: &Path) -> PathBuf {
    root.join("condemned")
}

fn take_lock(root: &Path, deadline: Instant) -> Result<File, StorageError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| io_error("open the lock of", root, &error))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(StorageError::InUse(root.display().to_string())),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", root, &error)),
        }
    }
}

/// A kill while the engine writes its snapshot leaves a file that it refuses to start over; the finished older
/// snapshot stays.
fn remove_torn_snapshots(dir: &Path) -> Result<usize, StorageError> {
    let mut removed = 0;
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(io_error("list", dir, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| io_error("list", dir, &error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(|error| io_error("clean", dir, &error))?;
            tracing::warn!(file = %name, "removed a snapshot that a crash left unfinished");
            removed += 1;
        }
    }
    Ok(removed)
}

fn set_aside(root: &Path) -> Result<Option<PathBuf>, StorageError> {
    let dir = engine_dir(root);
    let mut moved = None;
    if dir.exists() {
        let target = (1..SET_ASIDE_NAMES_MAX)
            .map(|number| root.join(format!("sled.damaged-{number}")))
            .find(|candidate| !candidate.exists())
            .ok_or_else(|| StorageError::Engine("too many damaged stores, delete some".to_owned()))?;
        fs::rename(&dir, &target).map_err(|error| io_error("set aside", &dir, &error))?;
        moved = Some(target);
    }
    match fs::remove_file(condemned_marker(root)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("unmark", root, &error)),
        _ => Ok(moved),
    }
}

fn open_engine(dir: &Path, deadline: Instant, cache_bytes: u64) -> Result<sled::Db, StorageError> {
    loop {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(limits::STORE_FLUSH_MS));
        // The engine asserts on some forms of damage instead of returning an error.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
            .unwrap_or_else(|_| Err(sled::Error::ReportableBug("panic while opening".to_owned())));
        match opened {
            Ok(db) => return Ok(db),
            Err(error) if is_locked(&error) && Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(error) if is_locked(&error) => return Err(StorageError::InUse(dir.display().to_string())),
            Err(error) if is_damage(&error) => return Err(StorageError::Damaged(error.to_string())),
            Err(error) => return Err(engine_error(&error)),
        }
    }
}

fn open_tree(db: &sled::Db, name: &str, condemn: &Condemn) -> Result<Tree, StorageError> {
    let tree = db.open_tree(name).map_err(|error| condemn.judge(&error))?;
    Ok(Tree { tree, condemn: condemn.clone() })
}

/// The engine reports a held lock as an I/O error that only its text tells apart.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(_)) && error.to_string().contains("could not acquire lock")
}

fn is_damage(error: &sled::Error) -> bool {
    match error {
        sled::Error::Corruption { .. }
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_)
        // The configuration is always the same, so one that differs was not written by us.
        | sled::Error::Unsupported(_) => true,
        sled::Error::Io(io) => {
            matches!(io.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData)
        }
    }
}

fn engine_error(error: &sled::Error) -> StorageError {
    match error {
        sled::Error::Io(io) if is_full(io) => StorageError::DiskFull(error.to_string()),
        _ => StorageError::Engine(error.to_string()),
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn io_error(verb: &str, path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Engine(format!("failed to {verb} {}: {error}", path.display()))
}
