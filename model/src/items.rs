//! What nodes compare: items, their running hash, and sums over ranges of them.
//!
//! Owns the form of an item: it says that a key holds a version since a time, and nothing but the stored content goes
//! into it, so stores that were filled in different ways agree. Refuses to know where records are kept.

mod index;
mod set_hash;

#[cfg(test)]
mod tests;

pub use self::index::{ItemIndex, ItemRange, RangeSum};
pub use self::set_hash::SetHash;

use crate::artifact::ArtifactKey;
use crate::entry::{DatasetRecord, Visibility};
use crate::name::DatasetName;
use crate::time::TimestampMs;

/// Bytes of an item.
pub const ITEM_BYTES: usize = 40;
/// Bytes kept of a key's and of a version's hash.
const SHORT_HASH_BYTES: usize = 16;

/// A key whose stored answer changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Changed {
    /// An entry was written or deleted.
    Entry(ArtifactKey),
    /// A dataset's record was written or deleted.
    Dataset(DatasetName),
}

/// One stored record as the index knows it. Items are ordered by time first, so that what two mirrors do not share is
/// mostly at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// When the content was written, by the clock of who wrote it.
    pub updated_at: TimestampMs,
    /// The start of the key's BLAKE3.
    pub key_hash: [u8; SHORT_HASH_BYTES],
    /// The start of the version.
    pub version_hash: [u8; SHORT_HASH_BYTES],
}

impl Item {
    /// The item of a record with the given 32-byte version.
    #[must_use]
    pub fn new(subject: &Changed, updated_at: TimestampMs, version: &[u8; 32]) -> Self {
        Self {
            updated_at,
            key_hash: short(blake3::hash(&subject_bytes(subject)).as_bytes()),
            version_hash: short(version),
        }
    }

    /// The least item there can be.
    pub const MIN: Self = Self {
        updated_at: TimestampMs(0),
        key_hash: [0; SHORT_HASH_BYTES],
        version_hash: [0; SHORT_HASH_BYTES],
    };

    /// The item of a dataset's record.
    #[must_use]
    pub fn of_dataset(record: &DatasetRecord) -> Self {
        let subject = Changed::Dataset(record.dataset.clone());
        Self::new(&subject, record.checked_at, &dataset_version(record))
    }

    /// Big-endian time, key hash, version hash: sorts as the item does.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ITEM_BYTES] {
        let mut bytes = [0; ITEM_BYTES];
        bytes[..8].copy_from_slice(&self.updated_at.0.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.key_hash);
        bytes[24..].copy_from_slice(&self.version_hash);
        bytes
    }

    /// Reads what [`Item::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ITEM_BYTES]) -> Self {
        let (time, hashes) = bytes.split_at(8);
        let (key, version) = hashes.split_at(SHORT_HASH_BYTES);
        let fixed = "split at fixed places";
        Self {
            updated_at: TimestampMs(u64::from_be_bytes(time.try_into().expect(fixed))),
            key_hash: key.try_into().expect(fixed),
            version_hash: version.try_into().expect(fixed),
        }
    }
}

impl Item {
    /// The least item that is greater.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut bytes = self.to_bytes();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Self::from_bytes(&bytes);
            }
        }
        // Nothing is greater than the greatest, which no hash will ever be.
        *self
    }
}

fn short(hash: &[u8; 32]) -> [u8; SHORT_HASH_BYTES] {
    let mut bytes = [0; SHORT_HASH_BYTES];
    bytes.copy_from_slice(&hash[..SHORT_HASH_BYTES]);
    bytes
}

/// A byte that tells entries from datasets, then the key.
#[must_use]
pub fn subject_bytes(subject: &Changed) -> Vec<u8> {
    match subject {
        Changed::Entry(key) => [b"e", &key.to_bytes()[..]].concat(),
        Changed::Dataset(name) => [b"d", name.as_str().as_bytes()].concat(),
    }
}

/// BLAKE3 of what a dataset's record says.
#[must_use]
pub fn dataset_version(record: &DatasetRecord) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(record.revision.as_str().as_bytes());
    hasher.update(&[
        0,
        match record.visibility {
            Visibility::Public => 0,
            Visibility::Gated => 1,
            Visibility::Private => 2,
        },
    ]);
    hasher.update(&record.checked_at.0.to_be_bytes());
    *hasher.finalize().as_bytes()
}
