//! What the mirror's store promises to whoever fills it and whoever reads it.

use std::path::Path;

use bytes::Bytes;
use outpost_model::{
    ArtifactKey, DatasetRecord, Entry, Epoch, ErrorCode, Item, Position, SetHash, StepKind, TimestampMs,
    Visibility,
};

use super::*;
use crate::contract::{dataset, key, revision};
use crate::mirror::Mirror;

mod apply;
mod contract;
mod crash;
mod damage;
mod full_disk;
mod log;
mod model;
mod positions;
mod stage;
mod stage_crash;

const EPOCH: Epoch = Epoch(7);

fn open(directory: &Path) -> MirrorStore {
    MirrorStore::open(directory).unwrap()
}

fn rows_of(name: &str, split: &str) -> ArtifactKey {
    key(StepKind::SplitFirstRows, name, Some("default"), Some(split))
}

/// An entry written at a time, with a body of its own.
fn entry(key: &ArtifactKey, updated_at: u64, body: impl Into<Bytes>) -> Entry {
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

fn put(seq: u64, entry: &Entry, source: Option<&str>) -> MirrorChange {
    let source = source.map(|source| source.as_bytes().to_vec());
    MirrorChange { seq, write: MirrorWrite::PutEntry(Box::new(EntryPut::new(entry, source).unwrap())) }
}

fn change(seq: u64, write: MirrorWrite) -> MirrorChange {
    MirrorChange { seq, write }
}

/// A batch that moves the position to the seq of its last change.
fn batch(changes: Vec<MirrorChange>) -> MirrorBatch {
    let reached = changes.last().map(|change| change.seq);
    MirrorBatch { epoch: EPOCH, changes, reached, cursor: None, left: Vec::new() }
}

fn record(name: &str, checked_at: u64, visibility: Visibility) -> DatasetRecord {
    let (dataset, revision) = (dataset(name), revision("r1"));
    DatasetRecord { dataset, revision, visibility, checked_at: TimestampMs(checked_at) }
}

/// A body that does not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

fn body_of(store: &MirrorStore, key: &ArtifactKey) -> Option<Bytes> {
    store.get(key).unwrap().map(|entry| entry.body)
}

/// The set hash of everything that reads back, made from scratch.
fn hash_of_contents(store: &MirrorStore) -> (u64, SetHash) {
    let (mut count, mut hash) = (0, SetHash::default());
    let start = Item { updated_at: TimestampMs(0), key_hash: [0; 16], version_hash: [0; 16] };
    for (item, subject) in store.items_from(&start, usize::MAX).unwrap() {
        match subject.unwrap() {
            Changed::Entry(key) => assert_eq!(store.item(&key).unwrap().unwrap().0, item),
            Changed::Dataset(name) => {
                let stored = store.dataset(&name).unwrap().unwrap();
                assert_eq!(Item::of_dataset(&stored), item);
            }
        }
        count += 1;
        hash.add(&item);
    }
    (count, hash)
}
