//! What other nodes rely on: heads, items, records, and positions that never promise too little.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outpost_model::{
    ArtifactKey, Changed, DatasetName, DatasetRecord, Entry, Epoch, Item, ItemRange, RangeSum, SetHash,
    TimestampMs, Visibility,
};

use super::{dataset, key, revision};
use crate::feed_source::{FeedSource, StoredRecord};
use crate::mirror_store::{MirrorBatch, MirrorChange, MirrorStore, MirrorWrite};

/// A store that the cases write to one change at a time. A write returns when readers see it.
#[async_trait::async_trait]
pub trait FeedSubject: Send + Sync + 'static {
    /// The store.
    fn source(&self) -> Arc<dyn FeedSource>;
    /// Stores an entry, at the next seq.
    async fn put(&self, entry: Entry);
    /// Deletes an entry, at the next seq.
    async fn delete(&self, key: &ArtifactKey);
    /// Stores a dataset's record, at the next seq.
    async fn put_dataset(&self, record: DatasetRecord);
    /// Deletes a dataset's record, at the next seq.
    async fn delete_dataset(&self, dataset: &DatasetName);
    /// Closes the store and opens it again.
    async fn reopen(&mut self);
}

/// What a store should hold.
#[derive(Default)]
struct Model {
    entries: BTreeMap<String, Entry>,
    datasets: BTreeMap<String, DatasetRecord>,
}

impl Model {
    fn items(&self) -> Vec<Item> {
        let entries = self
            .entries
            .values()
            .map(|entry| Item::new(&Changed::Entry(entry.key.clone()), entry.updated_at, &entry.version()));
        entries.chain(self.datasets.values().map(Item::of_dataset)).collect()
    }

    fn sum(&self) -> RangeSum {
        let mut sum = RangeSum::default();
        for item in self.items() {
            sum.count += 1;
            sum.sum.add(&item);
        }
        sum
    }

    /// Makes one random change here and in the store; returns what changed.
    async fn step(&mut self, subject: &dyn FeedSubject, random: &mut fastrand::Rng) -> Changed {
        let (name, time) = (format!("u/d{}", random.u8(..6)), random.u64(..50));
        let key = rows_of(&name, random.u8(..4));
        match random.u8(..10) {
            0..6 => {
                let length = [0, 300, 5_000, 40_000][random.usize(..4)];
                let body: Vec<u8> = (0..length).map(|_| random.alphanumeric() as u8).collect();
                let entry = entry_of(&key, time, body);
                self.entries.insert(key.to_string(), entry.clone());
                subject.put(entry).await;
                Changed::Entry(key)
            }
            6..8 => {
                self.entries.remove(&key.to_string());
                subject.delete(&key).await;
                Changed::Entry(key)
            }
            8 => {
                let record = DatasetRecord {
                    dataset: dataset(&name),
                    revision: revision("r1"),
                    visibility: [Visibility::Public, Visibility::Gated][random.usize(..2)],
                    checked_at: TimestampMs(time),
                };
                self.datasets.insert(name.clone(), record.clone());
                subject.put_dataset(record).await;
                Changed::Dataset(dataset(&name))
            }
            _ => {
                self.datasets.remove(&name);
                subject.delete_dataset(&dataset(&name)).await;
                Changed::Dataset(dataset(&name))
            }
        }
    }
}

fn rows_of(name: &str, split: u8) -> ArtifactKey {
    key(outpost_model::StepKind::SplitFirstRows, name, Some("default"), Some(&format!("s{split}")))
}

fn entry_of(key: &ArtifactKey, updated_at: u64, body: Vec<u8>) -> Entry {
    Entry {
        key: key.clone(),
        http_status: 200,
        error_code: None,
        revision: revision("r1"),
        body: body.into(),
        details: None,
        names: Vec::new(),
        progress: Some(1.0),
        job_runner_version: 1,
        failed_runs: 0,
        updated_at: TimestampMs(updated_at),
        duration_ms: 0,
    }
}

fn sum_of_items(source: &dyn FeedSource) -> RangeSum {
    source.items().unwrap().sum(&ItemRange::all())
}

async fn filled(subject: &dyn FeedSubject, seed: u64, steps: usize) -> Model {
    let (mut model, mut random) = (Model::default(), fastrand::Rng::with_seed(seed));
    for _ in 0..steps {
        model.step(subject, &mut random).await;
    }
    subject.source().settled().await.unwrap();
    model
}

pub async fn the_head_and_the_items_are_those_of_what_is_stored(subject: &mut dyn FeedSubject) {
    let (mut model, mut random) = (Model::default(), fastrand::Rng::with_seed(1));
    let start = subject.source().head();
    assert_eq!((start.set_hash, start.records), (SetHash::default(), 0));
    for round in 0..12 {
        for _ in 0..15 {
            model.step(subject, &mut random).await;
        }
        subject.source().settled().await.unwrap();
        let head = subject.source().head();
        assert_eq!(RangeSum { count: head.records, sum: head.set_hash }, model.sum());
        assert_eq!(head.position, subject.source().position());
        // The items are first asked for in the middle, and kept current from then on.
        if round >= 4 {
            assert_eq!(sum_of_items(&*subject.source()), model.sum());
        }
        if round == 7 {
            subject.reopen().await;
            assert_eq!(subject.source().head(), head);
        }
    }
}

pub async fn each_item_leads_to_its_record(subject: &mut dyn FeedSubject) {
    let model = filled(subject, 2, 120).await;
    let source = subject.source();
    let items = source.items().unwrap().items(&ItemRange::all(), usize::MAX);
    let mut expected = model.items();
    expected.sort();
    assert_eq!(items, expected);
    for item in &items {
        let subject = source.subject_of(item).unwrap().unwrap();
        match source.record(&subject).unwrap().unwrap() {
            StoredRecord::Entry(put) => {
                let expected = &model.entries[&put.key.to_string()];
                assert_eq!(Item::new(&subject, put.updated_at, &put.version), *item);
                assert_eq!(put.open().unwrap().body, expected.body);
                assert_eq!(put.source, None);
            }
            StoredRecord::Dataset(record) => assert_eq!(Item::of_dataset(&record), *item),
        }
    }
    let stranger = Item { updated_at: TimestampMs(77), ..items[0] };
    assert_eq!(source.subject_of(&stranger).unwrap(), None);
    let absent = [Changed::Dataset(dataset("u/none")), Changed::Entry(rows_of("u/none", 1))];
    for subject in absent {
        assert_eq!(source.record(&subject).unwrap(), None);
    }
}

pub async fn what_changed_since_a_seq_is_known(subject: &mut dyn FeedSubject) {
    let (mut model, mut random) = (Model::default(), fastrand::Rng::with_seed(3));
    for _ in 0..30 {
        model.step(subject, &mut random).await;
    }
    subject.source().settled().await.unwrap();
    let middle = subject.source().head().position.seq;
    assert_eq!(subject.source().changed_since(middle).unwrap(), Some(HashSet::new()));
    assert_eq!(subject.source().changed_since(middle + 1_000).unwrap(), None);
    let mut expected = HashSet::new();
    let mut known = middle;
    for number in 0..10 {
        let key = rows_of("u/new", number);
        subject.put(entry_of(&key, 1, vec![number; 10])).await;
        // Known before it is on disk.
        assert!(
            subject.source().changed_since(known).unwrap().unwrap().contains(&Changed::Entry(key.clone()))
        );
        expected.insert(Changed::Entry(key));
        known = subject.source().head().position.seq;
    }
    assert_eq!(subject.source().changed_since(middle).unwrap(), Some(expected));
}

pub async fn a_copy_of_all_records_has_the_same_set_hash(subject: &mut dyn FeedSubject) {
    filled(subject, 4, 150).await;
    let source = subject.source();
    let head = source.head();
    let mut changes = Vec::new();
    for item in source.items().unwrap().items(&ItemRange::all(), usize::MAX) {
        let subject = source.subject_of(&item).unwrap().unwrap();
        let write = match source.record(&subject).unwrap().unwrap() {
            StoredRecord::Entry(put) => MirrorWrite::PutEntry(put),
            StoredRecord::Dataset(record) => MirrorWrite::PutDataset(record),
        };
        changes.push(MirrorChange { seq: head.position.seq, write });
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = MirrorStore::open(directory.path()).unwrap();
    let (epoch, reached) = (head.position.epoch, Some(head.position.seq));
    let left = vec![Epoch(5)];
    copy.apply(MirrorBatch { epoch, changes, reached, cursor: None, left: left.clone() }).unwrap();
    copy.settled().await.unwrap();
    assert_eq!(copy.head(), crate::feed_source::FeedHead { left, ..head });
    assert_eq!(sum_of_items(&copy), sum_of_items(&*source));
}

pub async fn a_reader_is_told_a_position_at_or_after_what_it_saw(subject: &mut dyn FeedSubject) {
    const WRITES: u64 = 400;
    let slot = rows_of("u/d", 0);
    let base = subject.source().head().position.seq;
    let source = subject.source();
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (source, slot, done) = (source.clone(), slot.clone(), done.clone());
        tokio::spawn(async move {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let visible = source.visible().seq;
                let Some(entry) = source.get(&slot).unwrap() else {
                    assert!(visible <= base, "{visible} was promised and cannot be read");
                    tokio::task::yield_now().await;
                    continue;
                };
                source.covered().await.unwrap();
                let seen = source.seen().seq;
                let shown: u64 = std::str::from_utf8(&entry.body).unwrap().parse().unwrap();
                assert!(shown >= visible, "{visible} was promised, the answer is of {shown}");
                assert!(seen >= shown, "the answer is of {shown}, the reader was told {seen}");
                assert!(shown >= last, "{last} was shown before {shown}");
                last = shown;
            }
            last
        })
    };
    for seq in base + 1..=base + WRITES {
        subject.put(entry_of(&slot, seq, seq.to_string().into_bytes())).await;
    }
    source.settled().await.unwrap();
    assert_eq!(source.seen(), source.position());
    assert_eq!(source.visible(), source.position());
    assert_eq!(source.position().seq, base + WRITES);
    done.store(true, Ordering::SeqCst);
    assert!(reader.await.unwrap() > base, "the reader ran beside the writer");
}

pub async fn what_is_visible_can_be_followed(subject: &mut dyn FeedSubject) {
    let start = subject.source().head().position.seq;
    let source = subject.source();
    let mut news = source.watch_visible();
    let mut told = Vec::new();
    let mut at = start;
    for number in 0..100u8 {
        subject.put(entry_of(&rows_of("u/d", number), 1, vec![number])).await;
        let visible = source.visible().seq;
        for (seq, changed) in source.changes_after(at, 1_000).unwrap().unwrap() {
            assert!(seq > at && seq <= source.visible().seq);
            at = seq;
            told.push(changed);
        }
        assert!(at >= visible);
    }
    source.settled().await.unwrap();
    news.wait_for(|seq| *seq >= start + 100).await.unwrap();
    told.extend(source.changes_after(at, 1_000).unwrap().unwrap().into_iter().map(|(_, changed)| changed));
    let expected: Vec<Changed> = (0..100).map(|number| Changed::Entry(rows_of("u/d", number))).collect();
    assert_eq!(told, expected);
}
