//! What fills a mirror: batches of changes, each with the position and the bookmark that hold once it is applied.
//!
//! Owns the vocabulary between the store and whoever fills it: a primary's feed from its database, or a replica's feed
//! from another node. Packing a body needs no lock and happens here, in the caller.

use bytes::Bytes;
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Entry, Epoch, ErrorCode, Revision, TimestampMs,
};

use crate::blob::{self, Prepared};
use crate::error::StorageError;
use crate::mirror::{Changed, MirrorEntry};

/// How the filler names a record where it comes from, for fillers whose deletions carry that name only.
pub type SourceId = Vec<u8>;

/// Changes that take effect together.
#[derive(Debug, Clone)]
pub struct MirrorBatch {
    /// The history that the changes belong to. Another one than before lets its changes win over everything stored.
    pub epoch: Epoch,
    /// The changes; a later one wins over an earlier one of the same key.
    pub changes: Vec<MirrorChange>,
    /// The seq that the whole mirror stands at with this batch; `None` leaves the position as it is, while the mirror
    /// is being filled or a group of changes is not complete.
    pub reached: Option<u64>,
    /// The filler's bookmark, to be given back after a restart; `None` keeps the last one.
    pub cursor: Option<Bytes>,
    /// The histories that the source of the changes has left, oldest first; empty when it knows of none.
    pub left: Vec<Epoch>,
}

/// One change and when it happened. A change that is older than what is stored for its key is ignored, one that is
/// there already does nothing.
#[derive(Debug, Clone)]
pub struct MirrorChange {
    /// When, in the batch's history.
    pub seq: u64,
    /// What.
    pub write: MirrorWrite,
}

/// See [`MirrorChange`].
#[derive(Debug, Clone)]
pub enum MirrorWrite {
    /// Stores an entry.
    PutEntry(Box<EntryPut>),
    /// Deletes an entry.
    DeleteEntry(ArtifactKey),
    /// Deletes the entry that came from this source, unless another source has replaced it.
    DeleteSource(SourceId),
    /// Stores a dataset's record.
    PutDataset(DatasetRecord),
    /// Deletes a dataset's record. Its entries are deleted one by one.
    DeleteDataset(DatasetName),
    /// Notes a source that cannot be read, and deletes the entry that came from it: a reader is told nothing rather
    /// than what the authority no longer says.
    Quarantine(Quarantined),
    /// Tells followers to look again at what is stored.
    Touch(Changed),
}

/// A source that cannot be turned into an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its name there.
    pub source: SourceId,
    /// What it is, for people.
    pub what: String,
    /// Why it cannot be read, and what to do about it.
    pub why: String,
}

/// An entry on its way into the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPut {
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
    /// [`Entry::version`].
    pub version: [u8; 32],
    /// The response text.
    pub body: PackedBody,
    /// Where it comes from.
    pub source: Option<SourceId>,
}

impl EntryPut {
    /// Packs what readers need of an entry.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the body is longer than a response may be.
    pub fn new(entry: &Entry, source: Option<SourceId>) -> Result<Self, StorageError> {
        Ok(Self {
            key: entry.key.clone(),
            http_status: entry.http_status,
            error_code: entry.error_code,
            revision: entry.revision.clone(),
            updated_at: entry.updated_at,
            version: entry.version(),
            body: PackedBody::pack(&entry.body)?,
            source,
        })
    }

    /// The response, after checking that it is the version that it claims to be.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when it is not.
    pub fn open(&self) -> Result<MirrorEntry, StorageError> {
        let entry = Entry {
            key: self.key.clone(),
            http_status: self.http_status,
            error_code: self.error_code,
            revision: self.revision.clone(),
            body: self.body.open()?,
            details: None,
            names: Vec::new(),
            progress: None,
            job_runner_version: 0,
            failed_runs: 0,
            updated_at: self.updated_at,
            duration_ms: 0,
        };
        if entry.version() != self.version {
            return Err(StorageError::Damaged(format!("{}: not the version that was announced", self.key)));
        }
        let Entry { http_status, error_code, revision, body, .. } = entry;
        Ok(MirrorEntry { http_status, error_code, revision, version: self.version, body })
    }
}

/// A body as it is stored and sent between nodes: a zstd frame where that is smaller, else as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBody(pub(crate) Prepared);

impl PackedBody {
    /// Packs a body.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when it is longer than a response may be.
    pub fn pack(raw: &[u8]) -> Result<Self, StorageError> {
        blob::prepare(raw).map(Self)
    }

    /// A body that another node packed; [`PackedBody::open`] finds out whether that is true.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the lengths cannot be those of a packed body.
    pub fn from_parts(stored: Vec<u8>, raw_bytes: usize, is_compressed: bool) -> Result<Self, StorageError> {
        Prepared::from_parts(stored, raw_bytes, is_compressed).map(Self)
    }

    /// The bytes as stored.
    #[must_use]
    pub fn stored(&self) -> &[u8] {
        self.0.stored()
    }

    /// Length of the body itself.
    #[must_use]
    pub fn raw_bytes(&self) -> u32 {
        self.0.raw_bytes()
    }

    /// Whether the stored bytes are a zstd frame.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.0.is_compressed()
    }

    /// The body.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when the stored bytes do not unpack to the stated length.
    pub fn open(&self) -> Result<Bytes, StorageError> {
        self.0.open().map(Bytes::from)
    }
}
