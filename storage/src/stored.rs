//! Stored forms that the authority and the mirror share: dataset records, changes, and what their heads and counters
//! have in common.
//!
//! Owns the conversion both ways. Names are checked again when they are read, so that a record that no longer fits the
//! model's rules is damage, never a panic.

use bincode::{Decode, Encode};
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, ErrorCode, Revision, TimestampMs, Visibility};

use crate::error::StorageError;
use crate::kv::Kv;
use crate::mirror::Changed;
use crate::record::{self, Record};

/// Where a store says what it is.
pub(crate) struct Layout {
    /// Key of the format version.
    pub(crate) format: &'static [u8],
    /// Key of the counters.
    pub(crate) meta: &'static [u8],
    /// The version that is written.
    pub(crate) version: u32,
    /// The version before, which is brought up to date.
    pub(crate) previous: u32,
}

/// The counters of a store.
pub(crate) enum Found<M, P> {
    /// It is new.
    Nothing,
    /// Of this version.
    Current(M),
    /// Of the version before.
    Previous(P),
}

/// A store's counters.
pub(crate) fn read_meta<M: Record, P: Record>(kv: &Kv, layout: &Layout) -> Result<Found<M, P>, StorageError> {
    if kv.state.is_empty() {
        return Ok(Found::Nothing);
    }
    let found = kv.state.get(layout.format)?;
    let found = found.as_deref().and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let found = found.ok_or_else(|| StorageError::Damaged("no format version".to_owned()))?;
    let meta = || {
        let meta = kv.state.get(layout.meta)?;
        meta.ok_or_else(|| StorageError::Damaged("no position".to_owned()))
    };
    if found == layout.version {
        record::decode(&meta()?).map(Found::Current)
    } else if found == layout.previous {
        record::decode(&meta()?).map(Found::Previous)
    } else {
        Err(StorageError::FormatVersion { found, expected: layout.version })
    }
}

/// The error that a head names.
pub(crate) fn error_code(name: Option<&str>) -> Result<Option<ErrorCode>, StorageError> {
    let known = |name| ErrorCode::from_name(name).ok_or_else(|| damaged("unknown error code"));
    name.map(known).transpose()
}

/// The revision that a head names.
pub(crate) fn revision(text: &str) -> Result<Revision, StorageError> {
    Revision::new(text).map_err(|_| damaged("invalid revision"))
}

/// What is stored of a dataset under its name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredDataset {
    revision: String,
    visibility: u8,
    checked_at_ms: u64,
}

impl Record for StoredDataset {
    const TAG: u8 = b'd';
    const VERSION: u8 = 1;
}

impl StoredDataset {
    pub(crate) fn new(record: &DatasetRecord) -> Self {
        let visibility = match record.visibility {
            Visibility::Public => 0,
            Visibility::Gated => 1,
            Visibility::Private => 2,
        };
        Self { revision: record.revision.as_str().to_owned(), visibility, checked_at_ms: record.checked_at.0 }
    }

    pub(crate) fn into_record(self, dataset: DatasetName) -> Result<DatasetRecord, StorageError> {
        let visibility = match self.visibility {
            0 => Visibility::Public,
            1 => Visibility::Gated,
            2 => Visibility::Private,
            _ => return Err(damaged("unknown visibility")),
        };
        let revision = Revision::new(&self.revision).map_err(|_| damaged("invalid revision"))?;
        Ok(DatasetRecord { dataset, revision, visibility, checked_at: TimestampMs(self.checked_at_ms) })
    }
}

/// A record of the change log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum StoredChange {
    Entry(Vec<u8>),
    Dataset(String),
}

impl Record for StoredChange {
    const TAG: u8 = b'l';
    const VERSION: u8 = 1;
}

impl StoredChange {
    pub(crate) fn new(change: &Changed) -> Self {
        match change {
            Changed::Entry(key) => Self::Entry(key.to_bytes()),
            Changed::Dataset(dataset) => Self::Dataset(dataset.as_str().to_owned()),
        }
    }

    pub(crate) fn into_changed(self) -> Result<Changed, StorageError> {
        match self {
            Self::Entry(key) => ArtifactKey::from_bytes(&key)
                .map(Changed::Entry)
                .ok_or_else(|| damaged("invalid artifact key in the log")),
            Self::Dataset(name) => DatasetName::new(&name)
                .map(Changed::Dataset)
                .map_err(|_| damaged("invalid dataset name in the log")),
        }
    }
}

fn damaged(why: &str) -> StorageError {
    StorageError::Damaged(why.to_owned())
}
