//! How a primary that shares its authority with others fills its mirror: from the database's change stream.
//!
//! Owns a model of it, as `storage` feeds a mirror: an empty mirror is filled in parts and reached with an empty batch
//! at the end, so that its log begins there; then everything that changed comes at once, with the position that holds
//! it. What the stream told at some moment is all there was then.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outpost_model::Position;
use outpost_model::items::Changed;
use outpost_sync::record::Change;
use outpost_sync::source::{Batch, StoreError, Target};
use outpost_sync::{Freshness, WallClock};
use tokio::time::sleep;

use crate::state::{State, key_of};
use crate::store::MemStore;

/// Entries of the database's own log, which is never too short here.
pub const DATABASE_LOG_MAX: usize = 1_000_000;

/// See the module.
pub struct Feed {
    database: Arc<MemStore>,
    mirror: Arc<MemStore>,
    freshness: Arc<Freshness>,
    /// Whether the database cannot be reached.
    is_cut: Arc<AtomicBool>,
    random: fastrand::Rng,
    delay_ms_max: u64,
}

impl Feed {
    /// From `database` to `mirror`.
    #[must_use]
    pub fn new(
        database: Arc<MemStore>,
        mirror: Arc<MemStore>,
        wall: Arc<dyn WallClock>,
        is_cut: Arc<AtomicBool>,
        mut random: fastrand::Rng,
    ) -> Self {
        let delay_ms_max = [5, 50, 600][random.usize(..3)];
        let freshness = Arc::new(Freshness::new(wall));
        Self { database, mirror, freshness, is_cut, random, delay_ms_max }
    }

    /// How old the mirror is.
    #[must_use]
    pub fn freshness(&self) -> Arc<Freshness> {
        Arc::clone(&self.freshness)
    }

    /// Runs until the node crashes.
    pub async fn run(mut self) {
        loop {
            self.pause().await;
            if !self.is_cut.load(Ordering::SeqCst) && self.step().await.is_err() {
                return;
            }
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(1..=self.delay_ms_max))).await;
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        let asked = self.freshness.moment();
        let mine = self.mirror.visible().seq;
        let (head, news) = self.database.on_disk(|state| (state.position, News::of(state, mine)));
        self.pause().await;
        match news {
            News::Nothing => {}
            News::Changes(changes) => self.apply(head, changes, Some(head.seq)).await?,
            News::Everything(database) => self.fill(&database).await?,
        }
        self.freshness.told(asked, head, Duration::ZERO, self.mirror.visible());
        Ok(())
    }

    /// Compares everything, as after a store that was lost, or a fill that a crash ended.
    async fn fill(&mut self, database: &State) -> Result<(), StoreError> {
        let at = database.position;
        let unlisted = |state: &State| -> Vec<Change> {
            let gone = state.records().filter(|(key, _)| database.get(key).is_none());
            gone.map(|(_, record)| Change::Delete(at.seq, record.subject())).collect()
        };
        let mut changes = self.mirror.as_seen(unlisted);
        changes.extend(database.records().map(|(_, record)| Change::Put(at.seq, (**record).clone())));
        let rest = changes.split_off(changes.len() / 2);
        self.apply(at, changes, None).await?;
        self.pause().await;
        self.apply(at, rest, None).await?;
        self.apply(at, Vec::new(), Some(at.seq)).await
    }

    async fn apply(
        &self,
        at: Position,
        changes: Vec<Change>,
        reached: Option<u64>,
    ) -> Result<(), StoreError> {
        self.mirror.apply(Batch { epoch: at.epoch, changes, reached, left: Vec::new() }).await
    }
}

/// What the database has for a mirror.
enum News {
    Nothing,
    Changes(Vec<Change>),
    Everything(Box<State>),
}

impl News {
    fn of(database: &State, mine: u64) -> Self {
        let last = database.position.seq;
        if mine == 0 {
            return Self::Everything(Box::new(database.clone()));
        }
        if mine == last {
            return Self::Nothing;
        }
        let changed = database.log().after(mine, last, usize::MAX).unwrap_or_default();
        // Each once, at its last change.
        let mut seen = HashSet::new();
        let is_last = |(_, subject): &(u64, Changed)| seen.insert(key_of(subject));
        let changes = changed.into_iter().rev().filter(is_last).map(|(seq, subject)| {
            match database.get(&key_of(&subject)) {
                Some(record) => Change::Put(seq, (**record).clone()),
                None => Change::Delete(seq, subject),
            }
        });
        let mut changes: Vec<Change> = changes.collect();
        changes.reverse();
        Self::Changes(changes)
    }
}
