//! Random batches against a map, with restarts in between.

use std::collections::BTreeMap;

use super::*;

/// What the store should hold.
#[derive(Default, Clone)]
pub(super) struct Model {
    /// Body, time and source per split.
    entries: BTreeMap<String, (Vec<u8>, u64, String)>,
    datasets: BTreeMap<String, u64>,
}

impl Model {
    /// One random change, applied here and returned for the store.
    pub(super) fn step(&mut self, random: &mut fastrand::Rng, seq: u64) -> MirrorChange {
        let split = format!("s{}", random.u8(..12));
        let name = format!("u/d{}", random.u8(..4));
        match random.u8(..10) {
            0..=4 => {
                let length = if random.bool() { random.usize(..200) } else { random.usize(..15_000) };
                let body = noise(length, random.u64(..));
                // The source of an entry changes when it was deleted and created again.
                let source = match self.entries.get(&split) {
                    Some((.., source)) if random.u8(..4) > 0 => source.clone(),
                    _ => format!("{split}-{seq}-{}", random.u64(..)),
                };
                self.entries.insert(split.clone(), (body.clone(), seq, source.clone()));
                put(seq, &entry(&rows_of("u/d", &split), seq, body), Some(&source))
            }
            5 => {
                self.entries.remove(&split);
                change(seq, MirrorWrite::DeleteEntry(rows_of("u/d", &split)))
            }
            6 | 7 => {
                let source = self.entries.get(&split).map_or_else(String::new, |(.., source)| source.clone());
                self.entries.remove(&split);
                change(seq, MirrorWrite::DeleteSource(source.into_bytes()))
            }
            8 => {
                self.datasets.insert(name.clone(), seq);
                change(seq, MirrorWrite::PutDataset(record(&name, seq, Visibility::Gated)))
            }
            _ => {
                self.datasets.remove(&name);
                change(seq, MirrorWrite::DeleteDataset(dataset(&name)))
            }
        }
    }

    pub(super) fn set_hash(&self) -> SetHash {
        let mut hash = SetHash::default();
        for (split, (body, updated_at, _)) in &self.entries {
            let stored = entry(&rows_of("u/d", split), *updated_at, body.clone());
            let subject = Changed::Entry(stored.key.clone());
            hash.add(&Item::new(&subject, stored.updated_at, &stored.version()));
        }
        for (name, checked_at) in &self.datasets {
            hash.add(&Item::of_dataset(&record(name, *checked_at, Visibility::Gated)));
        }
        hash
    }

    pub(super) fn check(&self, store: &MirrorStore, what: &str) {
        for number in 0..12 {
            let split = format!("s{number}");
            let expected = self.entries.get(&split).map(|(body, ..)| Bytes::from(body.clone()));
            assert!(body_of(store, &rows_of("u/d", &split)) == expected, "{what}: {split}");
        }
        for number in 0..4 {
            let name = format!("u/d{number}");
            let expected = self.datasets.get(&name).map(|at| record(&name, *at, Visibility::Gated));
            assert_eq!(store.dataset(&dataset(&name)).unwrap(), expected, "{what}");
        }
        let summary = store.summary();
        assert_eq!(summary.set_hash, self.set_hash(), "{what}");
        let count = (self.entries.len() as u64, self.datasets.len() as u64);
        assert_eq!((summary.entries, summary.datasets), count, "{what}");
        let bytes = self.entries.values().map(|(body, ..)| body.len() as u64).sum::<u64>();
        assert_eq!(summary.raw_bytes, bytes, "{what}");
        assert_eq!(hash_of_contents(store), (count.0 + count.1, summary.set_hash), "{what}");
        let mut sources: Vec<SourceId> =
            self.entries.values().map(|(.., source)| source.clone().into_bytes()).collect();
        sources.sort();
        assert_eq!(store.sources_after(None, 100).unwrap(), sources, "{what}");
    }
}

#[tokio::test]
async fn random_batches_leave_what_a_map_holds() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::default();
        let mut store = open(directory.path());
        let mut seq = 0;
        let mut last: Option<MirrorBatch> = None;
        for round in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..random.usize(1..12) {
                seq += random.u64(1..3);
                changes.push(model.step(&mut random, seq));
            }
            let next = MirrorBatch { cursor: Some(seq.to_be_bytes().to_vec().into()), ..batch(changes) };
            store.apply(next.clone()).unwrap();
            // A batch that comes twice, and one that comes late, change nothing.
            if random.bool() {
                store.apply(next.clone()).unwrap();
            }
            if let Some(late) = last.replace(next).filter(|_| random.bool()) {
                store.apply(MirrorBatch { reached: None, cursor: None, ..late }).unwrap();
            }
            store.flushed().await.unwrap();
            if random.u8(..8) == 0 {
                drop(store);
                store = open(directory.path());
            }
            model.check(&store, &format!("seed {seed}, round {round}"));
            assert_eq!(store.position(), Position { epoch: EPOCH, seq });
            assert_eq!(store.cursor().unwrap(), Some(seq.to_be_bytes().to_vec().into()));
        }
        // Closing waits for the deletion of what was superseded.
        drop(store);
        let clean = open(directory.path()).scrub().unwrap();
        assert_eq!(
            (clean.records_damaged, clean.blobs_deleted, clean.recounted),
            (0, 0, false),
            "seed {seed}"
        );
    }
}
