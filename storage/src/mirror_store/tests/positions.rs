//! Positions around batches that are not whole, changes of history, and what older versions wrote.

use super::super::keys;
use super::super::records::{FORMAT_VERSION_BEFORE, MetaBefore};
use super::*;
use crate::feed_source::FeedSource;
use crate::kv::{self, Batch};
use crate::record as stored_record;

fn filling(seq: u64) -> MirrorBatch {
    let stored = entry(&rows_of(&format!("u/d{seq}"), "train"), seq, "{}");
    MirrorBatch { reached: None, ..batch(vec![put(seq, &stored, None)]) }
}

fn at(epoch: Epoch, seq: u64) -> Position {
    Position { epoch, seq }
}

#[tokio::test]
async fn a_change_ahead_of_the_position_is_seen_but_not_promised() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.apply(batch(vec![put(3, &entry(&rows_of("u/d", "a"), 3, "{}"), None)])).unwrap();
    store.flushed().await.unwrap();
    let whole = store.head();
    store.apply(filling(9)).unwrap();
    store.apply(filling(8)).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.visible(), store.position()), (at(EPOCH, 3), at(EPOCH, 3)));
    assert_eq!(store.seen(), at(EPOCH, 9));
    // The head speaks of the state at its position, whatever came since.
    assert_eq!(store.head(), whole);
    assert_ne!(store.summary().set_hash, whole.set_hash);
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.seen(), store.visible()), (at(EPOCH, 9), at(EPOCH, 3)));
    assert_eq!(store.head(), whole);
    store.apply(MirrorBatch { reached: Some(12), ..batch(Vec::new()) }).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.seen(), store.visible()), (at(EPOCH, 12), at(EPOCH, 12)));
    assert_eq!((store.head().records, store.head().set_hash), (3, store.summary().set_hash));
}

#[tokio::test]
async fn histories_that_were_left_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let next = |epoch, reached, left: &[u128]| {
        let left = left.iter().copied().map(Epoch).collect();
        MirrorBatch { epoch: Epoch(epoch), reached, left, ..filling(1) }
    };
    // Nothing was reached in history 6, so nothing was left with it.
    store.apply(next(6, None, &[])).unwrap();
    store.apply(next(7, Some(1), &[])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(store.head().left, []);
    store.apply(next(8, None, &[])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.head().left, store.seen(), store.visible()), (vec![], at(Epoch(8), 1), at(EPOCH, 1)));
    store.apply(next(8, Some(2), &[])).unwrap();
    store.apply(next(9, Some(2), &[4, 8])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(store.head().left, [7, 4, 8].map(Epoch));
    assert_eq!(store.seen(), at(Epoch(9), 2));
    drop(store);
    assert_eq!(open(directory.path()).head().left, [7, 4, 8].map(Epoch));
}

#[tokio::test]
async fn a_store_of_the_version_before_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.apply(batch(vec![put(3, &entry(&rows_of("u/d", "a"), 3, "{}"), None)])).unwrap();
    store.flushed().await.unwrap();
    let (head, meta) = (store.head(), store.core().unwrap().meta.clone());
    drop(store);
    let (kv, _) = kv::open(directory.path(), 1_000, 1 << 20).unwrap();
    let mut older = Batch::new();
    older.put(keys::FORMAT.to_vec(), FORMAT_VERSION_BEFORE.to_be_bytes().to_vec());
    older.put(keys::META.to_vec(), stored_record::encode(&MetaBefore::of(meta)));
    kv.state.apply(older).unwrap();
    kv.flush().unwrap();
    drop(kv);
    for _ in 0..2 {
        let store = open(directory.path());
        assert_eq!(store.open_report().set_aside, None);
        assert_eq!(store.head(), head);
        assert_eq!(store.seen(), head.position);
    }
}

#[tokio::test]
async fn a_recount_makes_the_items_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.apply(batch(vec![put(3, &entry(&rows_of("u/d", "a"), 3, "{}"), None)])).unwrap();
    assert_eq!(store.items().unwrap().len(), 1);
    let mut stray = Batch::new();
    let item = Item { updated_at: TimestampMs(1), key_hash: [1; 16], version_hash: [1; 16] };
    stray.put(crate::items::index_key(&item), Vec::new());
    store.inner.kv.state.apply(stray).unwrap();
    store.inner.items.forget();
    assert_eq!(store.items().unwrap().len(), 2);
    assert!(store.scrub().unwrap().recounted);
    assert_eq!(store.items().unwrap().len(), 1);
}

#[test]
fn what_is_visible_tells_the_histories_left_before_it_without_waiting_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let to = |epoch, seq, left| MirrorBatch {
        epoch: Epoch(epoch),
        changes: Vec::new(),
        reached: Some(seq),
        cursor: None,
        left,
    };
    for (epoch, left) in [(7, vec![]), (8, vec![]), (9, vec![Epoch(3)])] {
        store.apply(to(epoch, 5, left)).unwrap();
    }
    let at = Position { epoch: Epoch(9), seq: 5 };
    let mut left = store.visible_left();
    left.1.sort();
    assert_eq!(left, (at, vec![Epoch(3), Epoch(7), Epoch(8)]));
    let mut stage = store.stage(Epoch(10)).unwrap();
    stage.take_over(vec![Epoch(4)]);
    stage.commit(Position { epoch: Epoch(10), seq: 6 }, None, None).unwrap();
    let (position, left) = store.visible_left();
    assert_eq!(position, Position { epoch: Epoch(10), seq: 6 });
    assert!(left.contains(&Epoch(4)) && left.contains(&Epoch(9)), "{left:?}");
}
