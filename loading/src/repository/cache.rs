//! What the metadata of a repository says, kept for the next jobs of the same revision.
//!
//! Owns the outlines of the repositories that were opened last, so that a dataset of many configs reads its card once
//! and not once for every job. A revision never changes, so an outline is never stale; opening another revision of a
//! dataset drops those before it. Refuses to keep failures, rows, and more than its bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outpost_hub::RepoFile;
use outpost_model::{DatasetName, Revision, limits};

use super::config::{ConfigFiles, ConfigSpec};
use super::{LoadContext, Repository, RepositoryFiles, open};
use crate::error::LoadError;
use crate::listing::Listed;

/// Memory of what was parsed for each byte of its text, by a wide margin.
const MEMORY_PER_TEXT_BYTE: usize = 8;

/// What the metadata files of a repository say.
pub(super) struct Outline {
    pub(super) configs: Vec<Arc<ConfigSpec>>,
    pub(super) default_config: Option<String>,
    /// The folders that were listed to find the data files.
    pub(super) listed: Listed,
}

impl Outline {
    /// Memory that it takes, at most.
    fn cost_bytes(&self) -> usize {
        let file = |file: &Arc<RepoFile>| size_of::<RepoFile>() + size_of::<usize>() + file.path.len();
        let files: usize = self.listed.values().flat_map(|files| files.iter()).map(file).sum();
        files + self.configs.iter().map(|spec| spec_cost_bytes(spec)).sum::<usize>()
    }
}

/// What a config says is measured by its text, written anew: aliases in YAML make it longer than the file.
fn spec_cost_bytes(spec: &ConfigSpec) -> usize {
    let features = [&spec.features, &spec.info.features].into_iter().flatten();
    let types: usize = features.map(|features| features.to_json().to_string().len()).sum();
    let params: usize = spec.params.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    let splits: usize =
        spec.info.splits.iter().flatten().map(|split| split.len() + size_of::<String>()).sum();
    let origin: usize = match &spec.origin {
        // The files themselves are counted with the listing.
        ConfigFiles::Resolved(files) => files.values().map(|files| files.len() * size_of::<usize>()).sum(),
        ConfigFiles::Patterns { folder, patterns } => {
            let pattern = |pattern: &String| pattern.len() + size_of::<String>();
            folder.len() + patterns.values().flatten().map(pattern).sum::<usize>()
        }
    };
    size_of::<ConfigSpec>() + spec.name.len() + origin + splits + (types + params) * MEMORY_PER_TEXT_BYTE
}

struct Kept {
    dataset: DatasetName,
    revision: Revision,
    outline: Arc<Outline>,
    cost_bytes: usize,
}

/// Opens repositories; one that was opened before costs no call to the Hub. Shared between jobs.
#[derive(Default)]
pub struct RepositoryCache {
    /// The last used one at the end.
    kept: Mutex<VecDeque<Kept>>,
}

impl RepositoryCache {
    /// As [`Repository::open`].
    ///
    /// # Errors
    /// Those of [`Repository::open`]; they are not kept.
    pub fn open(
        &self,
        context: &LoadContext,
        dataset: &DatasetName,
        revision: &Revision,
    ) -> Result<Repository, LoadError> {
        context.guard.check()?;
        if let Some(outline) = self.get(dataset, revision) {
            let files = RepositoryFiles::new(context, dataset, revision, outline.listed.clone());
            return Ok(Repository::of(files, &outline));
        }
        let files = RepositoryFiles::new(context, dataset, revision, Listed::new());
        let outline = Arc::new(open::outline(&files)?);
        self.put(dataset, revision, &outline);
        Ok(Repository::of(files, &outline))
    }

    fn get(&self, dataset: &DatasetName, revision: &Revision) -> Option<Arc<Outline>> {
        let mut kept = self.lock();
        let place = kept.iter().position(|kept| kept.dataset == *dataset && kept.revision == *revision)?;
        let found = kept.remove(place)?;
        let outline = Arc::clone(&found.outline);
        kept.push_back(found);
        Some(outline)
    }

    fn put(&self, dataset: &DatasetName, revision: &Revision, outline: &Arc<Outline>) {
        let cost_bytes = outline.cost_bytes();
        let mut kept = self.lock();
        kept.retain(|kept| kept.dataset != *dataset);
        if cost_bytes > limits::REPOSITORIES_CACHED_BYTES_MAX {
            return;
        }
        kept.push_back(Kept {
            dataset: dataset.clone(),
            revision: revision.clone(),
            outline: Arc::clone(outline),
            cost_bytes,
        });
        while kept.len() > limits::REPOSITORIES_CACHED_MAX
            || kept.iter().map(|kept| kept.cost_bytes).sum::<usize>() > limits::REPOSITORIES_CACHED_BYTES_MAX
        {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: usize) -> DatasetName {
        DatasetName::new(&format!("u/d{index}")).unwrap()
    }

    fn revision(text: &str) -> Revision {
        Revision::new(text).unwrap()
    }

    /// An outline whose listing takes about this many bytes.
    fn outline(bytes: usize) -> Arc<Outline> {
        let file = Arc::new(RepoFile { path: "x".repeat(bytes), size: 1 });
        let listed = Listed::from([(String::new(), Arc::from([file]))]);
        Arc::new(Outline { configs: Vec::new(), default_config: None, listed })
    }

    #[test]
    fn the_longest_unused_goes_when_there_are_too_many() {
        let cache = RepositoryCache::default();
        for index in 0..limits::REPOSITORIES_CACHED_MAX {
            cache.put(&name(index), &revision("a"), &outline(1));
        }
        assert!(cache.get(&name(0), &revision("a")).is_some(), "used: no longer the first to go");
        cache.put(&name(1_000), &revision("a"), &outline(1));
        assert!(cache.get(&name(0), &revision("a")).is_some());
        assert!(cache.get(&name(1), &revision("a")).is_none());
        assert_eq!(cache.lock().len(), limits::REPOSITORIES_CACHED_MAX);
    }

    #[test]
    fn bytes_are_bounded_and_what_exceeds_them_alone_is_not_kept() {
        let cache = RepositoryCache::default();
        let third = limits::REPOSITORIES_CACHED_BYTES_MAX / 3;
        for index in 0..3 {
            cache.put(&name(index), &revision("a"), &outline(third));
        }
        let found = |index: usize| cache.get(&name(index), &revision("a")).is_some();
        assert_eq!([0, 1, 2].map(found), [false, true, true]);
        cache.put(&name(3), &revision("a"), &outline(limits::REPOSITORIES_CACHED_BYTES_MAX));
        assert_eq!([1, 2, 3].map(found), [true, true, false]);
    }

    #[test]
    fn another_revision_takes_the_place_of_those_before() {
        let cache = RepositoryCache::default();
        cache.put(&name(0), &revision("a"), &outline(1));
        cache.put(&name(0), &revision("b"), &outline(1));
        assert!(cache.get(&name(0), &revision("a")).is_none());
        assert!(cache.get(&name(0), &revision("b")).is_some());
    }
}
