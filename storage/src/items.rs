//! The reconciliation index of a store: a row for each record on disk, and the items in memory for who compares.
//!
//! Owns the form of rows, which the authority and the mirror share, and the way from rows to an [`ItemIndex`]: it is made
//! when it is asked for first, beside writes, which are noted meanwhile and made up for, and kept current by each
//! write from then on. Who never compares with another node pays no memory for it.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bincode::{Decode, Encode};
use outpost_model::items::ITEM_BYTES;
use outpost_model::{Item, ItemIndex};

use crate::error::StorageError;
use crate::record::Record;
use crate::stored::StoredChange;

/// Prefix of the index in the tree of records.
pub(crate) const INDEX: u8 = b'x';

/// What the index keeps beside an item.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct IndexRow {
    pub(crate) subject: StoredChange,
    /// Length of the body, as it is and as stored; zero for datasets.
    pub(crate) raw_bytes: u32,
    pub(crate) stored_bytes: u32,
}

impl Record for IndexRow {
    const TAG: u8 = b'X';
    const VERSION: u8 = 1;
}

/// The key of an item's row.
pub(crate) fn index_key(item: &Item) -> Vec<u8> {
    [&[INDEX][..], &item.to_bytes()].concat()
}

/// The item of an index key.
pub(crate) fn item_of_key(key: &[u8]) -> Option<Item> {
    let bytes: &[u8; ITEM_BYTES] = key.get(1..)?.try_into().ok()?;
    Some(Item::from_bytes(bytes))
}

/// A change of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemChange {
    Add(Item),
    Remove(Item),
}

/// The items of a store, once somebody asked for them.
#[derive(Default)]
pub(crate) struct StoredItems {
    state: RwLock<State>,
    /// Held by who reads the rows.
    reading: Mutex<()>,
}

#[derive(Default)]
struct State {
    index: Option<ItemIndex>,
    /// Changes since the rows began to be read, in order.
    meanwhile: Option<Vec<ItemChange>>,
}

impl StoredItems {
    /// Notes what a write changed, in order, after the engine took it. One writer at a time calls this.
    pub(crate) fn record(&self, changes: &[ItemChange]) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.write();
        if let Some(index) = &mut state.index {
            apply(index, changes);
        } else if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.extend_from_slice(changes);
        }
    }

    /// Takes note that the rows were changed in a way that nobody recorded: they are read again.
    pub(crate) fn forget(&self) {
        *self.write() = State::default();
    }

    /// The items. `scan` reads those of all rows; it may or may not see writes that come meanwhile.
    pub(crate) fn read<I>(&self, scan: impl Fn() -> I) -> Result<ItemsRead<'_>, StorageError>
    where
        I: Iterator<Item = Result<Item, StorageError>>,
    {
        loop {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.index.is_some() {
                return Ok(ItemsRead(state));
            }
            drop(state);
            self.build(&scan)?;
        }
    }

    /// Makes the index, unless somebody else did or [`StoredItems::forget`] made it void.
    fn build<I>(&self, scan: impl Fn() -> I) -> Result<(), StorageError>
    where
        I: Iterator<Item = Result<Item, StorageError>>,
    {
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.write();
            if state.index.is_some() {
                return Ok(());
            }
            // A write that the engine took before this was noted nowhere, and is seen by the scan.
            state.meanwhile = Some(Vec::new());
        }
        let mut failure = None;
        let items = scan().map_while(|item| item.map_err(|error| failure = Some(error)).ok());
        let mut index = ItemIndex::from_sorted(items);
        let mut state = self.write();
        let meanwhile = state.meanwhile.take();
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(changes) = meanwhile {
            // What the scan saw already changes nothing: the last change of an item decides.
            apply(&mut index, &changes);
            state.index = Some(index);
        }
        Ok(())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(index: &mut ItemIndex, changes: &[ItemChange]) {
    for change in changes {
        match change {
            ItemChange::Add(item) => index.insert(*item),
            ItemChange::Remove(item) => index.remove(item),
        };
    }
}

/// The items of everything stored, while this is held; writes wait that long.
pub struct ItemsRead<'a>(RwLockReadGuard<'a, State>);

impl Deref for ItemsRead<'_> {
    type Target = ItemIndex;

    fn deref(&self) -> &ItemIndex {
        self.0.index.as_ref().expect("looked at under the same lock before this was made")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use outpost_model::{ItemRange, TimestampMs};

    use super::*;

    fn item(number: u64) -> Item {
        Item { updated_at: TimestampMs(number), key_hash: [1; 16], version_hash: [2; 16] }
    }

    fn all(items: &StoredItems, scan: impl Fn() -> Vec<Result<Item, StorageError>>) -> Vec<Item> {
        items.read(|| scan().into_iter()).unwrap().items(&ItemRange::all(), 100)
    }

    #[test]
    fn writes_during_the_first_read_are_made_up_for() {
        let items = StoredItems::default();
        let scan = || {
            // One of them is seen by the scan, the others are not.
            let changes = [ItemChange::Add(item(9)), ItemChange::Remove(item(1)), ItemChange::Add(item(2))];
            items.record(&changes);
            vec![Ok(item(1)), Ok(item(2)), Ok(item(3))]
        };
        assert_eq!(all(&items, scan), [item(2), item(3), item(9)]);
        items.record(&[ItemChange::Remove(item(3))]);
        assert_eq!(all(&items, || unreachable!("read once")), [item(2), item(9)]);
    }

    #[test]
    fn rows_that_changed_unrecorded_are_read_again() {
        let items = StoredItems::default();
        let reads = Cell::new(0);
        let scan = || {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                items.forget();
            }
            vec![Ok(item(reads.get()))]
        };
        assert_eq!(all(&items, scan), [item(2)]);
        items.forget();
        assert_eq!(all(&items, scan), [item(3)]);
    }

    #[test]
    fn a_failed_read_is_told_and_repeated() {
        let items = StoredItems::default();
        let failing = || vec![Ok(item(1)), Err(StorageError::Engine("planned".to_owned()))];
        assert!(items.read(|| failing().into_iter()).is_err());
        assert_eq!(all(&items, || vec![Ok(item(1))]), [item(1)]);
    }
}
