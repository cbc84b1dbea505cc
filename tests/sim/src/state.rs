//! The state of a store, as the model has it: records, index, log and position.
//!
//! Owns what a change does: a later seq wins, another history wins over everything, the log is bounded and forgets. It
//! is plain data; what of it survives a crash is [`crate::store`]'s to say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use outpost_model::items::{Changed, Item, ItemIndex, ItemRange, SetHash, subject_bytes};
use outpost_model::{Epoch, Position, limits};
use outpost_sync::record::{Change, Record};
use outpost_sync::source::Batch;

/// A subject as bytes, which order it.
pub type Key = Vec<u8>;

/// The key of a subject.
#[must_use]
pub fn key_of(subject: &Changed) -> Key {
    subject_bytes(subject)
}

/// When a record was written: a later history wins over an earlier one, then the seq decides.
type Stamp = (u64, u64);

#[derive(Debug, Clone)]
struct Stored {
    stamp: Stamp,
    record: Arc<Record>,
    item: Item,
}

/// What a state holds, in two sums: of its items, and of its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Of the items.
    pub set_hash: SetHash,
    /// Of the records whole.
    pub content: u128,
}

/// One step of a store, atomic.
#[derive(Debug, Clone)]
pub enum Step {
    /// Changes that are applied.
    Apply(Batch),
    /// A stage that is switched to.
    Switch(Batch),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct State {
    /// Where it stands.
    pub position: Position,
    /// Histories that were left.
    pub left: Vec<Epoch>,
    /// Whether changes were applied since the position was reached.
    pub is_amid: bool,
    generation: u64,
    records: BTreeMap<Key, Stored>,
    deleted: BTreeMap<Key, Stamp>,
    items: ItemIndex,
    subjects: BTreeMap<Item, Changed>,
    content: u128,
    log: BTreeMap<(u64, u64), Changed>,
    log_entries: u64,
    log_floor: u64,
    /// Between these two seqs a stage was switched to: what came and went meanwhile the log does not know.
    log_hole: (u64, u64),
    log_max: usize,
}

impl State {
    /// A state without records.
    #[must_use]
    pub fn empty(epoch: Epoch, log_max: usize) -> Self {
        Self {
            position: Position { epoch, seq: 0 },
            left: Vec::new(),
            is_amid: false,
            generation: 0,
            records: BTreeMap::new(),
            deleted: BTreeMap::new(),
            items: ItemIndex::new(),
            subjects: BTreeMap::new(),
            content: 0,
            log: BTreeMap::new(),
            log_entries: 0,
            log_floor: 0,
            log_hole: (0, 0),
            log_max,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest { set_hash: self.items.sum(&ItemRange::all()).sum, content: self.content }
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.items.len() as u64
    }

    /// Its items.
    #[must_use]
    pub fn items(&self) -> &ItemIndex {
        &self.items
    }

    /// The record of a subject.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        self.records.get(key).map(|stored| &stored.record)
    }

    /// The subject of an item.
    #[must_use]
    pub fn subject_of(&self, item: &Item) -> Option<Changed> {
        self.subjects.get(item).cloned()
    }

    /// Everything that it holds.
    pub fn records(&self) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.records.iter().map(|(key, stored)| (key, &stored.record))
    }

    /// Applies a step.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(batch) => self.apply(batch),
            Step::Switch(batch) => self.switch(batch),
        }
    }

    fn enter(&mut self, epoch: Epoch, left: &[Epoch]) {
        let before = self.position;
        if before.epoch != epoch {
            self.generation += 1;
            self.position = Position { epoch, seq: 0 };
            self.restart_log(0);
        }
        let own = (before.epoch != epoch && before.seq > 0).then_some(before.epoch);
        for epoch in left.iter().copied().chain(own) {
            if epoch != self.position.epoch && !self.left.contains(&epoch) {
                self.left.push(epoch);
            }
        }
        let excess = self.left.len().saturating_sub(limits::SYNC_HISTORIES_MAX);
        self.left.drain(..excess);
    }

    fn restart_log(&mut self, floor: u64) {
        self.log.clear();
        self.deleted.clear();
        self.log_floor = floor;
        self.log_hole = (0, 0);
    }

    fn apply(&mut self, batch: &Batch) {
        self.enter(batch.epoch, &batch.left);
        for change in &batch.changes {
            self.change(change, |seq| seq);
        }
        match batch.reached {
            Some(seq) => {
                if self.position.seq == 0 && self.log_floor == 0 && self.is_amid {
                    // Filled in place: the log knows nothing of what is before.
                    self.restart_log(seq);
                }
                self.position.seq = seq.max(self.position.seq);
                self.is_amid = false;
            }
            None => self.is_amid = true,
        }
        self.trim_log();
    }

    fn switch(&mut self, batch: &Batch) {
        let Some(reached) = batch.reached else { return };
        let is_other_history = self.position.epoch != batch.epoch;
        let before = if is_other_history { 0 } else { self.position.seq };
        self.enter(batch.epoch, &batch.left);
        let mut changes: Vec<&Change> = batch.changes.iter().collect();
        changes.sort_by_key(|change| seq_of(change));
        let mut is_changed = false;
        for change in changes {
            is_changed |= self.change(change, |seq| seq.max(before + 1));
        }
        self.position.seq = reached;
        self.is_amid = false;
        if is_changed && (is_other_history || before >= reached) {
            self.restart_log(reached.max(before + 1));
        }
        if is_other_history {
            self.log_floor = self.log_floor.max(reached);
        } else if reached > before {
            self.log_floor = self.log_floor.max(self.log_hole.1);
            self.log_hole = (before, reached);
        }
        self.trim_log();
    }

    /// Takes one change, told at another seq; false when what is stored is newer or the same.
    fn change(&mut self, change: &Change, told: impl Fn(u64) -> u64) -> bool {
        let subject = change.subject();
        let key = key_of(&subject);
        let seq = seq_of(change);
        let stamp = (self.generation, seq);
        let known = self.records.get(&key).map(|stored| stored.stamp).max(self.deleted.get(&key).copied());
        if known.is_some_and(|known| known > stamp) {
            return false;
        }
        let old = self.records.remove(&key);
        if let Some(old) = &old {
            self.items.remove(&old.item);
            self.subjects.remove(&old.item);
            self.content = self.content.wrapping_sub(content_of(&key, &old.record));
        }
        match change {
            Change::Put(_, record) => {
                let item = item_of(record);
                self.items.insert(item);
                self.subjects.insert(item, subject.clone());
                self.content = self.content.wrapping_add(content_of(&key, record));
                self.deleted.remove(&key);
                self.records.insert(key, Stored { stamp, record: Arc::new(record.clone()), item });
            }
            Change::Delete(..) => {
                self.deleted.insert(key, stamp);
            }
        }
        self.log_entries += 1;
        self.log.insert((told(seq), self.log_entries), subject);
        true
    }

    fn trim_log(&mut self) {
        while self.log.len() > self.log_max {
            let Some((first, _)) = self.log.first_key_value().map(|(at, _)| *at) else { return };
            self.log_floor = self.log_floor.max(first);
            while let Some(entry) = self.log.first_entry()
                && entry.key().0 <= first
            {
                entry.remove();
            }
        }
    }

    fn reaches_back_to(&self, seq: u64) -> bool {
        let (from, to) = self.log_hole;
        seq >= self.log_floor && !(from < seq && seq < to)
    }

    /// Changes after a seq, in order, groups undivided; `None` when the log does not reach back.
    #[must_use]
    pub fn changes_after(&self, seq: u64, limit: usize) -> Option<Vec<(u64, Changed)>> {
        if !self.reaches_back_to(seq) {
            return None;
        }
        let mut changes: Vec<(u64, Changed)> = Vec::new();
        for ((at, _), subject) in self.log.range((seq + 1, 0)..) {
            if changes.len() >= limit && changes.last().is_some_and(|(last, _)| last != at) {
                break;
            }
            changes.push((*at, subject.clone()));
        }
        Some(changes)
    }

    /// What changed after a seq.
    #[must_use]
    pub fn changed_since(&self, seq: u64) -> Option<HashSet<Changed>> {
        self.reaches_back_to(seq)
            .then(|| self.log.range((seq + 1, 0)..).map(|(_, subject)| subject.clone()).collect())
    }
}

/// When a change happened.
#[must_use]
pub fn seq_of(change: &Change) -> u64 {
    match change {
        Change::Put(seq, _) | Change::Delete(seq, _) => *seq,
    }
}

/// The item of a record.
#[must_use]
pub fn item_of(record: &Record) -> Item {
    match record {
        Record::Entry(entry) => Item::new(&record.subject(), entry.updated_at, &entry.version),
        Record::Dataset(dataset) => Item::of_dataset(dataset),
    }
}

/// A number that only this content of this record has.
#[must_use]
pub fn content_of(key: &Key, record: &Record) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(&item_of(record).to_bytes());
    if let Record::Entry(entry) = record {
        hasher.update(&entry.stored);
        hasher.update(entry.revision.as_str().as_bytes());
    }
    u128::from_le_bytes(hasher.finalize().as_bytes()[..16].try_into().expect("the hash is longer"))
}

impl State {
    /// Begins another history over some of the records; with none it stands at nothing.
    pub fn rebuild(
        &mut self,
        epoch: Epoch,
        survivors_percent: u8,
        says_left: bool,
        gap: u64,
        random: &mut fastrand::Rng,
    ) {
        let mut next = Self::empty(epoch, self.log_max);
        let (seq, mut kept) = (self.position.seq + gap, Vec::new());
        for stored in self.records.values() {
            if random.u8(..100) < survivors_percent {
                kept.push(Change::Put(seq, (*stored.record).clone()));
            }
        }
        let left = self.left.iter().copied().chain([self.position.epoch]).filter(|_| says_left).collect();
        let reached = if kept.is_empty() { None } else { Some(seq) };
        next.apply(&Batch { epoch, changes: kept, reached, left });
        next.is_amid = false;
        next.restart_log(reached.unwrap_or(0));
        *self = next;
    }
}
