//! The change log: what followers are told, and when they must start over.

use super::super::draft::LogLimits;
use super::super::load::load;
use super::*;
use crate::feed_source::FeedSource;

fn with_limits(directory: &Path, records_max: u64, bytes_max: u64) -> MirrorStore {
    let (mut core, report) = load(directory, 1_000).unwrap();
    core.log_limits = LogLimits { records_max, bytes_max };
    MirrorStore::start(core, report).unwrap()
}

async fn fill(store: &MirrorStore, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let stored = entry(&rows_of(&format!("u/d{seq}"), "train"), seq, "{}");
        store.apply(batch(vec![put(seq, &stored, None)])).unwrap();
    }
    store.flushed().await.unwrap();
}

fn seqs(store: &MirrorStore, after: u64, limit: usize) -> Option<Vec<u64>> {
    let changes = store.changes_after(after, limit).unwrap();
    changes.map(|changes| changes.into_iter().map(|(seq, _)| seq).collect())
}

#[tokio::test]
async fn changes_that_share_a_seq_are_never_divided() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let group = |seq, splits: &[&str]| {
        let put = |split: &&str| put(seq, &entry(&rows_of("u/d", split), seq, "{}"), None);
        batch(splits.iter().map(put).collect())
    };
    store.apply(group(3, &["a"])).unwrap();
    store.apply(group(70, &["b", "c", "d"])).unwrap();
    store.apply(group(71, &["e"])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(seqs(&store, 0, 2), Some(vec![3, 70, 70, 70]));
    assert_eq!(seqs(&store, 3, 1), Some(vec![70, 70, 70]));
    assert_eq!(seqs(&store, 69, 100), Some(vec![70, 70, 70, 71]));
    assert_eq!(seqs(&store, 70, 100), Some(vec![71]));
    assert_eq!(seqs(&store, 71, 100), Some(vec![]));
    assert_eq!(seqs(&store, 3, 0), Some(vec![]));
    assert_eq!(seqs(&store, 72, 100), None);
}

#[tokio::test]
async fn changes_beyond_the_position_are_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 1..=1).await;
    let ahead = batch(vec![put(5, &entry(&rows_of("u/d", "a"), 5, "{}"), None)]);
    store.apply(MirrorBatch { reached: None, ..ahead }).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((seqs(&store, 0, 9), store.position().seq), (Some(vec![1]), 1));
    store.apply(MirrorBatch { reached: Some(5), ..batch(Vec::new()) }).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(seqs(&store, 0, 9), Some(vec![1, 5]));
}

#[tokio::test]
async fn the_log_is_bounded_by_records_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_limits(directory.path(), 10, u64::MAX);
    fill(&store, 1..=25).await;
    assert_eq!(store.summary().log_records, 10);
    assert_eq!(seqs(&store, 14, 100), None);
    assert_eq!(seqs(&store, 15, 100), Some((16..=25).collect()));
    assert_eq!(store.inner.kv.state.prefix(&[keys::LOG]).count(), 10);
}

#[tokio::test]
async fn the_log_is_bounded_by_bytes_and_takes_tombstones_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_limits(directory.path(), u64::MAX, 1_000);
    for seq in 1..=50 {
        let name = dataset(&format!("u/d{seq}"));
        store.apply(batch(vec![change(seq, MirrorWrite::DeleteDataset(name))])).unwrap();
    }
    store.flushed().await.unwrap();
    let kept = store.summary().log_records;
    assert!((10..40).contains(&kept), "{kept}");
    assert_eq!(store.inner.kv.state.prefix(&[keys::TOMBSTONES]).count() as u64, kept);
    assert_eq!(seqs(&store, 50 - kept, 100).map(|seqs| seqs.len() as u64), Some(kept));
    assert_eq!(seqs(&store, 49 - kept, 100), None);
}

#[tokio::test]
async fn what_a_long_fill_changed_is_told_when_the_position_moves() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 1..=2).await;
    for seq in [5, 5, 7] {
        let stored = entry(&rows_of("u/d", &format!("s{seq}")), seq, noise(10, seq));
        let ahead = batch(vec![put(seq, &stored, None)]);
        store.apply(MirrorBatch { reached: None, ..ahead }).unwrap();
    }
    store.apply(MirrorBatch { reached: Some(9), ..batch(Vec::new()) }).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((seqs(&store, 2, 9), seqs(&store, 9, 9)), (Some(vec![5, 7]), Some(vec![])));
    fill(&store, 10..=11).await;
    assert_eq!(seqs(&store, 9, 9), Some(vec![10, 11]));
}

#[tokio::test]
async fn a_touch_tells_followers_to_look_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fill(&store, 1..=1).await;
    let subject = Changed::Entry(rows_of("u/d1", "train"));
    store.apply(batch(vec![change(2, MirrorWrite::Touch(subject.clone()))])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(store.changes_after(1, 9).unwrap(), Some(vec![(2, subject)]));
}

#[tokio::test]
async fn watchers_are_told_the_position_once_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut watch = store.watch();
    let filled = store.clone();
    let waiting = tokio::spawn(async move { *watch.wait_for(|seq| *seq >= 3).await.unwrap() });
    fill(&filled, 1..=3).await;
    assert_eq!(waiting.await.unwrap(), 3);
    assert_eq!(store.position().seq, 3);
}

#[tokio::test]
async fn the_log_of_a_history_that_is_not_on_disk_yet_is_none_of_the_heads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for history in 1..=20 {
        let epoch = Epoch(history);
        for seq in [20, 30] {
            let stored = entry(&rows_of(&format!("u/h{history}"), "train"), seq, "{}");
            let batch = batch(vec![put(seq, &stored, None)]);
            store.apply(MirrorBatch { epoch, reached: Some(seq), ..batch }).unwrap();
        }
        // The position is published with the flush, which is seldom done already.
        let told = store.changed_since(20).unwrap();
        assert!(told.is_none() || FeedSource::head(&store).position.epoch == epoch, "in history {history}");
    }
    store.flushed().await.unwrap();
    assert_eq!(store.changed_since(20).unwrap().map(|told| told.len()), Some(1));
}
