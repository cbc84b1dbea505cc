//! Reads of the mirror: what every role answers from, and what a filler or another node compares with.
//!
//! Owns the promise that the position shows only what is on disk, and the change log only what can be read. A damaged record reads as a miss and is put on the list of what to fetch again.

use std::fmt::Display;
use std::sync::atomic::Ordering;

use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Item, Position, TimestampMs};
use tokio::sync::watch;

use super::batch::{EntryPut, PackedBody, Quarantined, SourceId};
use super::layers::Kv;
use super::records::{DatasetHead, Head, IndexRow, QuarantineRow, SourceRow};
use super::{MirrorStore, keys};
use crate::blob::{self, Read};
use crate::error::StorageError;
use crate::mirror::{Changed, Mirror, MirrorEntry};
use crate::record;
use crate::stored::StoredChange;

impl Mirror for MirrorStore {
    fn position(&self) -> Position {
        self.inner.published.position()
    }

    fn seen(&self) -> Position {
        self.inner.shown.seen()
    }

    fn visible(&self) -> Position {
        self.inner.shown.visible()
    }

    fn watch_visible(&self) -> watch::Receiver<u64> {
        self.inner.shown.watch()
    }

    fn get(&self, key: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        self.missing_when_damaged(&Changed::Entry(key.clone()), read_response(key, self.reader()))
    }

    fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        let read = read_dataset(dataset, self.reader());
        self.missing_when_damaged(&Changed::Dataset(dataset.clone()), read)
    }

    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        let kv = self.reader();
        let visible = self.visible().seq;
        // A seq that was never given out belongs to another history.
        if seq > visible {
            return Ok(None);
        }
        let mut changes: Vec<(u64, Changed)> = Vec::new();
        for pair in kv.state.from(&keys::log(seq.saturating_add(1), 0)) {
            let (key, value) = pair?;
            let Some(at) = keys::log_seq(&key).filter(|at| *at <= visible) else { break };
            if changes.len() >= limit && changes.last().is_none_or(|(last, _)| *last != at) {
                break;
            }
            let change = record::decode::<StoredChange>(&value).and_then(StoredChange::into_changed);
            let Ok(change) = change else {
                tracing::error!(at, "a record of the mirror's change log is damaged, followers start over");
                return Ok(None);
            };
            changes.push((at, change));
        }
        // The log may have been cut under this read; its floor is raised before anything is deleted.
        let is_whole = self.inner.log_floor.load(Ordering::SeqCst) <= seq;
        Ok(is_whole.then_some(changes))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.published.watch()
    }
}

impl MirrorStore {
    fn missing_when_damaged<T>(
        &self,
        subject: &Changed,
        read: Result<Option<T>, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        match self.reporting_damage(subject, read) {
            Err(StorageError::Damaged(_)) => Ok(None),
            other => other,
        }
    }

    /// Puts what is damaged on the list of what to fetch again.
    pub(super) fn reporting_damage<T>(
        &self,
        subject: &Changed,
        read: Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if let Err(StorageError::Damaged(cause)) = &read {
            self.inner.damage.report(subject, cause);
        }
        read
    }

    /// What the mirror holds under `key`: its item and the seq of its last change; `None` too when it is damaged.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn item(&self, key: &ArtifactKey) -> Result<Option<(Item, u64)>, StorageError> {
        let subject = Changed::Entry(key.clone());
        let head = self.missing_when_damaged(&subject, read_head(key, self.reader()))?;
        Ok(head.map(|head| (head.item(&subject), head.stamp.seq)))
    }

    /// Items from `from` on, in order, at most `limit`, each with what it is of; `None` for a damaged row.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn items_from(
        &self,
        from: &Item,
        limit: usize,
    ) -> Result<Vec<(Item, Option<Changed>)>, StorageError> {
        let mut items = Vec::new();
        for pair in self.reader().state.from(&keys::index(from)).take(limit) {
            let (key, value) = pair?;
            if key.first() != Some(&keys::INDEX) {
                break;
            }
            let Some(item) = keys::item(&key) else { continue };
            let row = record::decode::<IndexRow>(&value).and_then(|row| row.subject.into_changed());
            items.push((item, row.ok()));
        }
        Ok(items)
    }

    /// Sources after `after`, in the order of their bytes, at most `limit`. A source whose row is damaged is listed.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn sources_after(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<SourceId>, StorageError> {
        self.keys_after(keys::SOURCES, after, limit)
    }

    /// Sources in quarantine after `after`, in the order of their bytes, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn quarantined(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<Quarantined>, StorageError> {
        let kv = self.reader();
        let mut found = Vec::new();
        for source in self.keys_after(keys::QUARANTINE, after, limit)? {
            let Some(value) = kv.state.get(&keys::quarantine(&source))? else { continue };
            let (what, why) = match record::decode::<QuarantineRow>(&value) {
                Ok(row) => (row.what, row.why),
                Err(error) => (String::new(), error.to_string()),
            };
            found.push(Quarantined { source, what, why });
        }
        Ok(found)
    }

    /// Names of datasets with a record after `after`, in the order of their bytes, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn datasets_after(
        &self,
        after: Option<&DatasetName>,
        limit: usize,
    ) -> Result<Vec<DatasetName>, StorageError> {
        let after = after.map(|name| name.as_str().as_bytes());
        let names = self.keys_after(keys::DATASETS, after, limit)?;
        Ok(names.iter().filter_map(|name| DatasetName::new(std::str::from_utf8(name).ok()?).ok()).collect())
    }

    fn keys_after(
        &self,
        prefix: u8,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        // The next possible key is the same with a zero byte.
        let from = match after {
            None => vec![prefix],
            Some(after) => [&[prefix], after, &[0]].concat(),
        };
        let mut found = Vec::new();
        for pair in self.reader().state.from(&from).take(limit) {
            let (key, _) = pair?;
            let Some(rest) = key.strip_prefix(&[prefix]) else { break };
            found.push(rest.to_vec());
        }
        Ok(found)
    }

    /// The entry that came from `source`.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn key_of(&self, source: &[u8]) -> Result<Option<ArtifactKey>, StorageError> {
        let Some(value) = self.reader().state.get(&keys::source(source))? else { return Ok(None) };
        Ok(match record::decode::<SourceRow>(&value).map(|row| row.0) {
            Ok(StoredChange::Entry(key)) => ArtifactKey::from_bytes(&key),
            Ok(StoredChange::Dataset(_)) | Err(_) => None,
        })
    }
}

fn read_head(key: &ArtifactKey, kv: &Kv) -> Result<Option<Head>, StorageError> {
    kv.state.get(&keys::entry(key))?.map(|bytes| record::decode(&bytes)).transpose()
}

pub(super) fn read_dataset(name: &DatasetName, kv: &Kv) -> Result<Option<DatasetRecord>, StorageError> {
    let Some(bytes) = kv.state.get(&keys::dataset(name))? else { return Ok(None) };
    record::decode::<DatasetHead>(&bytes)?.record(name).map(Some)
}

/// What a reader of the response needs.
pub(super) fn read_response(key: &ArtifactKey, kv: &Kv) -> Result<Option<MirrorEntry>, StorageError> {
    read_entry(key, kv, |head| {
        let Read::Whole(body) = head.body.read(&kv.chunks)? else { return Ok(None) };
        Ok(Some(MirrorEntry {
            http_status: head.http_status,
            error_code: head.error_code()?,
            revision: head.revision()?,
            version: head.version,
            body: body.into(),
        }))
    })
}

pub(super) fn read_packed(key: &ArtifactKey, kv: &Kv) -> Result<Option<EntryPut>, StorageError> {
    read_entry(key, kv, |head| {
        let Read::Whole(body) = head.body.read_packed(&kv.chunks)? else { return Ok(None) };
        Ok(Some(EntryPut {
            key: key.clone(),
            http_status: head.http_status,
            error_code: head.error_code()?,
            revision: head.revision()?,
            updated_at: TimestampMs(head.updated_at_ms),
            version: head.version,
            body: PackedBody(body),
            source: None,
        }))
    })
}

fn read_entry<T>(
    key: &ArtifactKey,
    kv: &Kv,
    read: impl Fn(&Head) -> Result<Option<T>, StorageError>,
) -> Result<Option<T>, StorageError> {
    let what: &dyn Display = key;
    blob::read_consistently(what, || read_head(key, kv), read)
}
