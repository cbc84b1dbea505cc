//! The read path that every role shares: request in, ready response out.
//!
//! Owns the order of http-api.md section 1.1 after the parameters: who may read, what is stored, what a miss means.
//! Deny by default: an answer leaves only when the dataset's record says public. A read that finds its response ready
//! in memory touches neither the store's bodies nor a JSON parser. A damaged record is logged and answered as
//! `UnexpectedApiError`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Position, StepKind, Visibility, limits};
use outpost_storage::{Mirror, MirrorEntry, StorageError};
use tokio::sync::Mutex;

use super::encoding::Encoding;
use super::error::{ApiError, Caller, Mark};
use super::params::Target;
use super::promises::{self, Demand, Vantage};
use super::ready_cache::{ReadyCache, View};
use super::render::{CutPage, cut_page, fill_placeholders};
use super::response::{Answered, MaxAges, Ready, ReadyHead};

/// What a node does about an answer that its mirror does not have, or not of the state that is asked for.
#[async_trait]
pub trait Misses: Send + Sync + 'static {
    /// Sees to it that the answer comes if it can. The answer of another node, or what to tell the reader meanwhile
    /// (http-api.md section 2).
    ///
    /// # Errors
    /// What to tell the reader.
    async fn on_miss(&self, missed: &Missed<'_>) -> Result<Elsewhere, ApiError>;
}

/// What a reader asked for and the mirror does not have.
#[derive(Debug, Clone, Copy)]
pub struct Missed<'a> {
    /// The dataset.
    pub dataset: &'a DatasetName,
    /// The step that computes it.
    pub kind: StepKind,
    /// Its address, unless it has names that no artifact can have.
    pub key: Option<&'a ArtifactKey>,
    /// Whether credentials came along.
    pub caller: Caller,
    /// What state the answer must be of.
    pub demand: Demand,
    /// Nodes that passed the question on.
    pub hops: u8,
    /// Why it is not answered from the mirror.
    pub why: Why,
}

/// Why an answer does not come from the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The mirror does not have it.
    Absent,
    /// The mirror is not in the state that the reader demands, or not sure any more who may read.
    Behind,
}

/// A stored answer of another node's mirror.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The answer.
    pub entry: MirrorEntry,
    /// The state that it is of.
    pub mark: Mark,
}

/// Who reads, and how.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// The coding to answer with.
    pub encoding: Encoding,
    /// Whether credentials came along.
    pub caller: Caller,
    /// What state the answer must be of.
    pub demand: Demand,
}

/// What the mirror knows of a dataset that is not withheld.
enum Known {
    /// No record: nothing may be served before the Hub was asked.
    Nothing,
    /// Everyone may read it.
    Public,
}

/// Fills of the same response wait for each other; different ones rarely do.
const FILL_STRIPES: usize = 64;

/// Everything that reads need.
pub struct ReadState {
    mirror: Arc<dyn Mirror>,
    cache: ReadyCache,
    misses: Arc<dyn Misses>,
    vantage: Arc<dyn Vantage>,
    public_url: Arc<str>,
    max_ages: MaxAges,
    fills: [Mutex<()>; FILL_STRIPES],
    hasher: RandomState,
}

impl ReadState {
    /// Reads from `mirror`; asset URLs start with `public_url`, which has no trailing slash.
    #[must_use]
    pub fn new(
        mirror: Arc<dyn Mirror>,
        misses: Arc<dyn Misses>,
        vantage: Arc<dyn Vantage>,
        public_url: String,
        max_ages: MaxAges,
        cache_bytes_max: usize,
    ) -> Self {
        Self {
            cache: ReadyCache::new(Arc::clone(&mirror), cache_bytes_max),
            mirror,
            misses,
            vantage,
            public_url: public_url.into(),
            max_ages,
            fills: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    /// The cache ages of answers.
    #[must_use]
    pub fn max_ages(&self) -> &MaxAges {
        &self.max_ages
    }

    /// The ready responses.
    #[must_use]
    pub fn cache(&self) -> &ReadyCache {
        &self.cache
    }

    /// Where the mirror stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.mirror.position()
    }

    /// What a reader may have seen, once the answer was got.
    #[must_use]
    pub fn seen(&self) -> Position {
        self.mirror.seen()
    }

    /// Keeps following changes off the readers' backs; runs until the mirror is gone.
    pub async fn follow_loop(&self) {
        let mut changes = self.mirror.watch_visible();
        while changes.changed().await.is_ok() {
            self.cache.follow();
        }
    }

    /// How the mirror stands.
    #[must_use]
    pub fn vantage(&self) -> &dyn Vantage {
        &*self.vantage
    }

    /// Answers a read.
    ///
    /// # Errors
    /// Every answer other than a stored one, as [`ApiError`].
    pub async fn read(&self, target: Target, view: View, reader: &Reader) -> Result<Answered, ApiError> {
        let key = match target {
            Target::NoSuchDataset => return Err(ApiError::not_accessible(reader.caller)),
            Target::NoSuchArtifact { dataset, kind } => {
                let missed = missed(&dataset, kind, None, reader);
                return Err(match self.find(missed).await {
                    Err(error) => error,
                    Ok(_) => ApiError::not_found(),
                });
            }
            Target::Artifact(key) => key,
        };
        let missed = missed(key.dataset(), key.kind(), Some(&key), reader);
        if !self.is_in_state(&reader.demand).await {
            return self.render_elsewhere(Missed { why: Why::Behind, ..missed }, view, reader).await;
        }
        self.cache.follow();
        match self.cache.get(&key, view, reader.encoding) {
            Some(ready) => Ok(Answered { ready, mark: None }),
            None => self.read_stored(missed, view, reader).await,
        }
    }

    /// Answers a question that another node passed on: what is stored here or further on.
    ///
    /// # Errors
    /// As [`ReadState::read`].
    pub async fn find(&self, missed: Missed<'_>) -> Result<(MirrorEntry, Option<Mark>), ApiError> {
        let found = if self.is_in_state(&missed.demand).await {
            self.find_here(&missed).await?
        } else {
            return self.find_elsewhere(Missed { why: Why::Behind, ..missed }).await;
        };
        match found {
            Some(entry) => Ok((entry, None)),
            None => self.find_elsewhere(missed).await,
        }
    }

    async fn find_elsewhere(&self, missed: Missed<'_>) -> Result<(MirrorEntry, Option<Mark>), ApiError> {
        let found = self.misses.on_miss(&missed).await?;
        Ok((found.entry, Some(found.mark)))
    }

    /// What is stored, for a dataset that may be read. Whoever finds it ready afterwards does not wait for the disk.
    async fn find_here(&self, missed: &Missed<'_>) -> Result<Option<MirrorEntry>, ApiError> {
        let found = self.look_up(missed);
        self.cover().await?;
        found
    }

    /// What is stored. What a store that failed can no longer read counts as missing: it is asked for elsewhere. A damaged
    /// record is the store's own to report.
    fn look_up(&self, missed: &Missed<'_>) -> Result<Option<MirrorEntry>, ApiError> {
        let unreadable = |error: StorageError| {
            let failed = store_failed(&error);
            if matches!(error, StorageError::Damaged(_)) { Err(failed) } else { Ok(None) }
        };
        match self.mirror.dataset(missed.dataset) {
            Ok(record) => match (readable(record, missed.caller)?, missed.key) {
                (Known::Public, Some(key)) => self.mirror.get(key).or_else(unreadable),
                _ => Ok(None),
            },
            Err(error) => unreadable(error),
        }
    }

    /// Whether the mirror is as a reader demands, after a short wait, and may be answered from at all.
    pub async fn is_in_state(&self, demand: &Demand) -> bool {
        self.vantage.may_answer()
            && (*demand == Demand::default() || promises::wait(demand, &*self.vantage, &*self.mirror).await)
    }

    async fn read_stored(
        &self,
        missed: Missed<'_>,
        view: View,
        reader: &Reader,
    ) -> Result<Answered, ApiError> {
        let Some(key) = missed.key else { return Err(ApiError::not_found()) };
        let stripe = self.hasher.hash_one((key, view, reader.encoding)) as usize % FILL_STRIPES;
        let filling = self.fills[stripe].lock().await;
        let since = self.cache.follow();
        if let Some(ready) = self.cache.get(key, view, reader.encoding) {
            return Ok(Answered { ready, mark: None });
        }
        let Some(entry) = self.find_here(&missed).await? else {
            drop(filling);
            return self.render_elsewhere(missed, view, reader).await;
        };
        let ready = Arc::new(self.make_ready(entry, view, reader.encoding).await?);
        self.cache.insert(since, key, view, reader.encoding, &ready);
        Ok(Answered { ready, mark: None })
    }

    /// What another node has is answered and not kept: it comes by the feed.
    async fn render_elsewhere(
        &self,
        missed: Missed<'_>,
        view: View,
        reader: &Reader,
    ) -> Result<Answered, ApiError> {
        let Elsewhere { entry, mark } = self.misses.on_miss(&missed).await?;
        let ready = Arc::new(self.make_ready(entry, view, reader.encoding).await?);
        Ok(Answered { ready, mark: Some(mark) })
    }

    /// Waits until [`ReadState::seen`] covers what was just read, which costs nothing while everything is on disk.
    async fn cover(&self) -> Result<(), ApiError> {
        self.mirror.covered().await.map_err(|error| store_failed(&error))
    }

    /// Refuses everything but datasets that are known to be public, all in the same words.
    ///
    /// # Errors
    /// The refusal.
    pub async fn check_public(&self, dataset: &DatasetName, caller: Caller) -> Result<(), ApiError> {
        let record = self.mirror.dataset(dataset).map_err(|error| store_failed(&error));
        self.cover().await?;
        match readable(record?, caller)? {
            Known::Public => Ok(()),
            Known::Nothing => Err(ApiError::not_accessible(caller)),
        }
    }

    async fn make_ready(
        &self,
        entry: MirrorEntry,
        view: View,
        encoding: Encoding,
    ) -> Result<Ready, ApiError> {
        let head = ReadyHead {
            http_status: entry.http_status,
            error_code: entry.error_code,
            revision: entry.revision.clone(),
            version: entry.version,
        };
        let (body, encoding) = if is_long_work(&entry, view, encoding) {
            let public_url = Arc::clone(&self.public_url);
            let work = move || render_body(&entry, view, encoding, &public_url);
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                tracing::error!(%error, "rendering a response panicked");
                Err(ApiError::unexpected())
            })?
        } else {
            render_body(&entry, view, encoding, &self.public_url)?
        };
        Ok(Ready::new(&head, body, encoding, &self.max_ages))
    }
}

fn missed<'a>(
    dataset: &'a DatasetName,
    kind: StepKind,
    key: Option<&'a ArtifactKey>,
    reader: &Reader,
) -> Missed<'a> {
    let Reader { caller, demand, .. } = *reader;
    Missed { dataset, kind, key, caller, demand, hops: 0, why: Why::Absent }
}

/// Stored errors are answered as they are, whatever page was asked for.
fn view_body(entry: &MirrorEntry, view: View) -> Result<Bytes, ApiError> {
    let page = match view {
        View::Page(page) if entry.error_code.is_none() => page,
        View::Page(_) | View::Whole => return Ok(entry.body.clone()),
    };
    match cut_page(&entry.body, page) {
        Ok(CutPage::Body(body)) => Ok(body),
        Ok(CutPage::Beyond { precomputed }) => Err(ApiError::rows_not_precomputed(precomputed)),
        Err(error) => {
            tracing::error!(%error, "failed to cut a page out of stored first rows");
            Err(ApiError::unexpected())
        }
    }
}

/// Whether the body of an answer is better made away from the async threads.
fn is_long_work(entry: &MirrorEntry, view: View, encoding: Encoding) -> bool {
    let is_work = encoding != Encoding::Identity || view != View::Whole;
    is_work && entry.body.len() > limits::INLINE_RENDER_BYTES_MAX
}

fn render_body(
    entry: &MirrorEntry,
    view: View,
    encoding: Encoding,
    public_url: &str,
) -> Result<(Bytes, Encoding), ApiError> {
    let body = fill_placeholders(&view_body(entry, view)?, &entry.revision, public_url);
    if encoding == Encoding::Identity || body.len() < limits::COMPRESSED_BODY_BYTES_MIN {
        return Ok((body, Encoding::Identity));
    }
    match encoding.compress(&body) {
        Ok(compressed) if compressed.len() < body.len() => Ok((compressed, encoding)),
        Ok(_) => Ok((body, Encoding::Identity)),
        Err(error) => {
            tracing::error!(%error, "failed to compress a response");
            Err(ApiError::unexpected())
        }
    }
}

/// Refuses datasets that are known not to be public.
fn readable(record: Option<DatasetRecord>, caller: Caller) -> Result<Known, ApiError> {
    match record.map(|record| record.visibility) {
        None => Ok(Known::Nothing),
        Some(Visibility::Public) => Ok(Known::Public),
        Some(Visibility::Gated | Visibility::Private) => Err(ApiError::not_accessible(caller)),
    }
}

fn store_failed(error: &StorageError) -> ApiError {
    tracing::error!(%error, "failed to read from the mirror");
    ApiError::unexpected()
}

#[cfg(test)]
mod tests;
