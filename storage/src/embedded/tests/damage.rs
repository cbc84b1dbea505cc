//! Damaged files, torn files, wrong files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use outpost_model::planning::Event;
use outpost_model::{ArtifactKey, Position};

use super::super::{EmbeddedStore, keys};
use crate::authority::Authority;
use crate::contract::{Calls, T0, at_revision, dataset, key, root, usual_result};
use crate::error::StorageError;
use crate::kv::{self, Batch};
use crate::mirror::Mirror;

/// A store with one computed dataset whose first rows are large; returns where it stands.
async fn filled(directory: &Path) -> Position {
    let store = EmbeddedStore::open(directory).unwrap();
    let authority: std::sync::Arc<dyn Authority> = std::sync::Arc::new(store.clone());
    authority.publish("u/d", "r1").await;
    while let Some(claim) = authority.claim_at(T0).await {
        let mut entry = usual_result(&claim);
        let mut random = fastrand::Rng::with_seed(7);
        if claim.job.key == first_rows() {
            entry.body = (0..50_000).map(|_| random.alphanumeric() as u8).collect();
        }
        authority.store(&claim, entry).await;
    }
    Authority::position(&store).await.unwrap()
}

fn first_rows() -> ArtifactKey {
    key(outpost_model::StepKind::SplitFirstRows, "u/d", Some("default"), Some("train"))
}

/// Changes one stored value behind the store's back.
fn tamper(directory: &Path, in_chunks: bool, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let (kv, _) = kv::open(directory, 10_000, 1 << 20).unwrap();
    let tree = if in_chunks { &kv.chunks } else { &kv.state };
    let (key, mut value) = tree
        .from(key)
        .next()
        .map(|pair| pair.unwrap())
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .unwrap();
    change(&mut value);
    let mut batch = Batch::new();
    batch.put(key, value);
    tree.apply(batch).unwrap();
    kv.flush().unwrap();
}

#[expect(clippy::ptr_arg, reason = "the shape that tamper takes")]
fn flip(value: &mut Vec<u8>) {
    let middle = value.len() / 2;
    value[middle] ^= 1;
}

/// A damaged entry reads as damage, is dropped by a scrub, and is computed again.
async fn assert_is_repaired(directory: &Path, damaged: &ArtifactKey) {
    let store = EmbeddedStore::open(directory).unwrap();
    let before = store.damaged_records();
    assert!(matches!(Mirror::get(&store, damaged), Err(StorageError::Damaged(_))));
    assert!(matches!(store.entry(damaged).await, Err(StorageError::Damaged(_))));
    assert_eq!(store.damaged_records(), before + 2);
    let report = store.scrub(T0).await.unwrap();
    assert_eq!(
        (report.entries_checked, report.entries_dropped, report.jobs_created),
        (7, 1, 1),
        "{report:?}"
    );
    assert_eq!(Mirror::get(&store, damaged), Ok(None));
    let authority: std::sync::Arc<dyn Authority> = std::sync::Arc::new(store.clone());
    assert!(authority.drain().await.contains(damaged));
    assert!(Mirror::get(&store, damaged).unwrap().is_some());
    let entries = store.stats().await.unwrap().entries;
    assert_eq!(entries.iter().map(|(.., count)| count).sum::<u64>(), 7);
    let clean = store.scrub(T0).await.unwrap();
    assert_eq!((clean.entries_dropped, clean.blobs_deleted, clean.jobs_created), (0, 0, 0), "{clean:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_head_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), false, &keys::entry(&root("u/d")), flip);
    assert_is_repaired(directory.path(), &root("u/d")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_chunk_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), true, &[], flip);
    assert_is_repaired(directory.path(), &first_rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_also_corrects_what_is_kept_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), true, &[], flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    // Planning does not read bodies, so it takes the damaged entry for sound and remembers it.
    let backfill = Event::Backfill { retry_errors: false };
    assert_eq!(store.submit(&dataset("u/d"), &backfill, T0).await.unwrap().jobs_created, 0);
    assert_eq!(store.scrub(T0).await.unwrap().jobs_created, 1);
    let state = store.state(&dataset("u/d")).await.unwrap();
    assert!(state.entries.iter().all(|entry| entry.key != first_rows()));
    assert_eq!(state.entries.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_head_with_chunks_leaves_none_behind() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), false, &keys::entry(&first_rows()), flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let report = store.scrub(T0).await.unwrap();
    assert_eq!((report.entries_dropped, report.blobs_deleted), (1, 1));
    assert_eq!(store.inner.kv.chunks.from(&[]).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_dataset_record_drops_the_dataset() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    tamper(directory.path(), false, &keys::dataset(&dataset("u/d")), flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert!(Mirror::dataset(&store, &dataset("u/d")).is_err());
    let report = store.scrub(T0).await.unwrap();
    assert_eq!((report.datasets_dropped, report.jobs_created), (1, 0));
    assert_eq!(Mirror::dataset(&store, &dataset("u/d")), Ok(None));
    assert_eq!(Mirror::get(&store, &root("u/d")), Ok(None));
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.datasets, stats.entries.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_job_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let authority: std::sync::Arc<dyn Authority> = std::sync::Arc::new(store);
        authority.publish("u/d", "r1").await;
    }
    tamper(directory.path(), false, &[keys::JOBS], flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!((store.open_report().records_damaged, store.damaged_records()), (1, 1));
    let authority: std::sync::Arc<dyn Authority> = std::sync::Arc::new(store);
    assert_eq!(authority.claim_at(T0).await, None);
    // A dataset without its job is not lost: its next event plans the job again.
    assert_eq!(authority.publish("u/d", "r1").await.jobs_created, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_record_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let at = filled(directory.path()).await;
    tamper(directory.path(), false, &keys::log(3), flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(store.changes_after(1, 100), Ok(None));
    assert_eq!(store.changes_after(3, 100).unwrap().unwrap().last().map(|(seq, _)| *seq), Some(at.seq));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_position_sets_the_store_aside() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), false, keys::META, flip);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let aside = store.open_report().set_aside.clone().unwrap();
    assert!(aside.is_dir());
    let after = Mirror::position(&store);
    assert_eq!(after.seq, 1);
    assert_ne!(after.epoch, before.epoch);
    drop(store);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!((store.open_report().set_aside.as_ref(), Mirror::position(&store)), (None, after));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_format_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    tamper(directory.path(), false, keys::FORMAT, |value| *value = 9u32.to_be_bytes().to_vec());
    let refused = EmbeddedStore::open(directory.path()).err();
    assert_eq!(refused, Some(StorageError::FormatVersion { found: 9, expected: 2 }));
    tamper(directory.path(), false, keys::FORMAT, |value| *value = 2u32.to_be_bytes().to_vec());
    assert_eq!(Mirror::position(&EmbeddedStore::open(directory.path()).unwrap()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_refused_until_the_first_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let second = EmbeddedStore::open_waiting(directory.path(), 50).err();
    assert!(matches!(second, Some(StorageError::InUse(_))), "{second:?}");
    let path = directory.path().to_owned();
    let waiting = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path).map(|_| ()));
    drop(store);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_snapshot_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    let torn = directory.path().join("sled").join("snap.00000000000000FF.generating");
    fs::write(&torn, b"half a snapshot").unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(store.open_report().torn_snapshots_removed, 1);
    assert!(!torn.exists());
    assert_eq!(Mirror::position(&store), before);
}

fn engine_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("sled")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

fn copy_store(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("sled")).unwrap();
    fs::copy(from.join("witness"), copy.path().join("witness")).unwrap();
    for file in engine_files(from) {
        fs::copy(&file, copy.path().join("sled").join(file.file_name().unwrap())).unwrap();
    }
    copy
}

/// A store over damaged files opens, and either still has everything or says that it does not.
async fn assert_opens_honestly(directory: &Path, before: Position, what: &str) {
    let store = EmbeddedStore::open(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = Mirror::position(&store);
    let report = store.open_report().clone();
    if after.seq < before.seq || report.set_aside.is_some() {
        assert_ne!(after.epoch, before.epoch, "{what}: {report:?}");
    }
    let authority: std::sync::Arc<dyn Authority> = std::sync::Arc::new(store);
    let event = at_revision("r1", outpost_model::Priority::Normal);
    match authority.submit(&dataset("new/d"), &event, T0).await {
        Ok(submitted) => assert_eq!(submitted.jobs_created, 1, "{what}"),
        // Damage that shows only later stops the store, and the next open replaces it.
        Err(_) => {
            drop(authority);
            let store = EmbeddedStore::open(directory).unwrap();
            assert!(store.open_report().set_aside.is_some(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_log_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    for sixteenths in 0..16 {
        let copy = copy_store(directory.path());
        let log = copy.path().join("sled").join("db");
        let length = fs::metadata(&log).unwrap().len() * sixteenths / 16;
        File::options().write(true).open(&log).unwrap().set_len(length).unwrap();
        assert_opens_honestly(copy.path(), before, &format!("cut to {length} bytes")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_in_the_files_never_crash_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let before = filled(directory.path()).await;
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let copy = copy_store(directory.path());
        let files = engine_files(copy.path());
        let file = &files[random.usize(..files.len())];
        let mut bytes = fs::read(file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            continue;
        }
        let at = random.usize(..used);
        bytes[at] ^= 1 << random.u8(..8);
        fs::write(file, bytes).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        assert_opens_honestly(copy.path(), before, &format!("seed {seed}: byte {at} of {name}")).await;
    }
}
