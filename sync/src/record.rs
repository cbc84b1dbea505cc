//! Records: what a node holds and sends, checked by the model's rules.
//!
//! Owns the way between the wire and the model. Refuses whatever the model would not build; it never takes a part of a
//! record.

use bytes::Bytes;
use outpost_model::items::{Changed, Item};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Epoch, ErrorCode, Position, Revision, TimestampMs, Visibility,
};

use crate::wire;

/// A message that says something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot be what it says: {0}")]
pub struct InvalidRecord(pub String);

/// An entry as it is stored: its body packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRecord {
    /// Its address.
    pub key: ArtifactKey,
    /// HTTP status.
    pub http_status: u16,
    /// The error, `None` exactly when the status is 200.
    pub error_code: Option<ErrorCode>,
    /// The revision that it was computed for.
    pub revision: Revision,
    /// When it was stored in the authority.
    pub updated_at: TimestampMs,
    /// [`outpost_model::Entry::version`].
    pub version: [u8; 32],
    /// Length of the body.
    pub raw_bytes: u32,
    /// Whether `stored` is a zstd frame.
    pub is_compressed: bool,
    /// The body as stored.
    pub stored: Bytes,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry(Box<EntryRecord>),
    /// What is known of a dataset.
    Dataset(DatasetRecord),
}

/// A change of a mirror and its seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record is this now.
    Put(u64, Record),
    /// There is none any more.
    Delete(u64, Changed),
}

impl Change {
    /// What it is of.
    #[must_use]
    pub fn subject(&self) -> Changed {
        match self {
            Self::Put(_, record) => record.subject(),
            Self::Delete(_, subject) => subject.clone(),
        }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(_, record) => record.bytes(),
            Self::Delete(..) => OVERHEAD_BYTES,
        }
    }
}

/// Names, heads and bookkeeping of a record.
const OVERHEAD_BYTES: usize = 512;

impl Record {
    /// What it is of.
    #[must_use]
    pub fn subject(&self) -> Changed {
        match self {
            Self::Entry(entry) => Changed::Entry(entry.key.clone()),
            Self::Dataset(record) => Changed::Dataset(record.dataset.clone()),
        }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => OVERHEAD_BYTES + entry.stored.len(),
            Self::Dataset(_) => OVERHEAD_BYTES,
        }
    }

    /// Its form on the wire.
    #[must_use]
    pub fn to_wire(&self) -> wire::Put {
        match self {
            Self::Entry(entry) => wire::Put::Entry(entry.to_wire()),
            Self::Dataset(record) => wire::Put::Dataset(wire::Dataset {
                name: record.dataset.as_str().to_owned(),
                revision: record.revision.as_str().to_owned(),
                visibility: match record.visibility {
                    Visibility::Public => 0,
                    Visibility::Gated => 1,
                    Visibility::Private => 2,
                },
                checked_at_ms: record.checked_at.0,
            }),
        }
    }

    /// Reads [`Record::to_wire`].
    ///
    /// # Errors
    /// [`InvalidRecord`].
    pub fn from_wire(put: wire::Put) -> Result<Self, InvalidRecord> {
        match put {
            wire::Put::Entry(entry) => {
                EntryRecord::from_wire(entry).map(|entry| Self::Entry(Box::new(entry)))
            }
            wire::Put::Dataset(dataset) => Ok(Self::Dataset(DatasetRecord {
                dataset: dataset_name(&dataset.name)?,
                revision: revision(&dataset.revision)?,
                visibility: match dataset.visibility {
                    0 => Visibility::Public,
                    1 => Visibility::Gated,
                    2 => Visibility::Private,
                    other => return Err(InvalidRecord(format!("there is no visibility {other}"))),
                },
                checked_at: TimestampMs(dataset.checked_at_ms),
            })),
        }
    }
}

impl EntryRecord {
    /// Its form on the wire.
    #[must_use]
    pub fn to_wire(&self) -> wire::Entry {
        wire::Entry {
            key: self.key.to_bytes(),
            http_status: self.http_status,
            error_code: self.error_code.map(|code| code.as_str().to_owned()),
            revision: self.revision.as_str().to_owned(),
            updated_at_ms: self.updated_at.0,
            version: self.version,
            raw_bytes: self.raw_bytes,
            is_compressed: self.is_compressed,
            stored: self.stored.to_vec(),
        }
    }

    /// Reads [`EntryRecord::to_wire`].
    ///
    /// # Errors
    /// [`InvalidRecord`].
    pub fn from_wire(entry: wire::Entry) -> Result<Self, InvalidRecord> {
        let error_code = entry.error_code.as_deref().map(error_code).transpose()?;
        if (entry.http_status == 200) != error_code.is_none() || !(100..600).contains(&entry.http_status) {
            return Err(InvalidRecord(format!("status {} with error {error_code:?}", entry.http_status)));
        }
        Ok(Self {
            key: artifact_key(&entry.key)?,
            http_status: entry.http_status,
            error_code,
            revision: revision(&entry.revision)?,
            updated_at: TimestampMs(entry.updated_at_ms),
            version: entry.version,
            raw_bytes: entry.raw_bytes,
            is_compressed: entry.is_compressed,
            stored: entry.stored.into(),
        })
    }
}

/// The wire's form of a subject.
#[must_use]
pub fn subject_to_wire(subject: &Changed) -> wire::Subject {
    match subject {
        Changed::Entry(key) => wire::Subject::Entry(key.to_bytes()),
        Changed::Dataset(name) => wire::Subject::Dataset(name.as_str().to_owned()),
    }
}

/// Reads [`subject_to_wire`].
///
/// # Errors
/// [`InvalidRecord`].
pub fn subject_from_wire(subject: &wire::Subject) -> Result<Changed, InvalidRecord> {
    match subject {
        wire::Subject::Entry(key) => artifact_key(key).map(Changed::Entry),
        wire::Subject::Dataset(name) => dataset_name(name).map(Changed::Dataset),
    }
}

/// The changes of a message, in its order.
///
/// # Errors
/// [`InvalidRecord`].
pub fn changes_of(records: wire::Records) -> Result<Vec<Change>, InvalidRecord> {
    let puts = records.puts.into_iter().map(|(seq, put)| Ok(Change::Put(seq, Record::from_wire(put)?)));
    let deleted = records.deleted.iter();
    let deleted = deleted.map(|(seq, subject)| Ok(Change::Delete(*seq, subject_from_wire(subject)?)));
    puts.chain(deleted).collect()
}

/// A position from its parts.
#[must_use]
pub fn position((epoch, seq): (u128, u64)) -> Position {
    Position { epoch: Epoch(epoch), seq }
}

/// Items from the wire.
#[must_use]
pub fn items(bytes: &[wire::ItemBytes]) -> Vec<Item> {
    bytes.iter().map(Item::from_bytes).collect()
}

/// The key of its bytes.
///
/// # Errors
/// [`InvalidRecord`].
pub fn artifact_key(bytes: &[u8]) -> Result<ArtifactKey, InvalidRecord> {
    ArtifactKey::from_bytes(bytes).ok_or_else(|| InvalidRecord("no artifact has such a key".to_owned()))
}

fn dataset_name(name: &str) -> Result<DatasetName, InvalidRecord> {
    DatasetName::new(name).map_err(|error| InvalidRecord(error.to_string()))
}

fn revision(revision: &str) -> Result<Revision, InvalidRecord> {
    Revision::new(revision).map_err(|error| InvalidRecord(error.to_string()))
}

/// The error of a name.
///
/// # Errors
/// [`InvalidRecord`].
pub fn error_code(name: &str) -> Result<ErrorCode, InvalidRecord> {
    ErrorCode::from_name(name).ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        InvalidRecord(format!("this node does not know the error {shown:?}; upgrade it"))
    })
}
