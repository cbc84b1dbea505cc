//! A disk without room: reads go on, writes say so, and with room again an opened store takes them.

use outpost_harness::SmallDisk;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_writes_and_leaves_reads() {
    let Some(disk) = SmallDisk::new(12).unwrap() else { return };
    let directory = disk.path().join("mirror");
    let store = open(&directory);
    let first = entry(&rows_of("u/d", "first"), 1, noise(9_000, 1));
    store.apply(batch(vec![put(1, &first, None)])).unwrap();
    store.flushed().await.unwrap();
    let mut durable = 1;
    let refused = loop {
        let seq = durable + 1;
        let next = entry(&rows_of("u/d", &format!("s{seq}")), seq, noise(100_000, seq));
        let applied = store.apply(batch(vec![put(seq, &next, None)]));
        let flushed = match applied {
            Ok(_) => store.flushed().await,
            Err(error) => Err(error),
        };
        match flushed {
            Ok(()) => durable = seq,
            Err(error) => break error,
        }
        assert!(durable < 1_000, "the disk holds 12 MiB");
    };
    assert!(matches!(refused, StorageError::DiskFull(_)), "{refused:?}");
    let again = store.apply(batch(vec![put(5_000, &first, None)]));
    assert!(matches!(again, Err(StorageError::DiskFull(_))), "{again:?}");
    assert_eq!(body_of(&store, &first.key), Some(first.body.clone()));
    assert_eq!(store.position().seq, durable);
    drop(store);
    disk.grow(64).unwrap();
    let store = open(&directory);
    assert!(store.position().seq >= durable, "{} of {durable}", store.position().seq);
    assert_eq!(body_of(&store, &first.key), Some(first.body.clone()));
    let later = store.position().seq + 1;
    store.apply(batch(vec![put(later, &entry(&first.key, later, "later"), None)])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(body_of(&store, &first.key), Some("later".into()));
}
