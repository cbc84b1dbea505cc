//! The stores of a node as sync sees them: the one module that knows `storage`.
//!
//! Owns the translation of records both ways, the checks of what another node sent (an entry must be the version that
//! it claims to be), and that nothing of it blocks the async threads.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::items::{Changed, Item, ItemRange, RangeSum, SetHash};
use outpost_model::{Epoch, Position};
use outpost_storage::mirror_store::{
    self, EntryPut, MirrorBatch, MirrorChange, MirrorStage, MirrorWrite, PackedBody,
};
use outpost_storage::{Disk, FeedSource, Mirror, MirrorStore, StorageError, StoredRecord};
use tokio::sync::watch;

use crate::record::{Change, EntryRecord, Record};
use crate::source::{Batch, Held, Source, Stage, StageError, StoreError, StoreHead, Target};

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self(error.to_string())
    }
}

/// A store that a feed is served from.
pub struct FeedStore<S: ?Sized> {
    store: Arc<S>,
}

impl<S: FeedSource + ?Sized> FeedStore<S> {
    /// Serves `store`.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        Self { store }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&S) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(work(&store)?)).await
    }
}

async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError(format!("a call to the store panicked: {error}")).into()))
}

#[async_trait]
impl<S: FeedSource + ?Sized> Source for FeedStore<S> {
    fn head(&self) -> StoreHead {
        let head = self.store.head();
        StoreHead {
            position: head.position,
            set_hash: Some(head.set_hash),
            records: head.records,
            left: head.left,
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.store.watch()
    }

    async fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StoreError> {
        self.blocking(move |store| store.changes_after(seq, limit)).await
    }

    async fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StoreError> {
        self.blocking(move |store| store.changed_since(seq)).await
    }

    async fn records(&self, subjects: &[Changed], bytes_max: usize) -> Result<Vec<Held>, StoreError> {
        let subjects = subjects.to_vec();
        self.blocking(move |store| {
            let (mut records, mut bytes) = (Vec::with_capacity(subjects.len()), 0);
            for subject in &subjects {
                let held = match store.record(subject) {
                    Ok(stored) => stored.map_or(Held::Absent, |stored| Held::Record(record_of(stored))),
                    Err(StorageError::Damaged(_)) => Held::Damaged,
                    Err(error) => return Err(error),
                };
                if let Held::Record(record) = &held {
                    bytes += record.bytes();
                }
                records.push(held);
                if bytes > bytes_max {
                    break;
                }
            }
            Ok(records)
        })
        .await
    }

    async fn subjects_of(&self, items: &[Item]) -> Result<Vec<Option<Changed>>, StoreError> {
        let items = items.to_vec();
        self.blocking(move |store| items.iter().map(|item| store.subject_of(item)).collect()).await
    }

    async fn sums(&self, ranges: &[ItemRange]) -> Result<Vec<RangeSum>, StoreError> {
        let ranges = ranges.to_vec();
        self.blocking(move |store| {
            let items = store.items()?;
            Ok(ranges.iter().map(|range| items.sum(range)).collect())
        })
        .await
    }

    async fn split(&self, range: &ItemRange, parts: usize) -> Result<Vec<(ItemRange, RangeSum)>, StoreError> {
        let range = *range;
        self.blocking(move |store| Ok(store.items()?.split(&range, parts))).await
    }

    async fn items(&self, range: &ItemRange, limit: usize) -> Result<Vec<Item>, StoreError> {
        let range = *range;
        self.blocking(move |store| Ok(store.items()?.items(&range, limit))).await
    }

    async fn settled(&self) -> Result<(), StoreError> {
        Ok(self.store.settled().await?)
    }
}

fn record_of(stored: StoredRecord) -> Record {
    match stored {
        StoredRecord::Dataset(record) => Record::Dataset(record),
        StoredRecord::Entry(put) => Record::Entry(Box::new(EntryRecord {
            http_status: put.http_status,
            error_code: put.error_code,
            revision: put.revision,
            updated_at: put.updated_at,
            version: put.version,
            raw_bytes: put.body.raw_bytes(),
            is_compressed: put.body.is_compressed(),
            stored: Bytes::copy_from_slice(put.body.stored()),
            key: put.key,
        })),
    }
}

/// The entry in its stored form, after checking that it is what it claims to be.
///
/// # Errors
/// [`StorageError::Damaged`] when it is not.
pub fn entry_put(entry: EntryRecord) -> Result<EntryPut, StorageError> {
    let raw_bytes = usize::try_from(entry.raw_bytes).unwrap_or(usize::MAX);
    let put = EntryPut {
        key: entry.key,
        http_status: entry.http_status,
        error_code: entry.error_code,
        revision: entry.revision,
        updated_at: entry.updated_at,
        version: entry.version,
        body: PackedBody::from_parts(entry.stored.to_vec(), raw_bytes, entry.is_compressed)?,
        source: None,
    };
    put.open()?;
    Ok(put)
}

/// The stored form of a record, for another node.
#[must_use]
pub fn entry_record(put: EntryPut) -> EntryRecord {
    match record_of(StoredRecord::Entry(Box::new(put))) {
        Record::Entry(entry) => *entry,
        Record::Dataset(_) => unreachable!("an entry stays an entry"),
    }
}

fn write_of(change: Change) -> Result<MirrorChange, StorageError> {
    let (seq, write) = match change {
        Change::Put(seq, Record::Entry(entry)) => (seq, MirrorWrite::PutEntry(Box::new(entry_put(*entry)?))),
        Change::Put(seq, Record::Dataset(record)) => (seq, MirrorWrite::PutDataset(record)),
        Change::Delete(seq, Changed::Entry(key)) => (seq, MirrorWrite::DeleteEntry(key)),
        Change::Delete(seq, Changed::Dataset(name)) => (seq, MirrorWrite::DeleteDataset(name)),
    };
    Ok(MirrorChange { seq, write })
}

/// From so many changes on, a message is checked in two parts at the same time.
const CHECKED_TOGETHER_MAX: usize = 32;

/// Checks the changes of a message; unpacking and hashing take as long as writing.
async fn writes_of(mut changes: Vec<Change>) -> Result<Vec<MirrorChange>, StoreError> {
    let check = |part: Vec<Change>| {
        blocking(move || {
            let writes: Result<Vec<_>, StorageError> = part.into_iter().map(write_of).collect();
            Ok::<_, StoreError>(writes?)
        })
    };
    if changes.len() <= CHECKED_TOGETHER_MAX {
        return check(changes).await;
    }
    let rest = changes.split_off(changes.len() / 2);
    let (mut writes, rest) = tokio::try_join!(check(changes), check(rest))?;
    writes.extend(rest);
    Ok(writes)
}

/// A replica's mirror.
pub struct MirrorTarget {
    feed: FeedStore<MirrorStore>,
    disk: Disk,
}

impl MirrorTarget {
    /// Fills `store`, which is on `disk`, while there is room.
    #[must_use]
    pub fn new(store: MirrorStore, disk: Disk) -> Self {
        Self { feed: FeedStore::new(Arc::new(store)), disk }
    }

    fn store(&self) -> &MirrorStore {
        &self.feed.store
    }
}

#[async_trait]
impl Source for MirrorTarget {
    fn head(&self) -> StoreHead {
        self.feed.head()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        Source::watch(&self.feed)
    }

    async fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StoreError> {
        self.feed.changes_after(seq, limit).await
    }

    async fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StoreError> {
        self.feed.changed_since(seq).await
    }

    async fn records(&self, subjects: &[Changed], bytes_max: usize) -> Result<Vec<Held>, StoreError> {
        self.feed.records(subjects, bytes_max).await
    }

    async fn subjects_of(&self, items: &[Item]) -> Result<Vec<Option<Changed>>, StoreError> {
        self.feed.subjects_of(items).await
    }

    async fn sums(&self, ranges: &[ItemRange]) -> Result<Vec<RangeSum>, StoreError> {
        self.feed.sums(ranges).await
    }

    async fn split(&self, range: &ItemRange, parts: usize) -> Result<Vec<(ItemRange, RangeSum)>, StoreError> {
        self.feed.split(range, parts).await
    }

    async fn items(&self, range: &ItemRange, limit: usize) -> Result<Vec<Item>, StoreError> {
        self.feed.items(range, limit).await
    }

    async fn settled(&self) -> Result<(), StoreError> {
        self.feed.settled().await
    }
}

#[async_trait]
impl Target for MirrorTarget {
    async fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { epoch, changes, reached, left } = batch;
        let changes = writes_of(changes).await?;
        let batch = MirrorBatch { epoch, changes, reached, cursor: None, left };
        let disk = self.disk.clone();
        self.feed
            .blocking(move |store| {
                check_room(&disk)?;
                store.apply(batch).map(|_| ())
            })
            .await
    }

    async fn stage(&self, epoch: Epoch) -> Result<Box<dyn Stage>, StoreError> {
        let stage = self.feed.blocking(move |store| store.stage(epoch)).await?;
        Ok(Box::new(StoreStage { stage: Some(stage), disk: self.disk.clone() }))
    }

    fn visible(&self) -> Position {
        self.store().visible()
    }

    fn visible_hash(&self) -> (Position, SetHash) {
        self.store().visible_hash()
    }

    fn visible_left(&self) -> (Position, Vec<Epoch>) {
        self.store().visible_left()
    }

    async fn stored_hash(&self) -> Result<SetHash, StoreError> {
        self.store().flushed().await?;
        Ok(self.store().summary().set_hash)
    }

    fn damaged(&self, max: usize) -> Vec<Changed> {
        self.store().damaged(max)
    }

    async fn damage_news(&self) {
        self.store().damage_news().await;
    }

    async fn room(&self) {
        wait(&self.disk.has_room, true).await;
    }

    async fn full(&self) {
        wait(&self.disk.has_room, false).await;
    }
}

async fn wait(room: &watch::Receiver<bool>, wanted: bool) {
    let mut room = room.clone();
    if room.wait_for(|has_room| *has_room == wanted).await.is_err() {
        // Nobody measures any more: the node is stopping.
        std::future::pending::<()>().await;
    }
}

/// Refuses a write for which there is no room. The store is as it was, and takes writes again when there is.
fn check_room(disk: &Disk) -> Result<(), StorageError> {
    if disk.takes(0) {
        return Ok(());
    }
    Err(StorageError::DiskFull(format!("nothing more is written to {}", disk.directory.display())))
}

struct StoreStage {
    /// Taken out while it works.
    stage: Option<MirrorStage>,
    disk: Disk,
}

#[async_trait]
impl Stage for StoreStage {
    async fn add(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let changes = writes_of(changes).await?;
        let Some(mut stage) = self.stage.take() else {
            return Err(StoreError("an earlier call to the stage failed".to_owned()));
        };
        let disk = self.disk.clone();
        let stage = blocking(move || {
            check_room(&disk)?;
            stage.add(changes)?;
            Ok::<_, StoreError>(stage)
        });
        self.stage = Some(stage.await?);
        Ok(())
    }

    fn holds(&self, subject: &Changed) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.holds(subject))
    }

    async fn commit(
        mut self: Box<Self>,
        reached: Position,
        expected: Option<SetHash>,
        left: Vec<Epoch>,
    ) -> Result<(), StageError> {
        let Some(mut stage) = self.stage.take() else {
            return Err(StoreError("an earlier call to the stage failed".to_owned()).into());
        };
        blocking(move || {
            stage.take_over(left);
            stage.commit(reached, expected, None).map_err(staging)?;
            Ok(())
        })
        .await
    }
}

fn staging(error: mirror_store::StageError) -> StageError {
    match error {
        mirror_store::StageError::Differs { expected, found } => StageError::Differs { expected, found },
        mirror_store::StageError::Storage(error) => StageError::Store(error.into()),
    }
}

#[cfg(test)]
mod tests;
