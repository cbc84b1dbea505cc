//! The embedded store as what other nodes follow.
//!
//! Owns nothing of its own: it puts together what the flusher published, what the log tells and what is stored.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use outpost_model::{Changed, Item, Position};

use super::{EmbeddedStore, entries, keys};
use crate::error::StorageError;
use crate::feed_source::{FeedHead, FeedSource, StoredRecord};
use crate::items::{self, IndexRow, ItemsRead};
use crate::mirror::Mirror;
use crate::record;
use crate::stored::StoredChange;

#[async_trait]
impl FeedSource for EmbeddedStore {
    fn head(&self) -> FeedHead {
        let (seq, indexed) = self.inner.published.head();
        FeedHead {
            position: Position { epoch: self.inner.epoch, seq },
            set_hash: indexed.set_hash,
            records: indexed.records,
            left: self.inner.left.clone(),
        }
    }

    fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StorageError> {
        let kv = self.reader()?;
        let published = *self.inner.published.seq.borrow();
        if seq > published {
            return Ok(None);
        }
        let (mut changed, mut last) = (HashSet::new(), seq);
        for pair in kv.state.from(&keys::log(seq.saturating_add(1))) {
            let (key, value) = pair?;
            if key.first() != Some(&keys::LOG) {
                break;
            }
            // The log has no holes, unless it was trimmed or damaged.
            let Some(at) = keys::number(&key).filter(|at| *at == last + 1) else { return Ok(None) };
            let Ok(subject) = record::decode::<StoredChange>(&value).and_then(StoredChange::into_changed)
            else {
                return Ok(None);
            };
            changed.insert(subject);
            last = at;
        }
        Ok((last >= published).then_some(changed))
    }

    fn record(&self, subject: &Changed) -> Result<Option<StoredRecord>, StorageError> {
        let read = match subject {
            Changed::Entry(key) => entries::read_packed(key, self.reader()?)
                .map(|put| put.map(|put| StoredRecord::Entry(Box::new(put)))),
            Changed::Dataset(name) => super::core::read_dataset(self.reader()?, name)
                .map(|record| record.map(StoredRecord::Dataset)),
        };
        self.counting_damage(read)
    }

    fn subject_of(&self, item: &Item) -> Result<Option<Changed>, StorageError> {
        let row = self.reader()?.state.get(&items::index_key(item))?;
        Ok(row.and_then(|row| record::decode::<IndexRow>(&row).ok()?.subject.into_changed().ok()))
    }

    fn items(&self) -> Result<ItemsRead<'_>, StorageError> {
        let kv = self.reader()?;
        self.inner.items.read(|| {
            let rows = kv.state.prefix(&[items::INDEX]);
            // A key that is none is left to the scrub.
            rows.filter_map(|row| row.map(|(key, _)| items::item_of_key(&key)).transpose())
        })
    }

    async fn settled(&self) -> Result<(), StorageError> {
        self.covered().await
    }
}

impl EmbeddedStore {
    /// Returns when every change that readers could see before the call is on disk.
    pub(super) async fn shown_is_published(&self) -> Result<(), StorageError> {
        let shown = self.inner.shown.load(Ordering::SeqCst);
        if *self.inner.published.seq.borrow() >= shown {
            return Ok(());
        }
        let mut published = self.inner.published.seq.subscribe();
        tokio::select! {
            // The sender lives as long as `self`, so waiting cannot fail.
            _ = published.wait_for(|seq| *seq >= shown) => Ok(()),
            () = self.inner.fault.raised() => self.inner.fault.check(),
        }
    }
}
