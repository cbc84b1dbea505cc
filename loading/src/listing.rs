//! The files of a repository at its revision, asked for once.
//!
//! Owns which folders were listed. A folder that lies in a listed one costs nothing; after
//! [`FOLDER_LISTINGS_MAX`] folders the whole repository is listed instead. A folder that does not exist is empty.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use outpost_hub::RepoFile;

use crate::error::LoadError;

/// Folders that are listed one by one before the whole repository is.
const FOLDER_LISTINGS_MAX: usize = 8;

/// Lists a folder recursively, sorted by path; empty when there is no such folder.
pub type ListFolder = Box<dyn Fn(&str) -> Result<Vec<RepoFile>, LoadError> + Send + Sync>;

type Files = Arc<[Arc<RepoFile>]>;

/// The files of the folders that were listed.
pub type Listed = HashMap<String, Files>;

/// The files of a repository, listed on demand.
pub struct Listing {
    list_folder: ListFolder,
    listed: Mutex<Listed>,
}

/// The files under one folder, sorted by path in code-point order.
pub struct FilesUnder {
    files: Files,
    range: Range<usize>,
}

impl std::ops::Deref for FilesUnder {
    type Target = [Arc<RepoFile>];
    fn deref(&self) -> &Self::Target {
        &self.files[self.range.clone()]
    }
}

impl Listing {
    /// A listing that asks `list_folder` for what is not `listed` yet.
    #[must_use]
    pub fn new(list_folder: ListFolder, listed: Listed) -> Self {
        Self { list_folder, listed: Mutex::new(listed) }
    }

    /// What was listed so far.
    #[must_use]
    pub fn listed(&self) -> Listed {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All files under `folder`; `""` is the root.
    ///
    /// # Errors
    /// The error of the listing, when one was needed and failed.
    pub fn under(&self, folder: &str) -> Result<FilesUnder, LoadError> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = covering(&listed, folder) {
            return Ok(select(files, folder));
        }
        let target = if listed.len() < FOLDER_LISTINGS_MAX { folder } else { "" };
        let mut files = (self.list_folder)(target)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let files: Files = files.into_iter().map(Arc::new).collect();
        listed.insert(target.to_owned(), Arc::clone(&files));
        Ok(select(&files, folder))
    }
}

/// The listing of the folder or of one above it.
fn covering<'a>(listed: &'a Listed, folder: &str) -> Option<&'a Files> {
    let mut ancestor = folder;
    loop {
        if let Some(files) = listed.get(ancestor) {
            return Some(files);
        }
        if ancestor.is_empty() {
            return None;
        }
        ancestor = ancestor.rfind('/').map_or("", |slash| &ancestor[..slash]);
    }
}

fn select(files: &Files, folder: &str) -> FilesUnder {
    let range = if folder.is_empty() {
        0..files.len()
    } else {
        let prefix = format!("{folder}/");
        let start = files.partition_point(|file| *file.path < *prefix);
        let length = files[start..].partition_point(|file| file.path.starts_with(&prefix));
        start..start + length
    };
    FilesUnder { files: Arc::clone(files), range }
}

#[cfg(test)]
pub(crate) fn listing_of(paths: &[&str]) -> Listing {
    let files: Vec<RepoFile> =
        paths.iter().map(|path| RepoFile { path: (*path).to_owned(), size: 1 }).collect();
    let list_folder = Box::new(move |folder: &str| {
        let inside = |path: &str| folder.is_empty() || path.starts_with(&format!("{folder}/"));
        Ok(files.iter().filter(|file| inside(&file.path)).cloned().collect())
    });
    Listing::new(list_folder, Listed::new())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting() -> (Listing, Arc<AtomicUsize>) {
        let inner = listing_of(&["a/1", "a-b/2", "a/c/3", "b", "d/4"]);
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let list_folder = Box::new(move |folder: &str| {
            counter.fetch_add(1, Ordering::Relaxed);
            inner.under(folder).map(|files| files.iter().map(|file| (**file).clone()).collect())
        });
        (Listing::new(list_folder, Listed::new()), count)
    }

    fn paths(files: &FilesUnder) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn a_folder_inside_a_listed_one_is_not_listed_again() {
        let (listing, count) = counting();
        assert_eq!(paths(&listing.under("a").unwrap()), ["a/1", "a/c/3"]);
        assert_eq!(paths(&listing.under("a/c").unwrap()), ["a/c/3"]);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(paths(&listing.under("").unwrap()), ["a-b/2", "a/1", "a/c/3", "b", "d/4"]);
        assert_eq!(paths(&listing.under("a").unwrap()), ["a/1", "a/c/3"]);
        assert_eq!(paths(&listing.under("nope").unwrap()), [""; 0]);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn many_folders_are_listed_at_once() {
        let (listing, count) = counting();
        for folder in 0..100 {
            listing.under(&format!("f{folder}")).unwrap();
        }
        assert_eq!(count.load(Ordering::Relaxed), FOLDER_LISTINGS_MAX + 1);
    }
}
