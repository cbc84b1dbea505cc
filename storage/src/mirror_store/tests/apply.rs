//! Applying batches: what wins, what is ignored, what is kept in step.

use super::*;
use crate::blob;
use crate::feed_source::{FeedSource, StoredRecord};

#[tokio::test]
async fn a_batch_takes_effect_together_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!((store.position().seq, store.cursor().unwrap()), (0, None));
    let large = noise(300_000, 1);
    let changes = vec![
        change(5, MirrorWrite::PutDataset(record("u/d", 1, Visibility::Public))),
        put(5, &entry(&rows_of("u/d", "train"), 10, large.clone()), Some("a")),
        put(5, &entry(&rows_of("u/d", "test"), 11, "{}"), Some("b")),
    ];
    let cursor = Some(Bytes::from_static(b"bookmark"));
    let applied = store.apply(MirrorBatch { cursor: cursor.clone(), ..batch(changes) }).unwrap();
    assert_eq!(applied, Applied { changed: 3, ignored: 0 });
    store.flushed().await.unwrap();
    let before = store.summary();
    assert_eq!(before.position, Position { epoch: EPOCH, seq: 5 });
    assert_eq!((before.entries, before.datasets, before.raw_bytes), (2, 1, 300_002));
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.summary(), store.cursor().unwrap()), (before, cursor));
    assert_eq!(body_of(&store, &rows_of("u/d", "train")), Some(large.into()));
    assert_eq!(store.dataset(&dataset("u/d")).unwrap(), Some(record("u/d", 1, Visibility::Public)));
    assert_eq!(hash_of_contents(&store), (3, store.summary().set_hash));
}

#[tokio::test]
async fn errors_read_back_with_their_code() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    let mut failed = entry(&key, 1, r#"{"error":"no"}"#);
    failed.error_code = Some(ErrorCode::StreamingRowsError);
    failed.http_status = 500;
    store.apply(batch(vec![put(1, &failed, None)])).unwrap();
    let read = store.get(&key).unwrap().unwrap();
    assert_eq!((read.http_status, read.error_code), (500, Some(ErrorCode::StreamingRowsError)));
    assert_eq!(read.version, failed.version());
}

#[tokio::test]
async fn an_older_change_is_ignored_and_a_repeated_one_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    let newer = batch(vec![put(9, &entry(&key, 9, "newer"), Some("a"))]);
    store.apply(newer.clone()).unwrap();
    let ignored = Applied { changed: 0, ignored: 1 };
    let older = MirrorBatch { reached: None, ..batch(vec![put(8, &entry(&key, 8, "older"), Some("a"))]) };
    assert_eq!(store.apply(older.clone()).unwrap(), ignored);
    assert_eq!(store.apply(newer).unwrap(), ignored);
    let delete = |seq| batch(vec![change(seq, MirrorWrite::DeleteEntry(key.clone()))]);
    assert_eq!(store.apply(MirrorBatch { reached: None, ..delete(8) }).unwrap(), ignored);
    assert_eq!(body_of(&store, &key), Some("newer".into()));
    assert_eq!(store.apply(delete(10)).unwrap().changed, 1);
    assert_eq!(store.apply(delete(10)).unwrap(), ignored);
    // The tombstone remembers.
    assert_eq!(store.apply(older).unwrap(), ignored);
    assert_eq!(body_of(&store, &key), None);
    assert_eq!(store.apply(batch(vec![put(11, &entry(&key, 11, "back"), Some("b"))])).unwrap().changed, 1);
    assert_eq!(body_of(&store, &key), Some("back".into()));
    assert_eq!(hash_of_contents(&store).0, 1);
}

#[tokio::test]
async fn the_last_change_of_a_key_in_a_batch_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    store
        .apply(batch(vec![
            put(3, &entry(&key, 1, noise(9_000, 1)), Some("a")),
            change(3, MirrorWrite::DeleteSource(b"a".to_vec())),
            put(3, &entry(&key, 2, noise(9_000, 2)), Some("b")),
            put(3, &entry(&key, 3, noise(9_000, 3)), Some("b")),
        ]))
        .unwrap();
    store.flushed().await.unwrap();
    assert_eq!(body_of(&store, &key), Some(noise(9_000, 3).into()));
    let summary = store.summary();
    assert_eq!((summary.entries, summary.raw_bytes), (1, 9_000));
    assert_eq!(hash_of_contents(&store), (1, summary.set_hash));
    assert_eq!(store.sources_after(None, 10).unwrap(), [b"b".to_vec()]);
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.inner.kv.chunks.from(&[]).count(), 9_000usize.div_ceil(limits::STORE_CHUNK_BYTES));
    assert_eq!(store.inner.kv.state.prefix(&[blob::GARBAGE]).count(), 0);
}

#[tokio::test]
async fn a_deleted_source_takes_its_entry_unless_another_one_replaced_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    store.apply(batch(vec![put(1, &entry(&key, 1, "first"), Some("a"))])).unwrap();
    assert_eq!(store.key_of(b"a").unwrap(), Some(key.clone()));
    store.apply(batch(vec![put(2, &entry(&key, 2, "second"), Some("b"))])).unwrap();
    assert_eq!(store.key_of(b"a").unwrap(), None);
    store.apply(batch(vec![change(3, MirrorWrite::DeleteSource(b"a".to_vec()))])).unwrap();
    assert_eq!(body_of(&store, &key), Some("second".into()));
    store.apply(batch(vec![change(4, MirrorWrite::DeleteSource(b"b".to_vec()))])).unwrap();
    assert_eq!((body_of(&store, &key), store.key_of(b"b").unwrap()), (None, None));
    assert_eq!(store.sources_after(None, 10).unwrap(), Vec::<SourceId>::new());
}

#[tokio::test]
async fn a_source_that_says_another_key_leaves_its_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (old, new) = (rows_of("u/d", "train"), rows_of("u/d", "test"));
    store.apply(batch(vec![put(1, &entry(&old, 1, "body"), Some("a"))])).unwrap();
    store.apply(batch(vec![put(2, &entry(&new, 2, "body"), Some("a"))])).unwrap();
    assert_eq!((body_of(&store, &old), body_of(&store, &new)), (None, Some("body".into())));
    assert_eq!(store.key_of(b"a").unwrap(), Some(new));
}

#[tokio::test]
async fn a_source_in_quarantine_serves_nothing_until_it_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    let quarantined =
        Quarantined { source: b"a".to_vec(), what: "u/d".to_owned(), why: "no kind".to_owned() };
    store.apply(batch(vec![put(1, &entry(&key, 1, "body"), Some("a"))])).unwrap();
    for seq in [2, 3] {
        let aside = MirrorWrite::Quarantine(quarantined.clone());
        store.apply(batch(vec![change(seq, aside)])).unwrap();
    }
    store.flushed().await.unwrap();
    assert_eq!((body_of(&store, &key), store.summary().quarantined), (None, 1));
    assert_eq!(store.quarantined(None, 10).unwrap(), std::slice::from_ref(&quarantined));
    store.apply(batch(vec![put(4, &entry(&key, 4, "body"), Some("a"))])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((body_of(&store, &key), store.summary().quarantined), (Some("body".into()), 0));
    let aside = MirrorWrite::Quarantine(quarantined);
    store.apply(batch(vec![change(5, aside), change(6, MirrorWrite::DeleteSource(b"a".to_vec()))])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.summary().quarantined, store.summary().entries), (0, 0));
}

#[tokio::test]
async fn mirrors_filled_in_different_ways_have_the_same_set_hash() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = directories.each_ref().map(|directory| open(directory.path()));
    let train = entry(&rows_of("u/d", "train"), 5, "train");
    let test = entry(&rows_of("u/d", "test"), 6, "test");
    let public = MirrorWrite::PutDataset(record("u/d", 3, Visibility::Public));
    one.apply(batch(vec![put(1, &entry(&train.key, 1, "draft"), Some("x")), put(2, &test, None)])).unwrap();
    one.apply(batch(vec![change(7, public.clone()), put(8, &train, Some("x"))])).unwrap();
    two.apply(batch(vec![put(3, &train, None), put(3, &test, Some("y")), change(3, public)])).unwrap();
    for store in [&one, &two] {
        store.flushed().await.unwrap();
        assert_eq!(hash_of_contents(store), (3, store.summary().set_hash));
    }
    assert_eq!(one.summary().set_hash, two.summary().set_hash);
    two.apply(batch(vec![put(9, &entry(&train.key, 9, "changed"), None)])).unwrap();
    two.flushed().await.unwrap();
    assert_ne!(one.summary().set_hash, two.summary().set_hash);
}

#[tokio::test]
async fn another_history_wins_over_everything_stored() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (train, test) = (rows_of("u/d", "train"), rows_of("u/d", "test"));
    store.apply(batch(vec![put(1_000, &entry(&train, 1, "old"), Some("a"))])).unwrap();
    let next =
        |changes, reached| MirrorBatch { epoch: Epoch(8), changes, reached, cursor: None, left: Vec::new() };
    store.apply(next(vec![put(3, &entry(&test, 2, "new"), Some("b"))], None)).unwrap();
    store.flushed().await.unwrap();
    // The old position holds until the new history is whole.
    assert_eq!(store.position(), Position { epoch: EPOCH, seq: 1_000 });
    assert_eq!(body_of(&store, &train), Some("old".into()));
    assert_eq!(store.changes_after(999, 10).unwrap(), None);
    store.apply(next(vec![change(4, MirrorWrite::DeleteSource(b"a".to_vec()))], Some(4))).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(store.position(), Position { epoch: Epoch(8), seq: 4 });
    assert_eq!((body_of(&store, &train), body_of(&store, &test)), (None, Some("new".into())));
    assert_eq!(store.changes_after(4, 10).unwrap(), Some(Vec::new()));
    assert_eq!(store.changes_after(3, 10).unwrap(), None);
}

#[test]
fn a_packed_body_is_what_it_says_or_refused() {
    let text = "all work and no play ".repeat(1_000);
    let stored = entry(&rows_of("u/d", "train"), 1, text.clone());
    let put = EntryPut::new(&stored, None).unwrap();
    assert!(put.body.is_compressed());
    assert!(put.body.stored().len() < text.len() / 10);
    assert_eq!(put.open().unwrap().body, text);
    let parts = |stored: &[u8], raw_bytes| PackedBody::from_parts(stored.to_vec(), raw_bytes, true);
    let again = parts(put.body.stored(), text.len()).unwrap();
    assert_eq!(again, put.body);
    let lies = EntryPut { body: parts(put.body.stored(), text.len() - 1).unwrap(), ..put.clone() };
    assert!(lies.open().is_err());
    let other = PackedBody::pack(b"something else").unwrap();
    assert!(EntryPut { body: other, ..put.clone() }.open().is_err());
    assert!(parts(put.body.stored(), limits::CONTENT_BYTES_MAX + 1).is_err());
    assert!(parts(put.body.stored(), put.body.stored().len()).is_err());
    assert!(PackedBody::from_parts(b"ab".to_vec(), 3, false).is_err());
}

#[tokio::test]
async fn what_is_sent_to_another_node_is_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = rows_of("u/d", "train");
    for body in [Vec::new(), b"{}".to_vec(), b"a".repeat(50_000), noise(50_000, 3)] {
        let stored = entry(&key, body.len() as u64 + 1, body);
        store.apply(batch(vec![put(stored.updated_at.0, &stored, Some("a"))])).unwrap();
        let sent = FeedSource::record(&store, &Changed::Entry(key.clone())).unwrap().unwrap();
        let StoredRecord::Entry(packed) = sent else { panic!("an entry is one") };
        assert_eq!(*packed, EntryPut { source: None, ..EntryPut::new(&stored, None).unwrap() });
        assert_eq!(Some(packed.open().unwrap()), store.get(&key).unwrap());
    }
}
