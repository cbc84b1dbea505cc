//! File lists of a repository at a revision, and the cache of those of a remote Hub.
//!
//! Owns order, folder lookup, the bound on memory and single flight: one job asks for the same tree many times, and
//! several jobs of a dataset run at once. Refuses to keep failures; the next caller asks again.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use outpost_model::limits::{HUB_LISTINGS_CACHED_BYTES_MAX, HUB_LISTINGS_CACHED_MAX};
use outpost_model::{DatasetName, Revision};

use crate::{HubError, RepoFile};

/// All files of a repository at a revision, sorted by path, each path once.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    files: Vec<RepoFile>,
}

impl Listing {
    /// Sorts `files` and drops repeated paths.
    pub(crate) fn new(mut files: Vec<RepoFile>) -> Self {
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Self { files }
    }

    /// The files under `folder`, `""` for all. A folder exists when a file is under it.
    pub(crate) fn under(&self, folder: &str) -> Result<Vec<RepoFile>, HubError> {
        if folder.is_empty() {
            return Ok(self.files.clone());
        }
        let prefix = format!("{folder}/");
        let start = self.files.partition_point(|file| file.path.as_str() < prefix.as_str());
        let inside = self.files[start..].iter().take_while(|file| file.path.starts_with(&prefix));
        let files: Vec<RepoFile> = inside.cloned().collect();
        if files.is_empty() { Err(HubError::EntryNotFound(folder.to_owned())) } else { Ok(files) }
    }

    /// Where `path` is in the list.
    pub(crate) fn position(&self, path: &str) -> Option<usize> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()
    }

    /// The files in order.
    pub(crate) fn files(&self) -> &[RepoFile] {
        &self.files
    }

    fn weight_bytes(&self) -> usize {
        self.files.iter().map(|file| file.path.len() + size_of::<RepoFile>()).sum()
    }
}

/// What a list belongs to.
pub(crate) type ListingKey = (DatasetName, Revision);

type Answer = Result<Arc<Listing>, HubError>;
type Flight = Shared<BoxFuture<'static, Answer>>;

/// The file lists last used, bounded in number and bytes.
#[derive(Default)]
pub(crate) struct ListingCache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<ListingKey, Kept>,
    /// Weak, so that a request nobody waits for any more is dropped with its last caller.
    flying: HashMap<ListingKey, WeakShared<BoxFuture<'static, Answer>>>,
    uses: u64,
}

struct Kept {
    listing: Arc<Listing>,
    weight_bytes: usize,
    last_use: u64,
}

impl ListingCache {
    /// The list of `key`: the kept one, the one being fetched, or the result of `fetch`.
    pub(crate) async fn get<F>(&self, key: ListingKey, fetch: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = Result<Listing, HubError>> + Send + 'static,
    {
        let flight = match self.look_up(&key, fetch) {
            Found::Kept(listing) => return Ok(listing),
            Found::Flying(flight) => flight,
        };
        let answer = flight.clone().await;
        self.land(key, &flight, &answer);
        answer
    }

    fn look_up<F>(&self, key: &ListingKey, fetch: impl FnOnce() -> F) -> Found
    where
        F: Future<Output = Result<Listing, HubError>> + Send + 'static,
    {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.uses += 1;
        let now = state.uses;
        if let Some(kept) = state.kept.get_mut(key) {
            kept.last_use = now;
            return Found::Kept(Arc::clone(&kept.listing));
        }
        if let Some(flight) = state.flying.get(key).and_then(WeakShared::upgrade) {
            return Found::Flying(flight);
        }
        let fetched = fetch();
        let flight = async move { fetched.await.map(Arc::new) }.boxed().shared();
        state.flying.retain(|_, other| other.upgrade().is_some());
        if let Some(weak) = flight.downgrade() {
            state.flying.insert(key.clone(), weak);
        }
        Found::Flying(flight)
    }

    fn land(&self, key: ListingKey, flight: &Flight, answer: &Answer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current =
            state.flying.get(&key).and_then(WeakShared::upgrade).is_some_and(|other| other.ptr_eq(flight));
        if !is_current {
            return;
        }
        state.flying.remove(&key);
        let Ok(listing) = answer else { return };
        let weight_bytes = listing.weight_bytes();
        let last_use = state.uses;
        state.kept.insert(key, Kept { listing: Arc::clone(listing), weight_bytes, last_use });
        state.evict();
    }
}

enum Found {
    Kept(Arc<Listing>),
    Flying(Flight),
}

impl State {
    /// Drops the lists unused for longest until the bounds hold.
    fn evict(&mut self) {
        let mut total_bytes: usize = self.kept.values().map(|kept| kept.weight_bytes).sum();
        while self.kept.len() > HUB_LISTINGS_CACHED_MAX
            || (total_bytes > HUB_LISTINGS_CACHED_BYTES_MAX && self.kept.len() > 1)
        {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.last_use).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| self.kept.remove(&key)) else { return };
            total_bytes -= gone.weight_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn file(path: &str) -> RepoFile {
        RepoFile { path: path.to_owned(), size: 1 }
    }

    fn paths(files: &[RepoFile]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    fn key(number: usize) -> ListingKey {
        (DatasetName::new("u/d").unwrap(), Revision::new(&format!("{number:040x}")).unwrap())
    }

    #[test]
    fn a_folder_holds_what_is_under_it_and_nothing_that_only_begins_like_it() {
        let listing =
            Listing::new(["data/b", "data-x/a", "data/a/c", "data.csv", "data/b"].map(file).to_vec());
        assert_eq!(paths(&listing.under("data").unwrap()), ["data/a/c", "data/b"]);
        assert_eq!(
            paths(&listing.under("").unwrap()),
            ["data-x/a", "data.csv", "data/a/c", "data/b"],
            "code-point order, repeated paths once"
        );
        assert!(matches!(listing.under("data.csv"), Err(HubError::EntryNotFound(_))));
        assert!(Listing::default().under("").unwrap().is_empty());
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_request_and_later_ones_its_result() {
        let cache = ListingCache::default();
        let fetches = Arc::new(AtomicUsize::new(0));
        let fetch = || {
            let fetches = Arc::clone(&fetches);
            async move {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(Listing::new(vec![file("a")]))
            }
        };
        let (first, second) = tokio::join!(cache.get(key(0), fetch), cache.get(key(0), fetch));
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        cache.get(key(0), fetch).await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_shared_but_not_kept() {
        let cache = ListingCache::default();
        let failed =
            cache.get(key(0), || async { Err(HubError::Unreachable("down".to_owned())) }).await.unwrap_err();
        assert!(failed.is_transient());
        assert!(cache.get(key(0), || async { Ok(Listing::default()) }).await.is_ok());
    }

    #[tokio::test]
    async fn the_list_unused_for_longest_goes_first() {
        let cache = ListingCache::default();
        for number in 0..HUB_LISTINGS_CACHED_MAX {
            cache.get(key(number), || async { Ok(Listing::default()) }).await.unwrap();
        }
        cache.get(key(0), || async { panic!("it is kept") }).await.unwrap();
        cache.get(key(HUB_LISTINGS_CACHED_MAX), || async { Ok(Listing::default()) }).await.unwrap();
        cache.get(key(0), || async { panic!("it was used last") }).await.unwrap();
        let again = cache.get(key(1), || async { Err(HubError::Unreachable("asked again".to_owned())) });
        assert!(again.await.is_err());
        assert_eq!(cache.state.lock().unwrap().kept.len(), HUB_LISTINGS_CACHED_MAX);
    }
}
