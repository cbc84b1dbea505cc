//! A folder that stands in for the Hub: `<namespace>/<name>/…files`.
//!
//! Owns revisions made of content, reads that prove to be of the revision asked for, and noticing changes by looking.
//! Refuses paths and links that lead out. A read of a file that was touched since its revision was handed out is
//! [`HubError::RevisionNotFound`]; what the disk refuses is [`HubError::Folder`], which is transient.
//!
//! The first look at a dataset reads all its files to hash them; later ones read what was touched. Every dataset is
//! public, and its tags are empty.

mod hashes;
mod scan;
mod snapshot;
mod watch;

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blake3::Hash;
use bytes::Bytes;
use outpost_model::limits::{FOLDER_POLL_MS_MIN, FOLDER_POLL_PAUSE_FACTOR, RANGE_BYTES_MAX};
use outpost_model::{DatasetName, Revision, Visibility};

use crate::{Access, DatasetHead, Hub, HubError, RepoFile, RepoInfo};

use scan::{Datasets, Warnings, is_missing, unreadable};
use snapshot::{KnownFiles, Snapshot};
use watch::Watch;

/// A branch that stands for the current content, beside the revisions themselves.
const MAIN: &str = "main";

/// Settings of a [`FolderHub`].
#[derive(Debug, Clone)]
pub struct FolderHubOptions {
    /// The folder.
    pub root: PathBuf,
    /// Where content hashes are kept between runs; without it every start reads all files.
    pub hashes_file: Option<PathBuf>,
    /// Shortest time between two looks for changes.
    pub poll_ms_min: u64,
}

impl FolderHubOptions {
    /// The defaults of [`outpost_model::limits`] for a folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), hashes_file: None, poll_ms_min: FOLDER_POLL_MS_MIN }
    }
}

/// A folder as a Hub. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct FolderHub {
    folder: Arc<Folder>,
    watch: Arc<tokio::sync::Mutex<Watching>>,
    poll_ms_min: u64,
}

#[derive(Default)]
struct Watching {
    watch: Watch,
    /// How long the last look took; `None` before the first.
    last_look: Option<Duration>,
}

impl FolderHub {
    /// Opens a folder; its datasets are read when they are asked for.
    ///
    /// # Errors
    /// [`HubError::Folder`] when it is not a readable folder.
    pub fn open(options: FolderHubOptions) -> Result<Self, HubError> {
        let FolderHubOptions { root, hashes_file, poll_ms_min } = options;
        std::fs::read_dir(&root).map_err(|error| unreadable(&root, &error))?;
        let kept = hashes_file.as_deref().map(hashes::load).unwrap_or_default();
        let folder = Folder {
            root,
            hashes_file,
            kept: Mutex::new(kept),
            has_news: AtomicBool::new(false),
            datasets: Mutex::default(),
            warnings: Warnings::default(),
        };
        Ok(Self { folder: Arc::new(folder), watch: Arc::default(), poll_ms_min })
    }

    /// Runs work on the disk away from the asynchronous threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, HubError> {
        let folder = Arc::clone(&self.folder);
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.unwrap_or_else(|error| Err(HubError::Folder(format!("reading was ended: {error}"))))
    }
}

/// What is known about the folder.
struct Folder {
    root: PathBuf,
    hashes_file: Option<PathBuf>,
    /// Hashes of datasets without a snapshot: of the last run, or of a look that failed.
    kept: Mutex<HashMap<DatasetName, KnownFiles>>,
    /// Whether files were read since the hashes were saved.
    has_news: AtomicBool,
    datasets: Mutex<HashMap<DatasetName, Arc<Dataset>>>,
    warnings: Warnings,
}

#[derive(Default)]
struct Dataset {
    current: Mutex<Option<Arc<Snapshot>>>,
    /// Held while the files are read, so that two callers do not read them twice.
    refreshing: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Folder {
    fn datasets(&self) -> Result<Datasets, HubError> {
        scan::datasets(&self.root, &self.warnings)
    }

    fn dir(&self, dataset: &DatasetName) -> Result<PathBuf, HubError> {
        match scan::dataset_dir(&self.root, dataset)? {
            Some(dir) => Ok(dir),
            None => Err(HubError::RepoNotFound(dataset.to_string())),
        }
    }

    fn fingerprint(&self, dataset: &DatasetName) -> Result<Hash, HubError> {
        Ok(snapshot::fingerprint(&scan::files(&self.dir(dataset)?, &self.warnings)?))
    }

    /// The dataset as it is now.
    fn refresh(&self, dataset: &DatasetName) -> Result<Arc<Snapshot>, HubError> {
        let dir = self.dir(dataset).inspect_err(|error| {
            if matches!(error, HubError::RepoNotFound(_)) {
                self.forget(dataset);
            }
        })?;
        let state = Arc::clone(lock(&self.datasets).entry(dataset.clone()).or_default());
        let _one_at_a_time = lock(&state.refreshing);
        let before = lock(&state.current).clone();
        if let Some(before) = before.as_ref().filter(|before| before.is_settled && before.dir == dir)
            && before.fingerprint == snapshot::fingerprint(&scan::files(&dir, &self.warnings)?)
        {
            return Ok(Arc::clone(before));
        }
        let mut known = self.known(dataset, before.as_deref());
        let taken = match Snapshot::take(&dir, &mut known, &self.warnings) {
            Ok(taken) => taken,
            Err(error) => {
                lock(&self.kept).insert(dataset.clone(), known);
                return Err(error);
            }
        };
        lock(&self.kept).remove(dataset);
        if taken.has_read {
            self.has_news.store(true, Ordering::Relaxed);
        }
        let snapshot = Arc::new(taken.snapshot);
        *lock(&state.current) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn known(&self, dataset: &DatasetName, before: Option<&Snapshot>) -> KnownFiles {
        let mut known = lock(&self.kept).get(dataset).cloned().unwrap_or_default();
        if let Some(before) = before {
            known.extend(before.known().map(|(path, file)| (path.to_owned(), file)));
        }
        known
    }

    /// The dataset at a revision, which must be that of its current content.
    fn at(&self, dataset: &DatasetName, revision: &Revision) -> Result<Arc<Snapshot>, HubError> {
        let state = lock(&self.datasets).get(dataset).cloned();
        let current = state.and_then(|state| lock(&state.current).clone());
        if let Some(current) = current.filter(|current| current.is_settled && current.revision == *revision) {
            return Ok(current);
        }
        let now = self.refresh(dataset)?;
        if now.revision == *revision || revision.as_str() == MAIN {
            Ok(now)
        } else {
            Err(HubError::RevisionNotFound(revision.to_string()))
        }
    }

    fn forget(&self, dataset: &DatasetName) {
        lock(&self.datasets).remove(dataset);
        lock(&self.kept).remove(dataset);
    }

    /// Bytes of a file, checked to be those that the snapshot was made of.
    fn read(&self, snapshot: &Snapshot, path: &str, offset: u64, length: u64) -> Result<Bytes, HubError> {
        let identity = snapshot.identity(path).ok_or_else(|| HubError::EntryNotFound(path.to_owned()))?;
        let length = length.min(identity.size.saturating_sub(offset));
        let changed = || HubError::RevisionNotFound(snapshot.revision.to_string());
        let read = || -> io::Result<Option<Vec<u8>>> {
            let mut file = scan::open(&snapshot.dir, path)?;
            if scan::identity_of(&file)? != identity {
                return Ok(None);
            }
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            file.seek(SeekFrom::Start(offset.min(identity.size)))?;
            file.by_ref().take(length).read_to_end(&mut bytes)?;
            let is_same = scan::identity_of(&file)? == identity && bytes.len() as u64 == length;
            Ok(is_same.then_some(bytes))
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(changed()),
            Err(error) if is_missing(&error) => Err(changed()),
            Err(error) => Err(unreadable(&snapshot.dir.join(path), &error)),
        }
    }

    /// Looks for changes and saves what reading them cost.
    fn look(&self, watch: &Watch) -> Result<(Watch, Vec<DatasetHead>), HubError> {
        let looked = watch.look(self);
        if let Some(path) = &self.hashes_file
            && self.has_news.swap(false, Ordering::Relaxed)
            && let Err(error) = self.save(path)
        {
            self.warnings
                .once(format!("'{}' cannot be written, a restart reads all files: {error}", path.display()));
        }
        looked
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let datasets = lock(&self.datasets).clone();
        let kept = lock(&self.kept).clone();
        let current: Vec<_> = datasets
            .iter()
            .filter_map(|(dataset, state)| Some((dataset, lock(&state.current).clone()?)))
            .collect();
        let current = current.iter().flat_map(|(dataset, snapshot)| {
            snapshot.known().map(move |(path, known)| (*dataset, path, known))
        });
        let kept = kept.iter().flat_map(|(dataset, files)| {
            files.iter().map(move |(path, known)| (dataset, path.as_str(), *known))
        });
        hashes::save(path, current.chain(kept))
    }
}

#[async_trait]
impl Hub for FolderHub {
    fn describe(&self) -> String {
        self.folder.root.display().to_string()
    }

    async fn list_datasets(&self, limit: usize) -> Result<Vec<DatasetName>, HubError> {
        self.blocking(move |folder| Ok(folder.datasets()?.names.into_iter().take(limit).collect())).await
    }

    async fn repo_info(
        &self,
        dataset: &DatasetName,
        revision: Option<&Revision>,
    ) -> Result<RepoInfo, HubError> {
        let (dataset, revision) = (dataset.clone(), revision.cloned());
        self.blocking(move |folder| {
            let snapshot = match revision {
                Some(revision) => folder.at(&dataset, &revision)?,
                None => folder.refresh(&dataset)?,
            };
            Ok(RepoInfo {
                dataset,
                revision: snapshot.revision.clone(),
                visibility: Visibility::Public,
                disabled: false,
                tags: Vec::new(),
                viewer_disabled: snapshot.viewer_disabled,
            })
        })
        .await
    }

    async fn list_files(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        folder: &str,
    ) -> Result<Vec<RepoFile>, HubError> {
        let (dataset, revision, inside) = (dataset.clone(), revision.clone(), folder.to_owned());
        self.blocking(move |folder| folder.at(&dataset, &revision)?.listing.under(&inside)).await
    }

    async fn read_range(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, HubError> {
        if length > RANGE_BYTES_MAX {
            return Err(HubError::TooLarge { path: path.to_owned(), size: length, limit: RANGE_BYTES_MAX });
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (dataset, revision, path) = (dataset.clone(), revision.clone(), path.to_owned());
        self.blocking(move |folder| {
            let snapshot = folder.at(&dataset, &revision)?;
            folder.read(&snapshot, &path, offset, length)
        })
        .await
    }

    async fn read_file(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, HubError> {
        let (dataset, revision, path) = (dataset.clone(), revision.clone(), path.to_owned());
        self.blocking(move |folder| {
            let snapshot = folder.at(&dataset, &revision)?;
            let Some(size) = snapshot.identity(&path).map(|identity| identity.size) else { return Ok(None) };
            if size > bytes_max {
                return Err(HubError::TooLarge { path, size, limit: bytes_max });
            }
            folder.read(&snapshot, &path, 0, size).map(Some)
        })
        .await
    }

    async fn auth_check(
        &self,
        dataset: &DatasetName,
        authorization: Option<&str>,
    ) -> Result<Access, HubError> {
        let dataset = dataset.clone();
        let exists = self.blocking(move |folder| scan::dataset_dir(&folder.root, &dataset)).await?.is_some();
        Ok(match (exists, authorization) {
            (true, _) => Access::Granted,
            (false, None) => Access::Unauthenticated,
            (false, Some(_)) => Access::Denied,
        })
    }

    async fn whoami(&self) -> Result<Option<String>, HubError> {
        Ok(None)
    }

    async fn changes(&self) -> Result<Vec<DatasetHead>, HubError> {
        let mut watching = self.watch.lock().await;
        loop {
            if let Some(last_look) = watching.last_look {
                let pause = last_look.saturating_mul(FOLDER_POLL_PAUSE_FACTOR);
                tokio::time::sleep(pause.max(Duration::from_millis(self.poll_ms_min))).await;
            }
            let was_new = watching.watch.is_new();
            let watch = watching.watch.clone();
            let started = Instant::now();
            let looked = self.blocking(move |folder| folder.look(&watch)).await;
            // The first look reads everything and says nothing about the next.
            watching.last_look = Some(if was_new { Duration::ZERO } else { started.elapsed() });
            let (watch, heads) = looked?;
            // No wait between here and the return: what is remembered as reported is handed out.
            watching.watch = watch;
            if was_new || !heads.is_empty() {
                return Ok(heads);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file may change unseen right after it was read; what was read then is looked at again.
    #[test]
    fn an_unsettled_revision_is_checked_before_it_is_served() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("u/d")).unwrap();
        let hub = FolderHub::open(FolderHubOptions::new(root.path())).unwrap();
        let dataset = DatasetName::new("u/d").unwrap();
        let unseen = Revision::new("unseen").unwrap();
        for (is_settled, is_served) in [(true, true), (false, false)] {
            let dir = root.path().canonicalize().unwrap().join("u/d");
            let mut snapshot =
                Snapshot::take(&dir, &mut KnownFiles::new(), &hub.folder.warnings).unwrap().snapshot;
            snapshot.revision = unseen.clone();
            snapshot.is_settled = is_settled;
            let state = Arc::new(Dataset::default());
            *lock(&state.current) = Some(Arc::new(snapshot));
            lock(&hub.folder.datasets).insert(dataset.clone(), state);
            assert_eq!(hub.folder.at(&dataset, &unseen).is_ok(), is_served);
        }
    }
}
