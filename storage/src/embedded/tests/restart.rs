//! What a restart keeps, what it ends, and what stops a store.

use std::sync::Arc;

use outpost_model::job::backoff_ms;
use outpost_model::{JobState, SetHash, limits};

use super::super::load::load;
use super::super::{EmbeddedStore, keys};
use crate::authority::Authority;
use crate::blob;
use crate::contract::{Calls, T0, dataset, usual_result};
use crate::error::StorageError;
use crate::feed_source::FeedSource;
use crate::kv::Batch;
use crate::mirror::{Changed, Mirror};
use crate::operations::Operations;

fn authority(store: &EmbeddedStore) -> Arc<dyn Authority> {
    Arc::new(store.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_not_the_jobs_fault_until_it_happens_too_often() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    for _ in 0..limits::JOB_INTERRUPTIONS_MAX {
        assert_eq!(authority(&store).claim_now().await.job.attempts, 0);
        drop(store);
        store = EmbeddedStore::open(directory.path()).unwrap();
        assert_eq!(store.open_report().jobs_interrupted, 1);
        assert!(!authority(&store).state_of("u/d").await.jobs[0].is_started());
    }
    authority(&store).claim_now().await;
    drop(store);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(authority(&store).claim_at(T0).await, None);
    assert!(store.expire_leases(T0).await.unwrap().is_empty());
    let job = authority(&store).state_of("u/d").await.jobs.remove(0);
    assert_eq!(job.attempts, 1);
    assert_eq!(job.state, JobState::Waiting { not_before: T0.plus_ms(backoff_ms(1)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_may_end_the_process_is_claimed_after_all_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/suspect", "r1").await;
    for _ in 0..=limits::JOB_INTERRUPTIONS_UNSUSPECTED_MAX {
        authority(&store).claim_now().await;
        drop(store);
        store = EmbeddedStore::open(directory.path()).unwrap();
    }
    authority(&store).publish("u/later", "r1").await;
    let order = [authority(&store).claim_now().await, authority(&store).claim_now().await];
    assert_eq!(order.map(|claim| claim.job.key.dataset().to_string()), ["u/later", "u/suspect"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_version_that_did_not_count_errors_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    authority(&store).drain().await;
    let counted = store.overview().await.unwrap().entries;
    assert_eq!(counted.len(), 7);
    let mut batch = Batch::new();
    for pair in store.inner.kv.state.prefix(&[keys::COUNTS]) {
        batch.delete(pair.unwrap().0.to_vec());
    }
    store.inner.kv.state.apply(batch).unwrap();
    store.inner.kv.flush().unwrap();
    drop(store);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(store.overview().await.unwrap().entries, counted);
    assert_eq!(store.inner.kv.state.prefix(&[keys::COUNTS]).count(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn superseded_chunks_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let authority = authority(&store);
    for name in ["r1", "r2", "r3"] {
        authority.publish("u/d", name).await;
        let claim = authority.claim_now().await;
        let mut entry = usual_result(&claim);
        let mut random = fastrand::Rng::with_seed(1);
        entry.body = (0..100_000).map(|_| random.u8(..)).collect();
        authority.store(&claim, entry).await;
    }
    drop(authority);
    drop(store);
    // Closing waits for the deletions that follow the last flush.
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let chunks = 100_000usize.div_ceil(limits::STORE_CHUNK_BYTES);
    assert_eq!(store.inner.kv.chunks.from(&[]).count(), chunks);
    assert_eq!(store.inner.kv.state.prefix(&[blob::GARBAGE]).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_crash_are_deleted_at_open() {
    let directory = tempfile::tempdir().unwrap();
    let (core, witness, report) = load(directory.path(), 1_000).unwrap();
    // Chunks of a commit that never came, and a superseded blob whose deletion never came.
    let (orphan, superseded) = (core.meta.next_blob, core.meta.next_blob + 1);
    let mut chunks = Batch::new();
    chunks.put(blob::chunk_key(orphan, 0), vec![1]);
    core.kv.chunks.apply(chunks).unwrap();
    drop((core, witness, report));
    let (mut core, witness, report) = load(directory.path(), 1_000).unwrap();
    assert_eq!(core.kv.chunks.from(&[]).count(), 0);
    core.change_meta(|meta| meta.next_blob = superseded + 1).unwrap();
    let (mut chunks, mut marks) = (Batch::new(), Batch::new());
    chunks.put(blob::chunk_key(superseded, 0), vec![1]);
    marks.put(blob::garbage_key(superseded), Vec::new());
    core.kv.chunks.apply(chunks).unwrap();
    core.kv.state.apply(marks).unwrap();
    drop((core, witness, report));
    let (core, ..) = load(directory.path(), 1_000).unwrap();
    assert_eq!(core.kv.chunks.from(&[]).count(), 0);
    assert_eq!(core.kv.state.prefix(&[blob::GARBAGE]).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_log_is_trimmed_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (mut core, witness, report) = load(directory.path(), 1_000).unwrap();
    core.log_records_max = 10;
    let store = EmbeddedStore::start(core, witness, report).unwrap();
    for number in 0..25 {
        authority(&store).publish(&format!("u/d{number}"), "r1").await;
    }
    assert_eq!(Mirror::position(&store).seq, 26);
    assert_eq!(store.changes_after(15, 100), Ok(None));
    let kept = store.changes_after(16, 100).unwrap().unwrap();
    assert_eq!(kept.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (17..=26).collect::<Vec<_>>());
    assert_eq!(store.inner.kv.state.prefix(&[keys::LOG]).count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_stands_at_the_begin_of_its_history_not_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = Mirror::position(&EmbeddedStore::open(directory.path()).unwrap());
    assert_eq!(first.seq, 1);
    // As a version left it that began at 0.
    let (mut core, ..) = load(directory.path(), 1_000).unwrap();
    core.change_meta(|meta| (meta.seq, meta.log_first) = (0, 1)).unwrap();
    core.kv.flush().unwrap();
    drop(core);
    for _ in 0..2 {
        let store = EmbeddedStore::open(directory.path()).unwrap();
        assert!(!store.open_report().history_lost);
        let head = store.head();
        assert_eq!((head.position, head.records, head.set_hash), (first, 0, SetHash::default()));
        assert_eq!((store.changes_after(1, 9), store.changes_after(0, 9)), (Ok(Some(Vec::new())), Ok(None)));
        assert_eq!(store.changed_since(1).unwrap().map(|changed| changed.len()), Some(0));
        assert_eq!(store.changed_since(0), Ok(None));
    }
    let store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    let told = store.changes_after(1, 9).unwrap().unwrap();
    assert_eq!(told, [(2, Changed::Dataset(dataset("u/d")))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_acknowledged_history_starts_a_new_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    let before = Mirror::position(&store);
    drop(store);
    std::fs::remove_file(directory.path().join("witness")).unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert!(store.open_report().history_lost);
    let after = Mirror::position(&store);
    assert_ne!(after.epoch, before.epoch);
    assert!(Mirror::dataset(&store, &dataset("u/d")).unwrap().is_some());
    drop(store);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert!(!store.open_report().history_lost);
    assert_eq!(Mirror::position(&store), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_failure_fails_every_later_call() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    authority(&store).claim_now().await;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.wait_for_work(&outpost_model::Queue::ALL).await })
    };
    tokio::task::yield_now().await;
    let failed = store.write::<()>(|_| Err(StorageError::Engine("the disk is on fire".to_owned()))).await;
    assert!(matches!(failed, Err(StorageError::Engine(_))));
    waiting.await.unwrap();
    assert_stopped(&store).await;
    // A restart on a sound disk goes on.
    drop(store);
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert!(authority(&store).claim_at(T0).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_writer_fails_every_later_call() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    authority(&store).publish("u/d", "r1").await;
    let failed = store.write::<()>(|_| panic!("planned by the test")).await;
    assert!(matches!(failed, Err(StorageError::Engine(_))), "{failed:?}");
    assert_stopped(&store).await;
}

async fn assert_stopped(store: &EmbeddedStore) {
    let engine = |result: Option<StorageError>| assert!(matches!(result, Some(StorageError::Engine(_))));
    engine(Authority::position(store).await.err());
    engine(store.claim(&outpost_model::Queue::ALL, T0).await.err());
    engine(store.state(&dataset("u/d")).await.err());
    engine(Authority::dataset(store, &dataset("u/d")).await.err());
    engine(Mirror::dataset(store, &dataset("u/d")).err());
    engine(store.changes_after(0, 1).err());
    engine(store.stats().await.err());
    // Waiting workers are let go, so that they meet the error.
    store.wait_for_work(&outpost_model::Queue::ALL).await;
}
