//! The embedded store as the mirror: reads of the trees that the authority writes.
//!
//! Owns the promise that the change log and the position show only what is on disk. Entries and records may be seen
//! a moment earlier, before there is a position for them: a crash would give their seq to another change, and a reader
//! who was told it would be promised the wrong one. Who answers a reader waits for [`Mirror::covered`].

use async_trait::async_trait;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Position};
use tokio::sync::watch;

use super::{EmbeddedStore, core, entries, keys};
use crate::error::StorageError;
use crate::mirror::{Changed, Mirror, MirrorEntry};
use crate::record;
use crate::stored::StoredChange;

#[async_trait]
impl Mirror for EmbeddedStore {
    fn position(&self) -> Position {
        self.published_position()
    }

    async fn covered(&self) -> Result<(), StorageError> {
        self.shown_is_published().await
    }

    fn get(&self, key: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        self.counting_damage(entries::read_response(key, self.reader()?))
    }

    fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        self.counting_damage(core::read_dataset(self.reader()?, dataset))
    }

    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        let kv = self.reader()?;
        let published = *self.inner.published.seq.borrow();
        // A seq that was never given out belongs to another history.
        if seq > published {
            return Ok(None);
        }
        let mut changes = Vec::new();
        for pair in kv.state.from(&keys::log(seq.saturating_add(1))).take(limit) {
            let (key, value) = pair?;
            let is_log = key.first() == Some(&keys::LOG);
            let Some(at) = keys::number(&key).filter(|at| is_log && *at <= published) else { break };
            let Ok(change) = record::decode::<StoredChange>(&value).and_then(StoredChange::into_changed)
            else {
                // Followers start over behind the damaged record, and it is trimmed in time.
                self.count_damage("a record of the change log");
                return Ok(None);
            };
            changes.push((at, change));
        }
        // The log has no holes: when it no longer reaches back, it starts later. Trimming may overtake this read, so
        // every step is checked, and an empty answer is checked against the log's start.
        let has_no_hole = changes.iter().zip(seq + 1..).all(|((at, _), expected)| *at == expected);
        if !has_no_hole || (changes.is_empty() && limit > 0 && seq < published) {
            return Ok(None);
        }
        Ok(Some(changes))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.published.seq.subscribe()
    }
}
