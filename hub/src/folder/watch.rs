//! Which datasets of a folder changed between two looks.
//!
//! Owns the memory of what was reported and the rule that a change counts once two looks in a row see the same, so
//! that a dataset being copied in is reported when it is whole. A look does not alter the memory: it returns a new
//! one, kept only when its changes are handed out, so that a cancelled wait loses nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use blake3::Hash;
use outpost_model::{DatasetName, Revision};

use crate::{DatasetHead, HubError};

use super::Folder;
use super::snapshot::Snapshot;

/// What was reported so far, and what the last look saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    reported: Option<Arc<BTreeMap<DatasetName, Reported>>>,
    pending: HashMap<DatasetName, Sight>,
}

#[derive(Debug, Clone)]
struct Reported {
    revision: Revision,
    fingerprint: Hash,
    /// Whether an equal fingerprint proves equal content.
    is_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Gone,
    Fingerprint(Hash),
}

/// What one look at one dataset means.
enum Verdict {
    Same,
    /// Changed; to be seen once more.
    Pending(Sight),
    Changed(Reported),
    /// Touched or settled, with the content that was reported.
    Touched(Reported),
}

impl Watch {
    /// Whether nothing was reported yet.
    pub(super) fn is_new(&self) -> bool {
        self.reported.is_none()
    }

    /// Looks at the folder: what is new, changed and gone since the last report. Blocks on the disk.
    pub(super) fn look(&self, folder: &Folder) -> Result<(Self, Vec<DatasetHead>), HubError> {
        let datasets = folder.datasets()?;
        let mut reported = self.reported.as_deref().cloned().unwrap_or_default();
        let mut pending = HashMap::new();
        let mut heads = Vec::new();
        for dataset in &datasets.names {
            match self.verdict(folder, dataset) {
                Ok(Verdict::Same) => {}
                Ok(Verdict::Pending(sight)) => _ = pending.insert(dataset.clone(), sight),
                Ok(Verdict::Touched(now)) => _ = reported.insert(dataset.clone(), now),
                Ok(Verdict::Changed(now)) => {
                    heads
                        .push(DatasetHead { dataset: dataset.clone(), revision: Some(now.revision.clone()) });
                    reported.insert(dataset.clone(), now);
                }
                Err(error) => folder.warnings.once(format!("dataset '{dataset}' is not refreshed: {error}")),
            }
        }
        let is_known_missing = |dataset: &&DatasetName| {
            !datasets.names.contains(*dataset) && !datasets.unreadable.contains(dataset.namespace())
        };
        let missing: BTreeSet<DatasetName> = reported.keys().filter(is_known_missing).cloned().collect();
        for dataset in missing {
            if self.pending.get(&dataset) == Some(&Sight::Gone) {
                reported.remove(&dataset);
                folder.forget(&dataset);
                heads.push(DatasetHead { dataset, revision: None });
            } else {
                pending.insert(dataset, Sight::Gone);
            }
        }
        Ok((Self { reported: Some(Arc::new(reported)), pending }, heads))
    }

    fn verdict(&self, folder: &Folder, dataset: &DatasetName) -> Result<Verdict, HubError> {
        let before = self.reported.as_ref().and_then(|reported| reported.get(dataset));
        let seen = folder.fingerprint(dataset)?;
        let sight = Sight::Fingerprint(seen);
        match before {
            Some(before) if before.fingerprint == seen && before.is_settled => return Ok(Verdict::Same),
            Some(before) if before.fingerprint == seen => {}
            _ if self.is_new() || self.pending.get(dataset) == Some(&sight) => {}
            _ => return Ok(Verdict::Pending(sight)),
        }
        let snapshot = folder.refresh(dataset)?;
        if snapshot.fingerprint != seen && !self.is_new() {
            return Ok(Verdict::Pending(Sight::Fingerprint(snapshot.fingerprint)));
        }
        let now = Reported::of(&snapshot);
        Ok(match before {
            Some(before) if before.revision == now.revision => Verdict::Touched(now),
            _ => Verdict::Changed(now),
        })
    }
}

impl Reported {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            revision: snapshot.revision.clone(),
            fingerprint: snapshot.fingerprint,
            is_settled: snapshot.is_settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FolderHub, FolderHubOptions};
    use std::fs;
    use tempfile::TempDir;

    fn write(root: &TempDir, path: &str, content: &str) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn names(heads: &[DatasetHead]) -> Vec<&str> {
        heads.iter().map(|head| head.dataset.as_str()).collect()
    }

    fn watched(root: &TempDir) -> (FolderHub, Watch) {
        let hub = FolderHub::open(FolderHubOptions::new(root.path())).unwrap();
        let (watch, _) = Watch::default().look(&hub.folder).unwrap();
        (hub, watch)
    }

    #[test]
    fn a_change_counts_when_two_looks_see_the_same() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "u/d/a", "x");
        let (hub, watch) = watched(&root);
        write(&root, "u/d/b", "half");
        let (watch, heads) = watch.look(&hub.folder).unwrap();
        assert!(heads.is_empty(), "seen once");
        write(&root, "u/d/b", "half and half");
        let (watch, heads) = watch.look(&hub.folder).unwrap();
        assert!(heads.is_empty(), "still changing");
        let (_, heads) = watch.look(&hub.folder).unwrap();
        assert_eq!(names(&heads), ["u/d"]);
    }

    #[test]
    fn a_dataset_away_for_one_look_is_not_gone() {
        let root = tempfile::tempdir().unwrap();
        write(&root, "u/d/a", "x");
        let (hub, watch) = watched(&root);
        fs::rename(root.path().join("u/d"), root.path().join("away")).unwrap();
        let (watch, heads) = watch.look(&hub.folder).unwrap();
        assert!(heads.is_empty());
        fs::rename(root.path().join("away"), root.path().join("u/d")).unwrap();
        let (watch, heads) = watch.look(&hub.folder).unwrap();
        assert!(heads.is_empty());
        fs::remove_dir_all(root.path().join("u/d")).unwrap();
        let (watch, _) = watch.look(&hub.folder).unwrap();
        let (_, heads) = watch.look(&hub.folder).unwrap();
        assert_eq!(heads, [DatasetHead { dataset: DatasetName::new("u/d").unwrap(), revision: None }]);
    }

    #[test]
    fn a_look_whose_changes_were_not_handed_out_is_repeated_whole() {
        let root = tempfile::tempdir().unwrap();
        let (hub, watch) = watched(&root);
        write(&root, "u/d/a", "x");
        let (watch, _) = watch.look(&hub.folder).unwrap();
        let (_lost, first) = watch.look(&hub.folder).unwrap();
        let (_, second) = watch.look(&hub.folder).unwrap();
        assert_eq!(names(&first), ["u/d"]);
        assert_eq!(first, second);
    }
}
