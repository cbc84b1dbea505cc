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
pub(super) use crate::items::IndexRow;
use crate::mirror::Changed;
use crate::record::Record;
use crate::stored::{self, StoredChange, StoredDataset};

/// Layout of the whole store; another version is refused. The upper half tells it from the authority's store.
pub(super) const FORMAT_VERSION: u32 = 0x4d49_0002;
/// The layout before, which is brought up to date.
pub(super) const FORMAT_VERSION_BEFORE: u32 = 0x4d49_0001;

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
    /// Set hash and number of records when the position was reached.
    pub(super) position_hash: SetHash,
    pub(super) position_records: u64,
    /// The last seq of a stored change, and its history.
    pub(super) seen_epoch: u128,
    pub(super) seen_seq: u64,
    /// See [`crate::lineage`].
    pub(super) left: Vec<u128>,
}

impl Record for Meta {
    const TAG: u8 = b'M';
    const VERSION: u8 = 2;
}

impl Meta {
    pub(super) fn position(&self) -> Position {
        Position { epoch: Epoch(self.epoch), seq: self.seq }
    }

    /// Nothing is stored that came after this.
    pub(super) fn seen(&self) -> Position {
        if self.seen_epoch == self.epoch {
            return Position { epoch: Epoch(self.epoch), seq: self.seen_seq.max(self.seq) };
        }
        // Before the first change of another history, and once it is reached without one.
        let is_ahead = self.seen_epoch == self.filling_epoch && self.seen_seq > 0;
        let seen = Position { epoch: Epoch(self.seen_epoch), seq: self.seen_seq };
        if is_ahead { seen } else { self.position() }
    }

    /// Takes note of a change that is about to be stored.
    pub(super) fn note_seen(&mut self, seq: u64) {
        if self.seen_epoch != self.filling_epoch {
            (self.seen_epoch, self.seen_seq) = (self.filling_epoch, 0);
        }
        self.seen_seq = self.seen_seq.max(seq);
    }
}

/// [`Meta`] before it kept what followers of the mirror are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(super) struct MetaBefore {
    epoch: u128,
    seq: u64,
    filling_epoch: u128,
    generation: u32,
    log_floor: u64,
    log_last: (u64, u32),
    log_records: u64,
    log_bytes: u64,
    next_blob: u64,
    entries: u64,
    datasets: u64,
    quarantined: u64,
    raw_bytes: u64,
    stored_bytes: u64,
    set_hash: SetHash,
    cursor: Option<Vec<u8>>,
}

impl Record for MetaBefore {
    const TAG: u8 = Meta::TAG;
    const VERSION: u8 = 1;
}

impl MetaBefore {
    /// What the version before would have written.
    #[cfg(test)]
    pub(super) fn of(meta: Meta) -> Self {
        Self {
            epoch: meta.epoch,
            seq: meta.seq,
            filling_epoch: meta.filling_epoch,
            generation: meta.generation,
            log_floor: meta.log_floor,
            log_last: meta.log_last,
            log_records: meta.log_records,
            log_bytes: meta.log_bytes,
            next_blob: meta.next_blob,
            entries: meta.entries,
            datasets: meta.datasets,
            quarantined: meta.quarantined,
            raw_bytes: meta.raw_bytes,
            stored_bytes: meta.stored_bytes,
            set_hash: meta.set_hash,
            cursor: meta.cursor,
        }
    }

    /// What it says, as far as it does: the set hash may be that of a fill under way until the position moves.
    pub(super) fn into_current(self) -> Meta {
        Meta {
            epoch: self.epoch,
            seq: self.seq,
            filling_epoch: self.filling_epoch,
            generation: self.generation,
            log_floor: self.log_floor,
            log_last: self.log_last,
            log_records: self.log_records,
            log_bytes: self.log_bytes,
            next_blob: self.next_blob,
            entries: self.entries,
            datasets: self.datasets,
            quarantined: self.quarantined,
            raw_bytes: self.raw_bytes,
            stored_bytes: self.stored_bytes,
            set_hash: self.set_hash,
            cursor: self.cursor,
            position_hash: self.set_hash,
            position_records: self.entries + self.datasets,
            seen_epoch: self.filling_epoch,
            seen_seq: self.log_last.0.max(self.seq),
            left: Vec::new(),
        }
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
