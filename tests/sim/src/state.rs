//! The state of a store, as the model has it: records, index, log and position.
//!
//! Owns what a change does: a later seq wins, another history wins over everything, the log is bounded and forgets. It
//! is plain data; what of it survives a crash is [`crate::store`]'s to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use outpost_model::items::{Changed, Item, ItemIndex, ItemRange, SetHash, subject_bytes};
use outpost_model::{Epoch, Position, limits};
use outpost_sync::record::{Change, Record};
use outpost_sync::source::Batch;

use crate::log::Log;

/// A subject as bytes, which order it.
pub type Key = Vec<u8>;

/// The key of a subject.
#[must_use]
pub fn key_of(subject: &Changed) -> Key {
    subject_bytes(subject)
}

/// When a record was written: a later history wins over an earlier one, then the seq decides.
type Stamp = (u64, u64);

/// What of a record cannot be read. It stays in the index, and so in the set hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Its head: not even when it was written is known.
    Head,
    /// Its content.
    Body,
}

#[derive(Debug, Clone)]
struct Stored {
    stamp: Stamp,
    record: Arc<Record>,
    item: Item,
    damage: Option<Damage>,
}

impl Stored {
    fn known_stamp(&self) -> Option<Stamp> {
        (self.damage != Some(Damage::Head)).then_some(self.stamp)
    }
}

/// What a read finds.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// Nothing.
    Absent,
    /// A record.
    Whole(&'a Arc<Record>),
    /// Something that cannot be read.
    Damaged,
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
    /// A stage that is switched to; a large one is a layer, with which the log begins anew.
    Switch(Batch, Size),
}

/// How large a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// It fits in memory.
    Small,
    /// It is in a layer.
    Large,
}

/// What was ever done to a state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Steps.
    pub steps: u64,
    /// Changes that took effect.
    pub changes: u64,
    /// About how many bytes they take on the wire.
    pub bytes: u64,
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
    /// What was done to it.
    pub tally: Tally,
    /// The history of what is applied, which the position is in once it is reached.
    filling: Epoch,
    generation: u64,
    records: BTreeMap<Key, Stored>,
    deleted: BTreeMap<Key, Stamp>,
    items: ItemIndex,
    subjects: BTreeMap<Item, Changed>,
    content: u128,
    log: Log,
}

impl State {
    /// A state without records.
    #[must_use]
    pub fn empty(epoch: Epoch, log_max: usize) -> Self {
        Self {
            position: Position { epoch, seq: 0 },
            left: Vec::new(),
            is_amid: false,
            tally: Tally::default(),
            filling: epoch,
            generation: 0,
            records: BTreeMap::new(),
            deleted: BTreeMap::new(),
            items: ItemIndex::new(),
            subjects: BTreeMap::new(),
            content: 0,
            log: Log::new(log_max),
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

    /// The record of a subject as it was written.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        self.records.get(key).map(|stored| &stored.record)
    }

    /// What a read of a subject finds.
    #[must_use]
    pub fn read(&self, key: &Key) -> Found<'_> {
        match self.records.get(key) {
            None => Found::Absent,
            Some(Stored { damage: Some(_), .. }) => Found::Damaged,
            Some(stored) => Found::Whole(&stored.record),
        }
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

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Records that cannot be read.
    pub fn damaged(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values().filter(|stored| stored.damage.is_some()).map(|stored| &stored.record)
    }

    /// When a record was written; `None` without one that can be read.
    #[must_use]
    pub fn written_at(&self, key: &Key) -> Option<(u64, u64)> {
        self.records.get(key).filter(|stored| stored.damage.is_none()).map(|stored| stored.stamp)
    }

    /// Damages a record, if there is one.
    pub fn damage(&mut self, key: &Key, damage: Damage) {
        if let Some(stored) = self.records.get_mut(key) {
            stored.damage = Some(damage);
        }
    }

    /// Applies a step.
    pub fn step(&mut self, step: &Step) {
        self.tally.steps += 1;
        match step {
            Step::Apply(batch) => self.apply(batch),
            Step::Switch(batch, size) => self.switch(batch, *size),
        }
    }

    /// What follows is of this history.
    fn enter(&mut self, epoch: Epoch) {
        if self.filling == epoch {
            return;
        }
        self.filling = epoch;
        if self.position.seq == 0 {
            self.position.epoch = epoch;
        }
        self.generation += 1;
        self.restart_log(self.position.seq);
    }

    fn reach(&mut self, seq: u64, changed: usize) {
        self.is_amid = false;
        let before = self.position;
        if before.epoch == self.filling {
            if before.seq == 0 && changed == 0 {
                // Filled part by part: the log knows nothing of what is before.
                self.restart_log(seq);
            }
            self.position.seq = seq.max(before.seq);
            return;
        }
        if before.seq > 0 {
            self.leave(before.epoch);
        }
        self.position = Position { epoch: self.filling, seq };
        self.restart_log(seq);
    }

    fn leave(&mut self, epoch: Epoch) {
        if epoch != self.filling && !self.left.contains(&epoch) {
            self.left.push(epoch);
        }
        let excess = self.left.len().saturating_sub(limits::SYNC_HISTORIES_MAX);
        self.left.drain(..excess);
    }

    fn restart_log(&mut self, floor: u64) {
        self.log.restart(floor);
        self.deleted.clear();
    }

    fn apply(&mut self, batch: &Batch) {
        self.enter(batch.epoch);
        let mut changed = 0;
        for change in &batch.changes {
            if self.change(change) {
                self.log.append(seq_of(change), change.subject());
                changed += 1;
            }
        }
        match batch.reached {
            Some(seq) => self.reach(seq, changed),
            None => self.is_amid = true,
        }
        self.trim_log();
        batch.left.iter().for_each(|epoch| self.leave(*epoch));
    }

    /// As the real store: who follows from before the switch is told of the changes only when nothing can have come
    /// and gone between the two positions, else the log begins anew.
    fn switch(&mut self, batch: &Batch, size: Size) {
        let Some(reached) = batch.reached else { return };
        let is_other_history = self.position.epoch != batch.epoch;
        let told = if is_other_history { 0 } else { self.position.seq };
        self.enter(batch.epoch);
        let mut changes: Vec<&Change> = batch.changes.iter().collect();
        changes.sort_by_key(|change| seq_of(change));
        let mut noted = Vec::new();
        for change in changes {
            if self.change(change) {
                let seq = seq_of(change);
                let seq = if seq <= told { reached } else { seq.min(reached) };
                noted.push((seq, change.subject()));
            }
        }
        self.reach(reached, noted.len());
        batch.left.iter().for_each(|epoch| self.leave(*epoch));
        let is_next = !is_other_history && reached == told + 1;
        if size == Size::Large || (!is_next && (!noted.is_empty() || reached > told)) {
            self.restart_log(reached);
            return;
        }
        noted.sort_by_key(|(seq, _)| *seq);
        noted.into_iter().for_each(|(seq, subject)| self.log.append(seq, subject));
        self.trim_log();
    }

    /// Takes one change; false when what is stored is later or the same.
    fn change(&mut self, change: &Change) -> bool {
        let subject = change.subject();
        let key = key_of(&subject);
        let stamp = (self.generation, seq_of(change));
        let buried = self.deleted.get(&key).copied();
        let known = self.records.get(&key).and_then(Stored::known_stamp);
        let is_late = match change {
            Change::Delete(..) if known.is_none() => buried.is_some_and(|buried| buried >= stamp),
            _ => known.is_some_and(|known| known > stamp) || buried.is_some_and(|buried| buried > stamp),
        };
        if is_late || self.is_there(&key, change) {
            return false;
        }
        self.forget(&key);
        match change {
            Change::Put(_, record) => {
                let item = item_of(record);
                self.items.insert(item);
                self.subjects.insert(item, subject);
                self.content = self.content.wrapping_add(content_of(&key, record));
                self.deleted.remove(&key);
                let record = Arc::new(record.clone());
                self.records.insert(key, Stored { stamp, record, item, damage: None });
            }
            Change::Delete(..) => {
                self.deleted.insert(key, stamp);
            }
        }
        self.tally.changes += 1;
        self.tally.bytes += bytes_of(change);
        true
    }

    fn is_there(&self, key: &Key, change: &Change) -> bool {
        let Change::Put(_, record) = change else { return false };
        self.records.get(key).is_some_and(|old| old.damage.is_none() && *old.record == *record)
    }

    fn forget(&mut self, key: &Key) {
        let Some(old) = self.records.remove(key) else { return };
        self.items.remove(&old.item);
        self.subjects.remove(&old.item);
        self.content = self.content.wrapping_sub(content_of(key, &old.record));
    }

    /// With a change the log forgets that something was deleted.
    fn trim_log(&mut self) {
        for (seq, subject) in self.log.trim() {
            let key = key_of(&subject);
            if self.deleted.get(&key).is_some_and(|(_, at)| *at <= seq) {
                self.deleted.remove(&key);
            }
        }
    }
}

/// About how many bytes a change takes on the wire: names, numbers and hashes, and the content.
#[must_use]
pub fn bytes_of(change: &Change) -> u64 {
    match change {
        Change::Put(_, record) => record_bytes(record),
        Change::Delete(..) => 64,
    }
}

/// The same for a record.
#[must_use]
pub fn record_bytes(record: &Record) -> u64 {
    match record {
        Record::Entry(entry) => 160 + entry.stored.len() as u64,
        Record::Dataset(_) => 80,
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
        let mut next = Self::empty(epoch, self.log.entries_max());
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
