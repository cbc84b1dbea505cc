//! The stored form of webhooks that wait, and where they are.
//!
//! Owns the layout of the outbox's store. Names are checked again when they are read, so that a record that no longer
//! fits the model's rules is damage, never a panic.

use bincode::{Decode, Encode};
use outpost_model::{DatasetName, TimestampMs, WebhookId, limits};

use super::OutboxItem;
use crate::blob::{self, Blob, Read};
use crate::error::StorageError;
use crate::kv::{Batch, Kv};
use crate::record::{self, Record};
use crate::stored::{self, Found, Layout};

/// Layout of the whole store; another version is refused. The upper half tells it from other stores.
const FORMAT_VERSION: u32 = 0x4f42_0001;
/// The format version, outside any record so that every version of the code can read it.
const FORMAT: &[u8] = b"f";
/// The [`Meta`] record.
pub(super) const META: &[u8] = b"m";
/// Prefix of webhooks.
pub(super) const ITEMS: u8 = b'i';
/// Prefix of webhooks that cannot be read.
const QUARANTINE: u8 = b'q';

/// The outbox's counters.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Meta {
    /// The number of the next webhook.
    pub(super) next_number: u64,
}

impl Record for Meta {
    const TAG: u8 = b'B';
    const VERSION: u8 = 1;
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Row {
    id: u128,
    datasets: Vec<String>,
    received_at_ms: u64,
    pub(super) body: Blob,
}

impl Record for Row {
    const TAG: u8 = b'b';
    const VERSION: u8 = 1;
}

impl Row {
    pub(super) fn new(item: &OutboxItem, body: Blob) -> Self {
        let datasets = item.datasets.iter().map(|name| name.as_str().to_owned()).collect();
        Self { id: item.id.0, datasets, received_at_ms: item.received_at.0, body }
    }

    pub(super) fn received_at(&self) -> TimestampMs {
        TimestampMs(self.received_at_ms)
    }
}

pub(super) fn key(number: u64) -> Vec<u8> {
    [&[ITEMS][..], &number.to_be_bytes()].concat()
}

/// The number of a key made by [`key`].
pub(super) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// The counters; those of a new store are written first.
pub(super) fn read_meta(kv: &Kv) -> Result<Meta, StorageError> {
    let layout = Layout { format: FORMAT, meta: META, version: FORMAT_VERSION, previous: FORMAT_VERSION };
    match stored::read_meta::<Meta, Meta>(kv, &layout)? {
        Found::Current(meta) | Found::Previous(meta) => return Ok(meta),
        Found::Nothing => {}
    }
    let meta = Meta { next_number: 1 };
    let mut batch = Batch::new();
    batch.put(FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch.put(META.to_vec(), record::encode(&meta));
    kv.state.apply(batch)?;
    kv.flush()?;
    Ok(meta)
}

/// A webhook; `None` when it was removed.
pub(super) fn read(kv: &Kv, number: u64) -> Result<Option<OutboxItem>, StorageError> {
    let Some(value) = kv.state.get(&key(number))? else { return Ok(None) };
    let row = record::decode::<Row>(&value)?;
    let body = match row.body.read(&kv.chunks)? {
        Read::Whole(body) => body.into(),
        // Removed in between, unless the row is still there.
        Read::Missing if kv.state.get(&key(number))?.is_none() => return Ok(None),
        Read::Missing => return Err(blob::missing()),
    };
    let invalid = |_| StorageError::Damaged("invalid dataset name in the outbox".to_owned());
    let datasets: Vec<DatasetName> =
        row.datasets.iter().map(|name| DatasetName::new(name)).collect::<Result<_, _>>().map_err(invalid)?;
    let received_at = row.received_at();
    Ok(Some(OutboxItem { number, id: WebhookId(row.id), datasets, received_at, body }))
}

/// Deletes a webhook, then its chunks: a crash in between leaves chunks, which the next open deletes.
pub(super) fn remove(kv: &Kv, number: u64) -> Result<(), StorageError> {
    kv.state.delete(&key(number))?;
    blob::delete_chunks(number, &kv.chunks)
}

/// Deletes chunks of webhooks that are not there.
pub(super) fn delete_orphans(kv: &Kv, is_there: impl Fn(u64) -> bool) -> Result<(), StorageError> {
    for pair in kv.chunks.from(&[]) {
        let (key, _) = pair?;
        if blob::blob_of_chunk(&key).is_none_or(|number| !is_there(number)) {
            kv.chunks.delete(&key)?;
        }
    }
    Ok(())
}

/// Moves a webhook that cannot be read to where a person may look at it.
pub(super) fn put_aside(kv: &Kv, number: u64) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    if let Some(value) = kv.state.get(&key(number))? {
        let place = [&[QUARANTINE][..], &number.to_be_bytes()].concat();
        if kv.state.prefix(&[QUARANTINE]).count() < limits::OUTBOX_QUARANTINE_MAX {
            batch.put(place, value.to_vec());
        }
    }
    batch.delete(key(number));
    kv.state.apply(batch)
}
