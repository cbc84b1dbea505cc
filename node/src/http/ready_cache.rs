//! Ready-to-send responses in memory, bounded in bytes.
//!
//! Owns the promise that a reader never gets an older answer than the mirror held when the request came in: each read
//! first follows the mirror's change log up to what it shows, and a fill that began before the last followed change is
//! served but not kept. Follows changes by itself; a background follower only keeps that work off the readers.
//! Failing to follow empties the cache.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use outpost_model::{ArtifactKey, DatasetName, Position, limits};
use outpost_storage::{Changed, Mirror};

use super::encoding::Encoding;
use super::params::Page;
use super::response::Ready;

/// What of an entry is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// The body as stored.
    Whole,
    /// A page cut out of first rows.
    Page(Page),
}

/// Which response of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slot {
    key: ArtifactKey,
    view: View,
    encoding: Encoding,
}

struct Kept {
    ready: Arc<Ready>,
    /// Tells a slot that was dropped and filled again from its earlier self in the eviction queue.
    generation: u64,
    /// Read since the eviction queue last passed it.
    used: AtomicBool,
}

#[derive(Default)]
struct Contents {
    datasets: HashMap<DatasetName, HashMap<Slot, Kept>>,
    queue: VecDeque<(Slot, u64)>,
    slots: usize,
    bytes: usize,
    generation: u64,
}

/// The cache.
pub struct ReadyCache {
    mirror: Arc<dyn Mirror>,
    bytes_max: usize,
    contents: RwLock<Contents>,
    /// Everything up to here has been followed. Written only while `following` and `contents` are held.
    reached: RwLock<Position>,
    following: Mutex<()>,
}

const CHANGES_PER_READ: usize = 512;

impl ReadyCache {
    /// An empty cache over `mirror` that holds at most `bytes_max` bytes of bodies and overhead.
    #[must_use]
    pub fn new(mirror: Arc<dyn Mirror>, bytes_max: usize) -> Self {
        let reached = RwLock::new(mirror.visible());
        Self { mirror, bytes_max, contents: RwLock::default(), reached, following: Mutex::new(()) }
    }

    /// Forgets what changed up to what the mirror shows and returns the position reached.
    pub fn follow(&self) -> Position {
        let target = self.mirror.visible();
        let reached = self.reached();
        if reached == target {
            return reached;
        }
        let _alone = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = self.reached();
        if reached.epoch != target.epoch {
            return self.forget_all(target);
        }
        // Changes are counted, not seqs: with MongoDB a seq is a cluster time, which grows by 2^32 a second.
        let mut followed = 0;
        while reached.seq < target.seq {
            if followed > limits::READY_CACHE_LAG_MAX {
                return self.forget_all(target);
            }
            let (next, changes) = self.follow_batch(reached, target);
            reached = next;
            followed += changes;
        }
        reached
    }

    fn reached(&self) -> Position {
        *self.reached.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows one batch of changes and returns how far that got and how many they were.
    fn follow_batch(&self, reached: Position, target: Position) -> (Position, usize) {
        let changes = match self.mirror.changes_after(reached.seq, CHANGES_PER_READ) {
            Ok(Some(changes)) => changes,
            Ok(None) => return (self.forget_all(target), 0),
            Err(error) => {
                tracing::error!(%error, "failed to read the change log, the ready cache starts over");
                return (self.forget_all(target), 0);
            }
        };
        // Changes that share a seq come together, so all up to the last one's seq have been seen.
        let Some(&(seq, _)) = changes.last() else { return (self.set_reached(target), 0) };
        if seq <= reached.seq {
            return (self.forget_all(target), 0);
        }
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        for (_, changed) in &changes {
            match changed {
                Changed::Entry(key) => contents.forget_entry(key),
                Changed::Dataset(dataset) => contents.forget_dataset(dataset),
            }
        }
        (self.set_reached(Position { seq, ..reached }), changes.len())
    }

    fn forget_all(&self, reached: Position) -> Position {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        *contents = Contents { generation: contents.generation, ..Contents::default() };
        self.set_reached(reached)
    }

    fn set_reached(&self, reached: Position) -> Position {
        *self.reached.write().unwrap_or_else(PoisonError::into_inner) = reached;
        reached
    }

    /// The response kept for this reading of `key`.
    #[must_use]
    pub fn get(&self, key: &ArtifactKey, view: View, encoding: Encoding) -> Option<Arc<Ready>> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let slot = Slot { key: key.clone(), view, encoding };
        let kept = contents.datasets.get(key.dataset())?.get(&slot)?;
        kept.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&kept.ready))
    }

    /// Keeps a response that was made from the mirror at or after `since`, unless something changed since then.
    pub fn insert(
        &self,
        since: Position,
        key: &ArtifactKey,
        view: View,
        encoding: Encoding,
        ready: &Arc<Ready>,
    ) {
        let slot = Slot { key: key.clone(), view, encoding };
        let cost = cost(&slot, ready);
        if cost > self.bytes_max / 2 {
            return;
        }
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        if self.reached() == since {
            contents.keep(&slot, ready, cost);
            contents.evict_down_to(self.bytes_max);
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.contents.read().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Contents {
    fn keep(&mut self, slot: &Slot, ready: &Arc<Ready>, cost: usize) {
        self.generation += 1;
        let kept =
            Kept { ready: Arc::clone(ready), generation: self.generation, used: AtomicBool::new(false) };
        self.queue.push_back((slot.clone(), self.generation));
        let slots = self.datasets.entry(slot.key.dataset().clone()).or_default();
        match slots.insert(slot.clone(), kept) {
            Some(old) => self.bytes -= self::cost(slot, &old.ready),
            None => self.slots += 1,
        }
        self.bytes += cost;
    }

    fn forget_entry(&mut self, key: &ArtifactKey) {
        let Some(slots) = self.datasets.get_mut(key.dataset()) else { return };
        slots.retain(|slot, kept| {
            let stays = slot.key != *key;
            if !stays {
                self.bytes -= cost(slot, &kept.ready);
                self.slots -= 1;
            }
            stays
        });
        if slots.is_empty() {
            self.datasets.remove(key.dataset());
        }
        self.sweep_queue();
    }

    fn forget_dataset(&mut self, dataset: &DatasetName) {
        let Some(slots) = self.datasets.remove(dataset) else { return };
        self.slots -= slots.len();
        self.bytes -= slots.iter().map(|(slot, kept)| cost(slot, &kept.ready)).sum::<usize>();
        self.sweep_queue();
    }

    fn forget_slot(&mut self, slot: &Slot) {
        let Some(slots) = self.datasets.get_mut(slot.key.dataset()) else { return };
        if let Some(kept) = slots.remove(slot) {
            self.slots -= 1;
            self.bytes -= cost(slot, &kept.ready);
        }
        if slots.is_empty() {
            self.datasets.remove(slot.key.dataset());
        }
    }

    /// Second chance: the oldest slot goes unless it was read since it was last looked at.
    fn evict_down_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((slot, generation)) = self.queue.pop_front() else { return };
            match self.datasets.get(slot.key.dataset()).and_then(|slots| slots.get(&slot)) {
                Some(kept) if kept.generation == generation => {
                    if kept.used.swap(false, Ordering::Relaxed) {
                        self.queue.push_back((slot, generation));
                    } else {
                        self.forget_slot(&slot);
                    }
                }
                _ => {}
            }
        }
    }

    /// Keeps the queue in proportion to the slots although forgotten slots leave their place in it behind.
    fn sweep_queue(&mut self) {
        if self.queue.len() <= 2 * self.slots + 64 {
            return;
        }
        let datasets = &self.datasets;
        self.queue.retain(|(slot, generation)| {
            let kept = datasets.get(slot.key.dataset()).and_then(|slots| slots.get(slot));
            kept.is_some_and(|kept| kept.generation == *generation)
        });
    }
}

/// Bytes that a slot counts for: its body and an allowance for names, headers and bookkeeping.
fn cost(slot: &Slot, ready: &Ready) -> usize {
    const OVERHEAD_BYTES: usize = 1_536;
    let names = slot.key.config().map_or(0, |name| name.as_str().len())
        + slot.key.split().map_or(0, |name| name.as_str().len());
    OVERHEAD_BYTES + 2 * names + ready.body_bytes()
}

#[cfg(test)]
mod tests;
