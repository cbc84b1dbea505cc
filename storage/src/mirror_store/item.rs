//! Items of the reconciliation index, and the running hash of their set.
//!
//! Owns what two mirrors compare: an item says that a key holds a version since a time, and nothing but the stored
//! content goes into it, so mirrors that were filled in different ways agree. The set hash is the sum of the items'
//! BLAKE3 hashes modulo 2^256: order does not matter, and an item is added and removed at the same cost. A sum, unlike
//! an exclusive or, does not cancel an item that was counted twice.

use outpost_model::{DatasetRecord, TimestampMs, Visibility};

use crate::mirror::Changed;

/// Bytes of an item.
pub const ITEM_BYTES: usize = 40;
/// Bytes kept of a key's and of a version's hash.
const SHORT_HASH_BYTES: usize = 16;

/// One stored record as the index knows it. Items are ordered by time first, so that what two mirrors do not share is
/// mostly at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MirrorItem {
    /// When the content was written, by the clock of who wrote it.
    pub updated_at: TimestampMs,
    /// The start of the key's BLAKE3.
    pub key_hash: [u8; SHORT_HASH_BYTES],
    /// The start of the version.
    pub version_hash: [u8; SHORT_HASH_BYTES],
}

impl MirrorItem {
    /// The item of a record with the given 32-byte version.
    #[must_use]
    pub fn new(subject: &Changed, updated_at: TimestampMs, version: &[u8; 32]) -> Self {
        Self {
            updated_at,
            key_hash: short(blake3::hash(&subject_bytes(subject)).as_bytes()),
            version_hash: short(version),
        }
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

    /// Reads what [`MirrorItem::to_bytes`] wrote.
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

fn short(hash: &[u8; 32]) -> [u8; SHORT_HASH_BYTES] {
    let mut bytes = [0; SHORT_HASH_BYTES];
    bytes.copy_from_slice(&hash[..SHORT_HASH_BYTES]);
    bytes
}

/// A byte that tells entries from datasets, then the key.
pub(super) fn subject_bytes(subject: &Changed) -> Vec<u8> {
    match subject {
        Changed::Entry(key) => [b"e", &key.to_bytes()[..]].concat(),
        Changed::Dataset(name) => [b"d", name.as_str().as_bytes()].concat(),
    }
}

/// BLAKE3 of what a dataset's record says.
pub(super) fn dataset_version(record: &DatasetRecord) -> [u8; 32] {
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

/// The sum of the hashes of a set of items, modulo 2^256. The empty set's is zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, bincode::Encode, bincode::Decode)]
pub struct SetHash([u64; 4]);

impl SetHash {
    /// The sum as 32 bytes, least significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (target, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            target.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// Adds an item to the set.
    pub fn add(&mut self, item: &MirrorItem) {
        let mut carry = false;
        for (limb, summand) in self.0.iter_mut().zip(hash(item)) {
            let (sum, over) = limb.overflowing_add(summand);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_by_carry;
        }
    }

    /// Takes an item out of the set.
    pub fn remove(&mut self, item: &MirrorItem) {
        let mut borrow = false;
        for (limb, subtrahend) in self.0.iter_mut().zip(hash(item)) {
            let (rest, under) = limb.overflowing_sub(subtrahend);
            let (rest, under_by_borrow) = rest.overflowing_sub(u64::from(borrow));
            *limb = rest;
            borrow = under || under_by_borrow;
        }
    }
}

impl std::fmt::Debug for SetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hash(item: &MirrorItem) -> [u64; 4] {
    let hash = *blake3::hash(&item.to_bytes()).as_bytes();
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(hash.chunks_exact(8)) {
        *limb = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u64) -> MirrorItem {
        MirrorItem { updated_at: TimestampMs(number), key_hash: [1; 16], version_hash: [2; 16] }
    }

    #[test]
    fn the_set_hash_depends_on_the_set_alone() {
        let (mut forth, mut back) = (SetHash::default(), SetHash::default());
        (0..1_000).for_each(|number| forth.add(&item(number)));
        (0..1_000).rev().for_each(|number| back.add(&item(number)));
        assert_eq!(forth, back);
        (0..1_000).step_by(2).for_each(|number| forth.remove(&item(number)));
        assert_ne!(forth, back);
        (0..1_000).step_by(2).for_each(|number| back.remove(&item(number)));
        assert_eq!(forth, back);
        (0..1_000).skip(1).step_by(2).for_each(|number| back.remove(&item(number)));
        assert_eq!(back, SetHash::default());
    }

    #[test]
    fn an_item_counted_twice_shows() {
        let mut hash = SetHash::default();
        hash.add(&item(1));
        let once = hash;
        hash.add(&item(1));
        assert_ne!(hash, once);
        assert_ne!(hash, SetHash::default());
    }

    #[test]
    fn carries_go_through_all_limbs() {
        let mut hash = SetHash([u64::MAX; 4]);
        hash.add(&item(7));
        let mut expected = SetHash::default();
        expected.add(&item(7));
        hash.remove(&item(7));
        assert_eq!(hash, SetHash([u64::MAX; 4]));
    }

    #[test]
    fn bytes_round_trip_and_sort_as_items_do() {
        let later = MirrorItem { updated_at: TimestampMs(256), key_hash: [0; 16], version_hash: [0; 16] };
        assert_eq!(MirrorItem::from_bytes(&later.to_bytes()), later);
        assert_eq!(item(255).cmp(&later), item(255).to_bytes().cmp(&later.to_bytes()));
    }
}
