//! The log of a store: which subjects changed at which seq, as far as it goes back.
//!
//! Owns its bound and what a reader of it is told: whole groups of one seq, or that the log does not reach back so far.

use std::collections::{BTreeMap, HashSet};

use outpost_model::items::Changed;

/// See the module.
#[derive(Debug, Clone)]
pub struct Log {
    entries: BTreeMap<(u64, u64), Changed>,
    last: (u64, u64),
    floor: u64,
    entries_max: usize,
}

impl Log {
    /// A log that goes back to the begin of a history.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), last: (0, 0), floor: 0, entries_max }
    }

    /// How many entries it keeps.
    #[must_use]
    pub fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// Forgets everything; who has not reached `floor` starts over.
    pub fn restart(&mut self, floor: u64) {
        *self = Self { floor, ..Self::new(self.entries_max) };
    }

    /// Adds a change, never before the last one.
    pub fn append(&mut self, seq: u64, subject: Changed) {
        let (last, number) = self.last;
        self.last = if seq > last { (seq, 0) } else { (last, number + 1) };
        self.entries.insert(self.last, subject);
    }

    /// Drops the oldest while there are too many, all of a seq together; returns what was dropped.
    pub fn trim(&mut self) -> Vec<(u64, Changed)> {
        let mut dropped = Vec::new();
        while let Some(((seq, _), _)) = self.entries.first_key_value() {
            let seq = *seq;
            if seq > self.floor && self.entries.len() <= self.entries_max {
                break;
            }
            self.floor = self.floor.max(seq);
            dropped.extend(self.entries.pop_first().map(|((seq, _), subject)| (seq, subject)));
        }
        dropped
    }

    /// Changes after `seq` up to `last`, in order, groups undivided; `None` when it does not reach back.
    #[must_use]
    pub fn after(&self, seq: u64, last: u64, limit: usize) -> Option<Vec<(u64, Changed)>> {
        if seq < self.floor || seq > last {
            return None;
        }
        let mut changes: Vec<(u64, Changed)> = Vec::new();
        for ((at, _), subject) in self.entries.range((seq + 1, 0)..(last + 1, 0)) {
            if changes.len() >= limit && changes.last().is_none_or(|(last, _)| last != at) {
                break;
            }
            changes.push((*at, subject.clone()));
        }
        Some(changes)
    }

    /// The subject that changed last.
    #[must_use]
    pub fn last(&self) -> Option<&Changed> {
        self.entries.last_key_value().map(|(_, subject)| subject)
    }

    /// What changed after `seq`; `None` when it does not reach back.
    #[must_use]
    pub fn since(&self, seq: u64) -> Option<HashSet<Changed>> {
        let after = self.entries.range((seq + 1, 0)..);
        (seq >= self.floor).then(|| after.map(|(_, subject)| subject.clone()).collect())
    }
}
