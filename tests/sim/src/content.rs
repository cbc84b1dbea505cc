//! What the origin stores: records of a small set of addresses, each content different from every other.
//!
//! Owns the addresses and the changes of a commit.

use bytes::Bytes;
use outpost_model::graph::STEPS;
use outpost_model::items::Changed;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Level, Revision, TimestampMs, Visibility};
use outpost_sync::record::{Change, EntryRecord, Record};

use crate::state::{State, key_of};

/// From so many addresses on none is hot and content is long.
const MANY: usize = 500;

/// Addresses and the counter of contents.
pub struct Content {
    subjects: Vec<Changed>,
    number: u64,
    random: fastrand::Rng,
    /// How many of a hundred changes go to one address.
    hot_percent: u8,
    bytes_max: usize,
}

impl Content {
    /// Of so many addresses.
    #[must_use]
    pub fn new(addresses: usize, random: fastrand::Rng) -> Self {
        let kinds: Vec<_> =
            STEPS.iter().filter(|step| step.level == Level::Dataset).map(|step| step.kind).collect();
        let subjects = (0..addresses).map(|number| {
            let dataset = DatasetName::new(&format!("user/d{}", number / 3)).expect("a plain name");
            match number % 3 {
                0 => Changed::Dataset(dataset),
                kind => Changed::Entry(
                    ArtifactKey::dataset_level(kinds[kind], dataset).expect("a kind of this level"),
                ),
            }
        });
        let subjects = subjects.collect();
        let mut content = Self { subjects, number: 0, random, hot_percent: 0, bytes_max: 0 };
        content.hot_percent = [0, 0, 50, 95][content.random.usize(..4)];
        content.bytes_max = [16, 300, 3_000][content.random.usize(..3)];
        if addresses > MANY {
            // What is sent in vain shows by its content.
            (content.hot_percent, content.bytes_max) = (0, 3_000);
        }
        content
    }

    /// One of the addresses.
    pub fn subject(&mut self) -> Changed {
        if self.random.u8(..100) < self.hot_percent {
            return self.subjects[0].clone();
        }
        self.subjects[self.random.usize(..self.subjects.len())].clone()
    }

    /// All addresses.
    #[must_use]
    pub fn subjects(&self) -> &[Changed] {
        &self.subjects
    }

    /// The changes of one commit.
    pub fn changes(&mut self, state: &State, seq: u64, now_ms: u64) -> Vec<Change> {
        let count = if self.random.u8(..4) == 0 { self.random.usize(2..6) } else { 1 };
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..count {
            let subject = self.subject();
            if changes.iter().any(|change| change.subject() == subject) {
                continue;
            }
            let is_there = state.get(&key_of(&subject)).is_some();
            if is_there && self.random.u8(..3) == 0 {
                changes.push(Change::Delete(seq, subject));
            } else {
                changes.push(Change::Put(seq, self.record(subject, now_ms)));
            }
        }
        changes
    }

    /// New content for an address.
    pub fn record(&mut self, subject: Changed, now_ms: u64) -> Record {
        self.number += 1;
        let revision = Revision::new(&format!("{:040x}", self.number)).expect("forty hexadecimal digits");
        match subject {
            Changed::Dataset(dataset) => Record::Dataset(DatasetRecord {
                dataset,
                revision,
                visibility: Visibility::Public,
                checked_at: TimestampMs(now_ms),
            }),
            Changed::Entry(key) => {
                let mut stored = format!("{}:", self.number).into_bytes();
                let length = self.random.usize(..=self.bytes_max);
                stored.extend(std::iter::repeat_with(|| self.random.u8(..)).take(length));
                let version = *blake3::hash(&stored).as_bytes();
                let stored = Bytes::from(stored);
                Record::Entry(Box::new(EntryRecord {
                    key,
                    http_status: 200,
                    error_code: None,
                    revision,
                    updated_at: TimestampMs(now_ms),
                    version,
                    raw_bytes: u32::try_from(stored.len()).expect("a few thousand"),
                    is_compressed: false,
                    stored,
                }))
            }
        }
    }
}
