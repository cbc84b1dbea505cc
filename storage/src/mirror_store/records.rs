//! The stored forms of the mirror's records.
//!
//! Owns their layout. Names and codes are stored as text and checked again when they are read, so that a record that no
//! longer fits the model's rules is damage, never a panic.

use bincode::{Decode, Encode};
use outpost_model::{
    DatasetName, DatasetRecord, Epoch, ErrorCode, Item, Position, Revision, SetHash, TimestampMs,
};

use crate::blob::Blob;
use crate::error::StorageError;
use crate::mirror::Changed;
use crate::record::Record;
use crate::stored::{self, StoredChange, StoredDataset};

/// Layout of the whole store; another version is refused. The upper half tells it from the authority's store.
pub(super) const FORMAT_VERSION: u32 = 0x4d49_0001;

/// The store's counters and bookmarks, written with every batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(super) struct Meta {
    /// The position: epoch and seq.
    pub(super) epoch: u128,
    pub(super) seq: u64,
    /// The history that the last batch belonged to; another one than `epoch` while the mirror moves to it.
    pub(super) filling_epoch: u128,
    /// Grows when the history changes: what was stored under a smaller one never wins.
    pub(super) generation: u32,
    /// Changes up to here are no longer in the log.
    pub(super) log_floor: u64,
    /// The last record of the log: its seq and its number at that seq.
    pub(super) log_last: (u64, u32),
    pub(super) log_records: u64,
    /// Bytes of the log's keys and values.
    pub(super) log_bytes: u64,
    /// Id of the next blob.
    pub(super) next_blob: u64,
    pub(super) entries: u64,
    pub(super) datasets: u64,
    pub(super) quarantined: u64,
    /// Bytes of all bodies, as they are and as stored.
    pub(super) raw_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) set_hash: SetHash,
    /// The filler's bookmark.
    pub(super) cursor: Option<Vec<u8>>,
}

impl Record for Meta {
    const TAG: u8 = b'M';
    const VERSION: u8 = 1;
}

impl Meta {
    pub(super) fn position(&self) -> Position {
        Position { epoch: Epoch(self.epoch), seq: self.seq }
    }
}

/// When a record was written: a later stamp wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct Stamp {
    pub(super) generation: u32,
    pub(super) seq: u64,
}

/// An entry without its body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Head {
    pub(super) stamp: Stamp,
    pub(super) http_status: u16,
    pub(super) error_code: Option<String>,
    pub(super) revision: String,
    pub(super) version: [u8; 32],
    pub(super) updated_at_ms: u64,
    pub(super) source: Option<Vec<u8>>,
    pub(super) body: Blob,
}

impl Record for Head {
    const TAG: u8 = b'E';
    const VERSION: u8 = 1;
}

impl Head {
    pub(super) fn error_code(&self) -> Result<Option<ErrorCode>, StorageError> {
        stored::error_code(self.error_code.as_deref())
    }

    pub(super) fn revision(&self) -> Result<Revision, StorageError> {
        stored::revision(&self.revision)
    }

    pub(super) fn item(&self, subject: &Changed) -> Item {
        Item::new(subject, TimestampMs(self.updated_at_ms), &self.version)
    }
}

/// A dataset's record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct DatasetHead {
    pub(super) stamp: Stamp,
    pub(super) dataset: StoredDataset,
}

impl Record for DatasetHead {
    const TAG: u8 = b'D';
    const VERSION: u8 = 1;
}

impl DatasetHead {
    pub(super) fn record(&self, name: &DatasetName) -> Result<DatasetRecord, StorageError> {
        self.dataset.clone().into_record(name.clone())
    }
}

/// What the reconciliation index keeps beside an item.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct IndexRow {
    pub(super) subject: StoredChange,
    /// Length of the body, as it is and as stored; zero for datasets.
    pub(super) raw_bytes: u32,
    pub(super) stored_bytes: u32,
}

impl Record for IndexRow {
    const TAG: u8 = b'X';
    const VERSION: u8 = 1;
}

/// When a record was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Tombstone(pub(super) Stamp);

impl Record for Tombstone {
    const TAG: u8 = b'T';
    const VERSION: u8 = 1;
}

/// The entry that came from a source.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct SourceRow(pub(super) StoredChange);

impl Record for SourceRow {
    const TAG: u8 = b'I';
    const VERSION: u8 = 1;
}

/// A source that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct QuarantineRow {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) seq: u64,
}

impl Record for QuarantineRow {
    const TAG: u8 = b'Q';
    const VERSION: u8 = 1;
}
