use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use outpost_model::{ConfigName, DatasetRecord, Epoch, Revision, SplitName, StepKind};
use outpost_storage::{MirrorEntry, StorageError};

use super::*;
use crate::http::response::{MaxAges, ReadyHead};

/// A mirror whose log a test writes.
#[derive(Default)]
struct Log {
    changes: Mutex<Vec<(u64, Changed)>>,
    seq: Mutex<(u128, u64)>,
    first: Mutex<u64>,
    reads: AtomicUsize,
}

impl Log {
    fn change(&self, seq: u64, changed: Changed) {
        self.changes.lock().unwrap().push((seq, changed));
        self.seq.lock().unwrap().1 = seq;
    }
}

impl Mirror for Log {
    fn position(&self) -> Position {
        let (epoch, seq) = *self.seq.lock().unwrap();
        Position { epoch: Epoch(epoch), seq }
    }

    fn get(&self, _: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        Ok(None)
    }

    fn dataset(&self, _: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        Ok(None)
    }

    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if seq < *self.first.lock().unwrap() {
            return Ok(None);
        }
        let changes = self.changes.lock().unwrap();
        let mut read: Vec<(u64, Changed)> = Vec::new();
        for change in changes.iter().filter(|(at, _)| *at > seq) {
            if read.len() >= limit && read.last().is_some_and(|(last, _)| *last != change.0) {
                break;
            }
            read.push(change.clone());
        }
        Ok(Some(read))
    }

    fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
}

fn key(dataset: &str, split: &str) -> ArtifactKey {
    ArtifactKey::new(
        StepKind::SplitFirstRows,
        DatasetName::new(dataset).unwrap(),
        Some(ConfigName::new("c").unwrap()),
        Some(SplitName::new(split).unwrap()),
    )
    .unwrap()
}

fn ready(bytes: usize) -> Arc<Ready> {
    let revision = Revision::new("r").unwrap();
    let head = ReadyHead { http_status: 200, error_code: None, revision, version: [0; 32] };
    Arc::new(Ready::new(&head, Bytes::from(vec![b'x'; bytes]), Encoding::Identity, &MaxAges::new(1, 1)))
}

fn cache(bytes_max: usize) -> (Arc<Log>, ReadyCache) {
    let log = Arc::new(Log::default());
    (log.clone(), ReadyCache::new(log, bytes_max))
}

fn put(cache: &ReadyCache, key: &ArtifactKey, bytes: usize) {
    let since = cache.follow();
    cache.insert(since, key, View::Whole, Encoding::Identity, &ready(bytes));
}

fn has(cache: &ReadyCache, key: &ArtifactKey) -> bool {
    cache.get(key, View::Whole, Encoding::Identity).is_some()
}

#[test]
fn a_changed_entry_is_forgotten_in_all_its_forms_and_others_stay() {
    let (log, cache) = cache(1 << 20);
    let (changed, other) = (key("u/d", "train"), key("u/d", "test"));
    let since = cache.follow();
    let page = View::Page(Page { offset: 0, length: 1 });
    for (view, encoding) in
        [(View::Whole, Encoding::Gzip), (View::Whole, Encoding::Identity), (page, Encoding::Zstd)]
    {
        cache.insert(since, &changed, view, encoding, &ready(10));
    }
    put(&cache, &other, 10);
    log.change(1, Changed::Entry(changed.clone()));
    cache.follow();
    assert!(!has(&cache, &changed) && has(&cache, &other));
    assert!(cache.get(&changed, page, Encoding::Zstd).is_none());
}

#[test]
fn a_changed_dataset_is_forgotten_whole() {
    let (log, cache) = cache(1 << 20);
    put(&cache, &key("u/d", "train"), 10);
    put(&cache, &key("u/e", "train"), 10);
    log.change(1, Changed::Dataset(DatasetName::new("u/d").unwrap()));
    cache.follow();
    assert!(!has(&cache, &key("u/d", "train")) && has(&cache, &key("u/e", "train")));
}

#[test]
fn a_fill_that_a_change_overtook_is_not_kept() {
    let (log, cache) = cache(1 << 20);
    let key = key("u/d", "train");
    let since = cache.follow();
    log.change(1, Changed::Entry(key.clone()));
    cache.follow();
    cache.insert(since, &key, View::Whole, Encoding::Identity, &ready(10));
    assert!(!has(&cache, &key));
    let since = cache.follow();
    cache.insert(since, &key, View::Whole, Encoding::Identity, &ready(10));
    log.change(2, Changed::Entry(key.clone()));
    cache.follow();
    assert!(!has(&cache, &key), "kept before the change was followed, forgotten by it");
}

#[test]
fn a_lost_history_another_epoch_and_a_long_lag_empty_the_cache() {
    let (log, cache) = cache(1 << 20);
    let kept = key("u/d", "train");
    let elsewhere = Changed::Entry(key("u/x", "train"));
    put(&cache, &kept, 10);
    *log.first.lock().unwrap() = 5;
    log.change(6, elsewhere.clone());
    cache.follow();
    assert!(!has(&cache, &kept));

    put(&cache, &kept, 10);
    log.seq.lock().unwrap().0 = 7;
    cache.follow();
    assert!(!has(&cache, &kept));

    put(&cache, &kept, 10);
    let reads = log.reads.load(Ordering::SeqCst);
    for seq in 7..7 + 2 * limits::READY_CACHE_LAG_MAX as u64 {
        log.change(seq, elsewhere.clone());
    }
    cache.follow();
    assert!(!has(&cache, &kept));
    let reads = log.reads.load(Ordering::SeqCst) - reads;
    assert!(reads <= limits::READY_CACHE_LAG_MAX / CHANGES_PER_READ + 1, "the log was read {reads} times");
}

#[test]
fn seqs_far_apart_empty_nothing() {
    let (log, cache) = cache(1 << 20);
    let (kept, changed) = (key("u/d", "train"), key("u/d", "test"));
    put(&cache, &kept, 10);
    put(&cache, &changed, 10);
    // Two cluster times a day apart.
    log.change(1_700_000_000 << 32, Changed::Entry(key("u/x", "train")));
    log.change((1_700_086_400 << 32) | 7, Changed::Entry(changed.clone()));
    let reached = cache.follow();
    assert_eq!(reached, log.position());
    assert!(has(&cache, &kept) && !has(&cache, &changed));
}

#[test]
fn changes_that_share_a_seq_are_not_cut_apart() {
    let (log, cache) = cache(1 << 20);
    let changed = key("u/d", "train");
    put(&cache, &changed, 10);
    let elsewhere = Changed::Entry(key("u/x", "train"));
    for seq in 1..CHANGES_PER_READ as u64 {
        log.change(seq, elsewhere.clone());
    }
    // The last seq of a full read, and more changes with it than the read asked for.
    log.change(CHANGES_PER_READ as u64, elsewhere);
    log.change(CHANGES_PER_READ as u64, Changed::Entry(changed.clone()));
    cache.follow();
    assert!(!has(&cache, &changed));
}

#[test]
fn memory_is_bounded_and_what_is_read_stays_longest() {
    let bytes_max = 100_000;
    let (_, cache) = cache(bytes_max);
    let popular = key("u/popular", "train");
    put(&cache, &popular, 5_000);
    for i in 0..200 {
        put(&cache, &key(&format!("u/d{i}"), "train"), 5_000);
        assert!(has(&cache, &popular), "evicted after {i}");
        assert!(cache.bytes() <= bytes_max);
    }
    assert!(!has(&cache, &key("u/d0", "train")));
    assert!(cache.bytes() > bytes_max / 2);
}

#[test]
fn a_response_that_would_displace_everything_is_not_kept() {
    let (_, cache) = cache(10_000);
    let huge = key("u/huge", "train");
    put(&cache, &huge, 9_000);
    assert!(!has(&cache, &huge));
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn filling_and_forgetting_over_and_over_leaves_nothing_behind() {
    let (log, cache) = cache(1 << 20);
    let key = key("u/d", "train");
    for seq in 1..2_000 {
        put(&cache, &key, 10);
        put(&cache, &key, 20);
        log.change(seq, Changed::Entry(key.clone()));
        cache.follow();
    }
    let contents = cache.contents.read().unwrap();
    assert_eq!((contents.bytes, contents.slots, contents.datasets.len()), (0, 0, 0));
    assert!(contents.queue.len() < 200, "{}", contents.queue.len());
}
