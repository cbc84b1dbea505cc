//! The records of the index of assets.
//!
//! Owns their layout; a change of it is a change of [`FORMAT_VERSION`].

use bincode::{Decode, Encode};

use super::reader::Stored;
use crate::record::Record;

/// Version of keys and records together.
pub(super) const FORMAT_VERSION: u32 = 1;

/// An asset: which content is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct StoredAsset {
    pub(super) hash: [u8; 32],
    pub(super) content_type: String,
    pub(super) put_at_ms: u64,
}

impl Record for StoredAsset {
    const TAG: u8 = b'A';
    const VERSION: u8 = 1;
}

/// A content: where the bytes of a hash are, and how many assets they are the bytes of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct StoredContent {
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
    /// Whether the stored bytes are a zstd frame.
    pub(super) compressed: bool,
    /// BLAKE3 of the stored bytes.
    pub(super) stored_hash: [u8; 32],
    pub(super) references: u64,
    pub(super) place: Place,
}

impl StoredContent {
    /// What the bytes of the content with this hash must be.
    pub(super) fn stored(&self, hash: &[u8; 32]) -> Stored {
        let Self { bytes, stored_bytes, stored_hash, compressed, .. } = *self;
        Stored { bytes, hash: *hash, stored_bytes, stored_hash, compressed }
    }
}

impl Record for StoredContent {
    const TAG: u8 = b'C';
    const VERSION: u8 = 1;
}

/// Where stored bytes are. Every copy has an id of its own, so that deleting one cannot hit another of the same hash.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Place {
    Inline(Vec<u8>),
    Chunks { id: u64 },
    File { id: u64 },
}

impl Place {
    pub(super) fn id(&self) -> Option<u64> {
        match self {
            Self::Inline(_) => None,
            Self::Chunks { id } | Self::File { id } => Some(*id),
        }
    }
}

/// A stored value that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Garbage {
    pub(super) id: u64,
    /// The hash in the file's name; `None` for chunks.
    pub(super) file: Option<[u8; 32]>,
}

impl Record for Garbage {
    const TAG: u8 = b'G';
    const VERSION: u8 = 1;
}

/// Counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Meta {
    /// Ids below this may have been given out.
    pub(super) ids_reserved: u64,
    pub(super) assets: u64,
    pub(super) asset_bytes: u64,
    pub(super) contents: u64,
    pub(super) stored_bytes: u64,
    /// Epoch and seq up to where the authority was followed.
    pub(super) followed: Option<(u128, u64)>,
}

impl Record for Meta {
    const TAG: u8 = b'N';
    const VERSION: u8 = 1;
}
