//! A dataset's content at one moment, and its revision.
//!
//! Owns the revision: the first 40 hexadecimal digits of BLAKE3 over path, size and content hash of every file, so it
//! depends on content alone. A file is read once per content: hashes are carried over while size, times and inode are
//! the same. Files that change while they are read are read again; a folder that never rests is
//! [`HubError::Folder`], which is transient.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use blake3::{Hash, Hasher};
use outpost_model::Revision;
use outpost_model::limits::METADATA_FILE_BYTES_MAX;

use crate::front_matter::viewer_disabled;
use crate::listing::Listing;
use crate::{HubError, RepoFile};

use super::scan::{self, Found, Identity, Warnings, is_missing, unreadable};

const REVISION_DIGITS: usize = 40;
const TRIES_MAX: usize = 3;

/// A file changed later than this before it was read could change again without its times moving: file systems count
/// time in ticks. Its hash is not relied on afterwards.
const UNSETTLED_NS: u64 = 100_000_000;

/// The content hash of a file that had this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) content: Hash,
}

/// Content hashes of one dataset by path.
pub(super) type KnownFiles = HashMap<String, Known>;

/// All files of a dataset as they were at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    /// Hash of all paths and identities: equal as long as nothing was touched.
    pub(super) fingerprint: Hash,
    /// Whether an equal fingerprint proves equal content.
    pub(super) is_settled: bool,
    pub(super) viewer_disabled: bool,
    /// The real folder.
    pub(super) dir: PathBuf,
    pub(super) listing: Listing,
    /// In the order of the listing.
    states: Vec<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    known: Known,
    is_settled: bool,
}

/// A snapshot and whether it cost reading files.
pub(super) struct Taken {
    pub(super) snapshot: Snapshot,
    pub(super) has_read: bool,
}

impl Snapshot {
    /// Reads what is new in `dir`. `known` are hashes of an earlier look; those of this one are added, so that they
    /// are not lost when it fails.
    pub(super) fn take(dir: &Path, known: &mut KnownFiles, warnings: &Warnings) -> Result<Taken, HubError> {
        let mut has_read = false;
        for _ in 0..TRIES_MAX {
            let found = scan::files(dir, warnings)?;
            let Some((states, read)) = hash_all(dir, &found, known)? else {
                has_read = true;
                continue;
            };
            has_read |= read;
            // Reading takes time; what was looked at first may have changed meanwhile.
            if read && scan::files(dir, warnings)? != found {
                continue;
            }
            let snapshot = Self::of(dir, found, states)?;
            return Ok(Taken { snapshot, has_read });
        }
        Err(HubError::Folder(format!("'{}' keeps changing while it is read", dir.display())))
    }

    fn of(dir: &Path, found: Vec<Found>, states: Vec<State>) -> Result<Self, HubError> {
        let readme = read_readme(dir, &found)?;
        let fingerprint = fingerprint(&found);
        let revision = revision(&found, &states);
        let files =
            found.into_iter().map(|file| RepoFile { path: file.path, size: file.identity.size }).collect();
        Ok(Self {
            revision,
            fingerprint,
            is_settled: states.iter().all(|state| state.is_settled),
            viewer_disabled: viewer_disabled(&readme),
            dir: dir.to_owned(),
            listing: Listing::new(files),
            states,
        })
    }

    /// The identity of a file.
    pub(super) fn identity(&self, path: &str) -> Option<Identity> {
        self.listing.position(path).map(|at| self.states[at].known.identity)
    }

    /// The hashes that a later look may rely on.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, Known)> {
        let files = self.listing.files().iter().zip(&self.states);
        files.filter(|(_, state)| state.is_settled).map(|(file, state)| (file.path.as_str(), state.known))
    }
}

/// Hashes of all files and whether one had to be read; `None` when a file changed on the way.
fn hash_all(
    dir: &Path,
    found: &[Found],
    known: &mut KnownFiles,
) -> Result<Option<(Vec<State>, bool)>, HubError> {
    let mut states = Vec::with_capacity(found.len());
    let mut has_read = false;
    for file in found {
        if let Some(&known) = known.get(&file.path).filter(|known| known.identity == file.identity) {
            states.push(State { known, is_settled: true });
            continue;
        }
        has_read = true;
        let is_settled = is_settled(&file.identity);
        let read = match hash_file(dir, file) {
            Err(error) if is_missing(&error) => None,
            read => read.map_err(|error| unreadable(&dir.join(&file.path), &error))?,
        };
        let Some(content) = read else { return Ok(None) };
        let state = State { known: Known { identity: file.identity, content }, is_settled };
        if is_settled {
            known.insert(file.path.clone(), state.known);
        }
        states.push(state);
    }
    Ok(Some((states, has_read)))
}

/// Whether a change after now would move the file's times.
fn is_settled(identity: &Identity) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    now.abs_diff(identity.changed_ns) >= UNSETTLED_NS
}

/// The hash of a file, `None` when it is not the one that was found.
fn hash_file(dir: &Path, found: &Found) -> io::Result<Option<Hash>> {
    let file = scan::open(dir, &found.path)?;
    if scan::identity_of(&file)? != found.identity {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    hasher.update_reader(&file)?;
    let is_same = scan::identity_of(&file)? == found.identity;
    Ok(is_same.then(|| hasher.finalize()))
}

fn read_readme(dir: &Path, found: &[Found]) -> Result<Vec<u8>, HubError> {
    use io::Read;
    let mut text = Vec::new();
    if found.iter().any(|file| file.path == "README.md") {
        let file = scan::open(dir, "README.md");
        let read = file.and_then(|file| file.take(METADATA_FILE_BYTES_MAX).read_to_end(&mut text));
        read.map_err(|error| unreadable(&dir.join("README.md"), &error))?;
    }
    Ok(text)
}

/// A hash of what can be seen without reading.
pub(super) fn fingerprint(found: &[Found]) -> Hash {
    let mut hasher = Hasher::new();
    for Found { path, identity } in found {
        add_path(&mut hasher, path);
        hasher.update(&identity.size.to_le_bytes());
        hasher.update(&identity.modified_ns.to_le_bytes());
        hasher.update(&identity.changed_ns.to_le_bytes());
        hasher.update(&identity.inode.to_le_bytes());
    }
    hasher.finalize()
}

fn revision(found: &[Found], states: &[State]) -> Revision {
    let mut hasher = Hasher::new();
    for (file, state) in found.iter().zip(states) {
        add_path(&mut hasher, &file.path);
        hasher.update(&file.identity.size.to_le_bytes());
        hasher.update(state.known.content.as_bytes());
    }
    let digits = hasher.finalize().to_hex();
    Revision::new(&digits[..REVISION_DIGITS]).expect("40 hexadecimal digits are a revision")
}

/// With its length, so that no two lists of paths hash alike.
fn add_path(hasher: &mut Hasher, path: &str) {
    hasher.update(&(path.len() as u64).to_le_bytes());
    hasher.update(path.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_files_changed_a_moment_ago_are_not_relied_on() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "x").unwrap();
        let take =
            || Snapshot::take(root.path(), &mut KnownFiles::new(), &Warnings::default()).unwrap().snapshot;
        let fresh = take();
        assert!(!fresh.is_settled && fresh.known().next().is_none());
        let settled = std::iter::repeat_with(take).find(|snapshot| snapshot.is_settled).unwrap();
        assert_eq!(settled.revision, fresh.revision);
        assert_eq!(settled.known().count(), 1);
    }

    #[test]
    fn known_hashes_are_used_for_untouched_files_only() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "x").unwrap();
        let found = scan::files(root.path(), &Warnings::default()).unwrap();
        let known = |identity| {
            let known = Known { identity, content: blake3::hash(b"known") };
            let mut known = KnownFiles::from([("a".to_owned(), known)]);
            Snapshot::take(root.path(), &mut known, &Warnings::default()).unwrap()
        };
        let untouched = found[0].identity;
        assert!(!known(untouched).has_read);
        for touched in [
            Identity { size: 2, ..untouched },
            Identity { modified_ns: 1, ..untouched },
            Identity { changed_ns: 1, ..untouched },
            Identity { inode: 1, ..untouched },
        ] {
            assert!(known(touched).has_read, "{touched:?}");
        }
    }
}
