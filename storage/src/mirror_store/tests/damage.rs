//! Damaged records and files.

use std::fs::{self, File};

use super::*;
use crate::feed_source::FeedSource;
use crate::kv::{self, Batch};

/// Changes one stored value behind the store's back.
fn tamper(directory: &Path, in_chunks: bool, key: &[u8]) {
    let (kv, _) = kv::open(directory, 10_000, 1 << 20).unwrap();
    let tree = if in_chunks { &kv.chunks } else { &kv.state };
    let (key, value) = tree.from(key).next().map(|pair| pair.unwrap()).unwrap();
    let (key, mut value) = (key.to_vec(), value.to_vec());
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let mut batch = Batch::new();
    batch.put(key, value);
    tree.apply(batch).unwrap();
    kv.flush().unwrap();
}

fn train() -> Entry {
    entry(&rows_of("u/d", "train"), 10, noise(20_000, 1))
}

/// A store with two entries and a dataset.
async fn filled(directory: &Path) -> MirrorSummary {
    let store = open(directory);
    let public = MirrorWrite::PutDataset(record("u/d", 1, Visibility::Public));
    let test = entry(&rows_of("u/d", "test"), 11, "{}");
    store
        .apply(batch(vec![change(5, public), put(5, &train(), Some("a")), put(5, &test, Some("b"))]))
        .unwrap();
    store.flushed().await.unwrap();
    store.summary()
}

/// The damaged entry reads as a miss, is reported, is not told as gone, and is there again once it was put again.
async fn assert_is_mended(directory: &Path, before: &MirrorSummary) {
    let store = open(directory);
    let subject = Changed::Entry(train().key);
    assert_eq!(store.scrub().unwrap().records_damaged, 1);
    assert_eq!(body_of(&store, &train().key), None);
    let told = FeedSource::record(&store, &subject);
    assert!(matches!(told, Err(StorageError::Damaged(_))), "no deletion for other nodes: {told:?}");
    assert_eq!(store.damaged(10), [subject]);
    assert_eq!(
        store.visible_hash().1,
        before.set_hash,
        "it is still one of what the mirror has at its position"
    );
    store.damage_news().await;
    // The same change as before: what is damaged is written again all the same.
    store.apply(batch(vec![put(5, &train(), Some("a"))])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.damaged(10), body_of(&store, &train().key)), (Vec::new(), Some(train().body)));
    let after = store.summary();
    assert_eq!((after.set_hash, after.entries), (before.set_hash, before.entries));
    assert_eq!((after.raw_bytes, after.stored_bytes), (before.raw_bytes, before.stored_bytes));
    assert_eq!(hash_of_contents(&store), (3, before.set_hash));
    let clean = store.scrub().unwrap();
    assert_eq!((clean.records_checked, clean.records_damaged, clean.recounted), (3, 0, false));
    drop(store);
    let store = open(directory);
    assert_eq!(store.scrub().unwrap().blobs_deleted, 0);
    assert_eq!(store.inner.kv.chunks.from(&[]).count(), 5);
}

#[tokio::test]
async fn a_flipped_byte_in_a_chunk_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), true, &[]);
    assert_is_mended(directory.path(), &before).await;
}

#[tokio::test]
async fn a_flipped_byte_in_a_head_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), false, &keys::entry(&train().key));
    assert_is_mended(directory.path(), &before).await;
}

#[tokio::test]
async fn a_damaged_dataset_record_is_unknown_until_it_is_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), false, &keys::dataset(&dataset("u/d")));
    let store = open(directory.path());
    assert_eq!(store.dataset(&dataset("u/d")).unwrap(), None);
    assert_eq!(store.damaged(10), [Changed::Dataset(dataset("u/d"))]);
    let public = MirrorWrite::PutDataset(record("u/d", 1, Visibility::Public));
    store.apply(batch(vec![change(5, public)])).unwrap();
    store.flushed().await.unwrap();
    assert!(store.dataset(&dataset("u/d")).unwrap().is_some());
    assert_eq!((store.damaged(10), store.summary().set_hash), (Vec::new(), before.set_hash));
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_by_a_scrub() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), false, &[keys::INDEX]);
    let store = open(directory.path());
    let report = store.scrub().unwrap();
    assert_eq!((report.records_damaged, report.recounted), (0, true));
    store.flushed().await.unwrap();
    assert_eq!(store.summary(), before);
    assert_eq!(hash_of_contents(&store), (3, before.set_hash));
}

#[tokio::test]
async fn a_damaged_way_from_a_source_to_its_entry_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), false, &keys::source(b"a"));
    let store = open(directory.path());
    store.apply(batch(vec![change(6, MirrorWrite::DeleteSource(b"a".to_vec()))])).unwrap();
    assert_eq!(body_of(&store, &train().key), None);
    assert_eq!(store.sources_after(None, 9).unwrap(), [b"b".to_vec()]);
}

#[tokio::test]
async fn a_damaged_position_sets_the_store_aside() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), false, keys::META);
    let store = open(directory.path());
    assert!(store.open_report().set_aside.clone().unwrap().is_dir());
    assert_eq!((store.position().seq, store.cursor().unwrap()), (0, None));
}

#[tokio::test]
async fn the_store_of_an_authority_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(crate::EmbeddedStore::open(directory.path()).unwrap());
    let refused = MirrorStore::open(directory.path()).err();
    assert!(matches!(refused, Some(StorageError::FormatVersion { found: 2, .. })), "{refused:?}");
    let store = crate::EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(store.open_report().set_aside, None);
}

#[tokio::test]
async fn a_torn_snapshot_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    fs::write(directory.path().join("sled").join("snap.00000000000000FF.generating"), b"half").unwrap();
    let store = open(directory.path());
    assert_eq!((store.open_report().torn_snapshots_removed, store.summary()), (1, before));
}

/// Every file of the store damaged in turn: it opens, and what it serves is what was written, or nothing.
#[tokio::test]
async fn flipped_bytes_and_cuts_never_serve_anything_else() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("sled")).unwrap();
        let mut files = Vec::new();
        for file in fs::read_dir(directory.path().join("sled")).unwrap().map(|file| file.unwrap().path()) {
            if file.is_file() {
                let target = copy.path().join("sled").join(file.file_name().unwrap());
                fs::copy(&file, &target).unwrap();
                files.push(target);
            }
        }
        files.sort();
        let file = &files[random.usize(..files.len())];
        let mut bytes = fs::read(file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            continue;
        }
        let at = random.usize(..used);
        if seed % 3 == 0 {
            File::options().write(true).open(file).unwrap().set_len(at as u64).unwrap();
        } else {
            bytes[at] ^= 1 << random.u8(..8);
            fs::write(file, bytes).unwrap();
        }
        let what = format!("seed {seed}: byte {at} of {}", file.display());
        let store = MirrorStore::open(copy.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        if let Ok(Some(read)) = store.get(&train().key) {
            assert_eq!(read.body, train().body, "{what}");
        }
        // Filling it again makes it whole, now or after a restart that sets it aside.
        let again = |store: &MirrorStore| store.apply(batch(vec![put(6, &train(), Some("a"))]));
        let store = match again(&store) {
            Ok(_) => store,
            Err(_) => {
                drop(store);
                let store = MirrorStore::open(copy.path()).unwrap();
                again(&store).unwrap();
                store
            }
        };
        assert_eq!(body_of(&store, &train().key), Some(train().body), "{what}");
    }
}
