//! Looking at the disk: which datasets there are, which files they have, opening one.
//!
//! Owns the layout `<namespace>/<name>/…files` and what is not part of it: `.git`, special files, names that no
//! dataset can have, links that lead out. Refuses to follow a link out of the root (for a dataset's folder) or out of
//! the dataset (for its files). What cannot be read is [`HubError::Folder`] with the path in question.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use outpost_model::DatasetName;
use outpost_model::limits::{FOLDER_DATASETS_MAX, HUB_TREE_ENTRIES_MAX};
use walkdir::WalkDir;

use crate::HubError;

/// Different warnings remembered, so that each is logged once.
const WARNINGS_MAX: usize = 1_000;

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    /// Inode change time: moves also when a tool sets the modification time back.
    pub(super) changed_ns: i64,
    pub(super) inode: u64,
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            size: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified_ns = since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or_default();
        Self { size: metadata.len(), modified_ns, changed_ns: modified_ns, inode: 0 }
    }
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) identity: Identity,
}

/// The datasets of a folder Hub.
#[derive(Debug, Default)]
pub(super) struct Datasets {
    pub(super) names: BTreeSet<DatasetName>,
    /// Namespaces that could not be read: whether they have datasets is not known.
    pub(super) unreadable: HashSet<String>,
}

/// Logs each warning once.
#[derive(Default)]
pub(super) struct Warnings {
    said: Mutex<HashSet<String>>,
}

impl Warnings {
    pub(super) fn once(&self, message: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < WARNINGS_MAX && !said.contains(&message) {
            tracing::warn!("{message}");
            said.insert(message);
        }
    }
}

/// All datasets under `root`.
pub(super) fn datasets(root: &Path, warnings: &Warnings) -> Result<Datasets, HubError> {
    let root = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    let mut found = Datasets::default();
    for namespace in folders_in(&root, &root, warnings).map_err(|error| unreadable(&root, &error))? {
        let path = root.join(&namespace);
        let names = match folders_in(&path, &root, warnings) {
            Ok(names) => names,
            Err(error) => {
                warnings.once(unreadable(&path, &error).to_string());
                found.unreadable.insert(namespace);
                continue;
            }
        };
        for name in names {
            match DatasetName::new(&format!("{namespace}/{name}")) {
                Ok(dataset) => _ = found.names.insert(dataset),
                Err(error) => warnings.once(format!("'{}' is skipped: {error}", path.join(name).display())),
            }
        }
        if found.names.len() > FOLDER_DATASETS_MAX {
            let reason = format!("'{}' has more than {FOLDER_DATASETS_MAX} datasets", root.display());
            return Err(HubError::Folder(reason));
        }
    }
    Ok(found)
}

/// Names of the folders in `folder`, hidden ones aside. Links count when they stay under `root`.
fn folders_in(folder: &Path, root: &Path, warnings: &Warnings) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        let is_folder =
            if kind.is_symlink() { is_folder_inside(&path, root, warnings) } else { kind.is_dir() };
        if !is_folder {
            continue;
        }
        match entry.file_name().into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => names.push(name),
            Err(_) => warnings.once(format!("'{}' is skipped: its name is not UTF-8", path.display())),
        }
    }
    Ok(names)
}

fn is_folder_inside(link: &Path, root: &Path, warnings: &Warnings) -> bool {
    let Ok(target) = link.canonicalize() else { return false };
    let is_inside = target.starts_with(root);
    if !is_inside {
        let reason = "it is a link out of the Hub folder; move or mount the data there";
        warnings.once(format!("'{}' is skipped: {reason}", link.display()));
    }
    is_inside && target.is_dir()
}

/// The real folder of a dataset, `None` when there is none.
pub(super) fn dataset_dir(root: &Path, dataset: &DatasetName) -> Result<Option<PathBuf>, HubError> {
    let root = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    // A bare legacy name would be a namespace folder.
    if !dataset.as_str().contains('/') {
        return Ok(None);
    }
    match root.join(dataset.as_str()).canonicalize() {
        Ok(dir) => Ok((dir != root && dir.starts_with(&root) && dir.is_dir()).then_some(dir)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(unreadable(&root.join(dataset.as_str()), &error)),
    }
}

/// All files of a dataset, sorted by path.
pub(super) fn files(dir: &Path, warnings: &Warnings) -> Result<Vec<Found>, HubError> {
    let mut found = Vec::new();
    let walk = WalkDir::new(dir).min_depth(1).follow_links(false).into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != ".git") {
        let entry = match entry {
            Ok(entry) => entry,
            // Gone between listing and looking.
            Err(error) if error.io_error().is_some_and(is_missing) => continue,
            Err(error) => {
                return Err(HubError::Folder(format!("{error}; make it readable for the node's user")));
            }
        };
        let kind = entry.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            continue;
        }
        let Some(path) = entry.path().strip_prefix(dir).ok().and_then(repo_path) else {
            warnings.once(format!("'{}' is skipped: its name is not UTF-8", entry.path().display()));
            continue;
        };
        match identity(dir, entry.path(), kind.is_symlink()) {
            Ok(Some(identity)) => found.push(Found { path, identity }),
            Ok(None) => {
                let reason = "it is no file, or a link that leads out of its dataset";
                warnings.once(format!("'{}' is skipped: {reason}", entry.path().display()));
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(unreadable(entry.path(), &error)),
        }
        if found.len() > HUB_TREE_ENTRIES_MAX {
            let reason = format!("'{}' has more than {HUB_TREE_ENTRIES_MAX} files", dir.display());
            return Err(HubError::Folder(reason));
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The path in the repository, `/`-separated.
fn repo_path(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    parts.map(|parts| parts.join("/"))
}

/// The identity of the file at `path`; of a link, that of its target. `None` for what must not be read.
fn identity(dir: &Path, path: &Path, is_link: bool) -> io::Result<Option<Identity>> {
    if is_link && !path.canonicalize().is_ok_and(|real| is_inside(dir, &real)) {
        return Ok(None);
    }
    let metadata = fs::metadata(path)?;
    Ok(metadata.is_file().then(|| Identity::of(&metadata)))
}

/// Whether a real path is in a dataset and not in its `.git`.
fn is_inside(dir: &Path, real: &Path) -> bool {
    real.strip_prefix(dir).is_ok_and(|inside| inside.iter().all(|part| part != ".git"))
}

/// Opens a file of a dataset. What it opened is told by its identity, which the caller compares.
pub(super) fn open(dir: &Path, path: &str) -> io::Result<File> {
    let real = dir.join(path).canonicalize()?;
    // Opening a pipe would wait for its writer.
    if !is_inside(dir, &real) || !fs::metadata(&real)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    File::open(real)
}

/// The identity of an open file.
pub(super) fn identity_of(file: &File) -> io::Result<Identity> {
    file.metadata().map(|metadata| Identity::of(&metadata))
}

/// Whether an error says that there is no such file.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The error for a path that exists and cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> HubError {
    HubError::Folder(format!("'{}': {error}; make it readable for the node's user", path.display()))
}
