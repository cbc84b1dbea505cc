//! The running hash of a set of items.
//!
//! Owns a sum of the items' BLAKE3 hashes modulo 2^256: order does not matter, and an item is added and removed at the
//! same cost. A sum, unlike an exclusive or, does not cancel an item that was counted twice.

use super::Item;

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

    /// Reads what [`SetHash::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        Self(limbs)
    }

    /// Adds an item to the set.
    pub fn add(&mut self, item: &Item) {
        self.merge(Self(hash(item)));
    }

    /// Takes an item out of the set.
    pub fn remove(&mut self, item: &Item) {
        self.subtract(Self(hash(item)));
    }

    /// Adds a set that shares nothing with this one.
    pub fn merge(&mut self, other: Self) {
        let mut carry = false;
        for (limb, summand) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = limb.overflowing_add(summand);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_by_carry;
        }
    }

    /// Takes a part of the set out of it.
    pub fn subtract(&mut self, part: Self) {
        let mut borrow = false;
        for (limb, subtrahend) in self.0.iter_mut().zip(part.0) {
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

fn hash(item: &Item) -> [u64; 4] {
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
    use crate::time::TimestampMs;

    fn item(number: u64) -> Item {
        Item { updated_at: TimestampMs(number), key_hash: [1; 16], version_hash: [2; 16] }
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
}
