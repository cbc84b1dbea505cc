//! The mirror as what other nodes follow.
//!
//! Owns nothing of its own: it puts together what the flusher published, what the log tells and what is stored.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use outpost_model::{Changed, Item};

use super::{MirrorStore, keys, read};
use crate::error::StorageError;
use crate::feed_source::{FeedHead, FeedSource, StoredRecord};
use crate::items::{self, IndexRow, ItemsRead};
use crate::mirror::Mirror;
use crate::record;
use crate::stored::StoredChange;

#[async_trait]
impl FeedSource for MirrorStore {
    fn head(&self) -> FeedHead {
        let summary = self.summary();
        FeedHead {
            position: summary.position,
            set_hash: summary.position_hash,
            records: summary.position_records,
            left: summary.left,
        }
    }

    fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StorageError> {
        let kv = self.reader();
        if seq > self.visible().seq {
            return Ok(None);
        }
        let mut changed = HashSet::new();
        for pair in kv.state.from(&keys::log(seq.saturating_add(1), 0)) {
            let (key, value) = pair?;
            if keys::log_seq(&key).is_none() {
                break;
            }
            match record::decode::<StoredChange>(&value).and_then(StoredChange::into_changed) {
                Ok(subject) => changed.insert(subject),
                Err(_) => return Ok(None),
            };
        }
        // The log may have been cut under this read; its floor is raised before anything is deleted.
        let is_whole = self.inner.log_floor.load(Ordering::SeqCst) <= seq;
        // After a switch to another history the log is of that one, while the head is of the old one until the flush.
        let is_of_head = self.visible().epoch == self.position().epoch;
        Ok((is_whole && is_of_head).then_some(changed))
    }

    fn record(&self, subject: &Changed) -> Result<Option<StoredRecord>, StorageError> {
        let kv = self.reader();
        let read = match subject {
            Changed::Entry(key) => {
                read::read_packed(key, kv).map(|put| put.map(|put| StoredRecord::Entry(Box::new(put))))
            }
            Changed::Dataset(name) => {
                read::read_dataset(name, kv).map(|record| record.map(StoredRecord::Dataset))
            }
        };
        self.reporting_damage(subject, read)
    }

    fn subject_of(&self, item: &Item) -> Result<Option<Changed>, StorageError> {
        let row = self.reader().state.get(&items::index_key(item))?;
        Ok(row.and_then(|row| record::decode::<IndexRow>(&row).ok()?.subject.into_changed().ok()))
    }

    fn items(&self) -> Result<ItemsRead<'_>, StorageError> {
        let kv = self.reader();
        self.inner.items.read(|| {
            let rows = kv.state.prefix(&[items::INDEX]);
            // A key that is none is left to the scrub.
            rows.filter_map(|row| row.map(|(key, _)| items::item_of_key(&key)).transpose())
        })
    }

    async fn settled(&self) -> Result<(), StorageError> {
        self.flushed().await
    }
}
