//! A store in memory that forgets at a crash what was not flushed.
//!
//! Owns two states: the visible one, which readers of a replica see, and the durable one, which is what a crash goes
//! back to and what the feed is told of. Every call takes a random while, so that others come in between. Armed, it
//! crashes its node at one exact step.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use outpost_model::items::{Changed, Item, ItemRange, RangeSum, SetHash};
use outpost_model::{Epoch, Position};
use outpost_sync::record::Change;
use outpost_sync::source::{Batch, Held, Source, Stage, StoreError, StoreHead, Target};
use tokio::sync::{Notify, watch};

use crate::damage::DamageLog;
use crate::meter::Meter;
use crate::stage::MemStage;
use crate::state::{Damage, Found, State, Step, key_of};
use crate::truth::Truth;

/// Where a node crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before a batch is applied.
    BeforeApply,
    /// When readers see it and it is not on disk.
    Visible,
    /// When it is on disk.
    Flushed,
    /// Amid a stage.
    Staging,
    /// Before a stage is switched to.
    BeforeSwitch,
    /// When the stage is seen and not on disk.
    Switched,
    /// At the primary, between a webhook's receipt and its effect.
    Received,
    /// At the primary, between a webhook's effect and the mark that it was taken.
    Effective,
    /// At a replica, between the answer about a webhook and its removal.
    Answered,
}

impl CrashPoint {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::BeforeApply,
        Self::Visible,
        Self::Flushed,
        Self::Staging,
        Self::BeforeSwitch,
        Self::Switched,
        Self::Received,
        Self::Effective,
        Self::Answered,
    ];
}

pub(crate) struct Inner {
    pub(crate) visible: State,
    durable: State,
    pending: VecDeque<Step>,
    /// Steps that were made visible, and those of them that are on disk.
    stepped: u64,
    flushed: u64,
    crash_at: Option<CrashPoint>,
    pub(crate) is_dead: bool,
    pub(crate) random: fastrand::Rng,
    flush_ms_max: u64,
}

/// See the module.
pub struct MemStore {
    me: Weak<Self>,
    node: usize,
    is_origin: bool,
    inner: Mutex<Inner>,
    /// One for each who watches, so that all are told in order.
    watchers: Mutex<Vec<watch::Sender<u64>>>,
    flush_wanted: Notify,
    flush_done: Notify,
    crashed: Notify,
    damage: DamageLog,
    meter: OnceLock<Arc<Meter>>,
    truth: Arc<Truth>,
}

pub(crate) fn dead() -> StoreError {
    StoreError("the node crashed".to_owned())
}

impl MemStore {
    /// Opens what is on disk. [`MemStore::flush_for_ever`] is to be run beside.
    #[must_use]
    pub fn open(node: usize, is_origin: bool, disk: State, seed: u64, truth: &Arc<Truth>) -> Arc<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let flush_ms_max = [2, 20, 20, 200][random.usize(..4)];
        let inner = Inner {
            visible: disk.clone(),
            durable: disk,
            pending: VecDeque::new(),
            stepped: 0,
            flushed: 0,
            crash_at: None,
            is_dead: false,
            random,
            flush_ms_max,
        };
        let inner = Mutex::new(inner);
        let (flush_wanted, flush_done, crashed) = (Notify::new(), Notify::new(), Notify::new());
        let truth = Arc::clone(truth);
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            node,
            is_origin,
            inner,
            watchers: Mutex::default(),
            flush_wanted,
            flush_done,
            crashed,
            damage: DamageLog::default(),
            meter: OnceLock::new(),
            truth,
        })
    }

    /// Its disk takes up to so long for a flush.
    pub fn slow_down(&self, flush_ms_max: u64) {
        self.lock().flush_ms_max = flush_ms_max;
    }

    /// Brings what is visible to the disk.
    pub async fn flush_for_ever(self: Arc<Self>) {
        loop {
            let has_work = {
                let inner = self.lock();
                inner.flushed < inner.stepped
            };
            if !has_work {
                self.flush_wanted.notified().await;
            }
            let wait_ms = {
                let mut inner = self.lock();
                let max = inner.flush_ms_max;
                inner.random.u64(0..=max)
            };
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let mut inner = self.lock();
            if inner.is_dead {
                return;
            }
            let Inner { durable, pending, flushed, .. } = &mut *inner;
            for step in pending.drain(..) {
                durable.step(&step);
                *flushed += 1;
                if self.is_origin {
                    self.truth.committed(durable, &step);
                }
            }
            let seq = durable.position.seq;
            self.crash_if(&mut inner, CrashPoint::Flushed);
            drop(inner);
            self.tell(seq);
        }
    }

    /// The state that a crash goes back to; the store is of no use any more.
    #[must_use]
    pub fn crash(&self) -> State {
        let mut inner = self.lock();
        inner.is_dead = true;
        self.flush_done.notify_waiters();
        inner.durable.clone()
    }

    /// Returns when the store came to where it was to crash.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// Crashes at a point, the next time that it gets there.
    pub fn arm(&self, point: CrashPoint) {
        self.lock().crash_at = Some(point);
    }

    pub(crate) fn crash_if(&self, inner: &mut Inner, point: CrashPoint) {
        if inner.crash_at == Some(point) {
            inner.is_dead = true;
            self.crashed.notify_one();
        }
    }

    /// What readers see: of the origin what is on disk.
    pub fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        let inner = self.lock();
        look(if self.is_origin { &inner.durable } else { &inner.visible })
    }

    /// Damages a record, if there is one that is on disk as it is seen; whether it was.
    pub fn damage(&self, subject: &Changed, damage: Damage) -> bool {
        let mut inner = self.lock();
        let key = key_of(subject);
        let at = inner.visible.written_at(&key);
        let is_damaged = at.is_some() && at == inner.durable.written_at(&key);
        if is_damaged {
            inner.visible.damage(&key, damage);
            inner.durable.damage(&key, damage);
        }
        is_damaged
    }

    /// Reads everything, so that what is damaged is fetched again.
    pub fn scrub(&self) {
        self.damage.scrub(&self.lock().visible);
    }

    /// A reader met a damaged record.
    pub fn met_damage(&self, subject: &Changed) {
        self.damage.report(subject);
    }

    /// What was applied last, on disk or not.
    pub fn as_seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock().visible)
    }

    /// A reconciliation that ends here is held to what it may cost.
    pub fn metered(&self, meter: &Arc<Meter>) {
        let _ = self.meter.set(Arc::clone(meter));
    }

    /// What is on disk.
    pub fn on_disk<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock().durable)
    }

    /// Commits changes at the origin, made of what is stored now.
    ///
    /// # Errors
    /// [`StoreError`] when the node crashed.
    pub fn commit(&self, make: impl FnOnce(&State, u64) -> Vec<Change>) -> Result<u64, StoreError> {
        let (batch, is_alive) = {
            let inner = self.lock();
            let seq = inner.visible.position.seq + 1;
            let changes = make(&inner.visible, seq);
            let epoch = inner.visible.position.epoch;
            (Batch { epoch, changes, reached: Some(seq), left: Vec::new() }, !inner.is_dead)
        };
        if !is_alive {
            return Err(dead());
        }
        self.step(Step::Apply(batch), CrashPoint::BeforeApply, CrashPoint::Visible)
    }

    /// Commits changes at the origin and returns when they are on disk, with the position that holds them.
    ///
    /// # Errors
    /// [`StoreError`] when the node crashed.
    pub async fn commit_durably(
        &self,
        make: impl FnOnce(&State, u64) -> Vec<Change>,
    ) -> Result<Position, StoreError> {
        let number = self.commit(make)?;
        self.flushed(number).await?;
        Ok(self.on_disk(|state| state.position))
    }

    /// What works beside the store comes to a point where it may crash.
    ///
    /// # Errors
    /// [`StoreError`] when the node crashed, there or before.
    pub fn come_to(&self, point: Option<CrashPoint>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if let Some(point) = point {
            self.crash_if(&mut inner, point);
        }
        if inner.is_dead { Err(dead()) } else { Ok(()) }
    }

    pub(crate) fn step(&self, step: Step, before: CrashPoint, after: CrashPoint) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        self.crash_if(&mut inner, before);
        if inner.is_dead {
            return Err(dead());
        }
        let was = inner.visible.position;
        inner.visible.step(&step);
        let is_reconciled =
            matches!(step, Step::Switch(..)) || (was.seq == 0 && inner.visible.position.seq > 0);
        self.damage.forget_healed(&inner.visible);
        inner.pending.push_back(step);
        inner.stepped += 1;
        if !self.is_origin {
            self.truth.stands(self.node, was, &inner.visible);
        }
        let number = inner.stepped;
        self.crash_if(&mut inner, after);
        drop(inner);
        let excess = self.meter.get().filter(|_| is_reconciled).and_then(|meter| meter.ended());
        if let Some(excess) = excess {
            self.truth.violated(&format!("node {}: {excess}", self.node));
        }
        self.flush_wanted.notify_one();
        Ok(number)
    }

    async fn flushed(&self, number: u64) -> Result<(), StoreError> {
        loop {
            let done = self.flush_done.notified();
            {
                let inner = self.lock();
                if inner.is_dead {
                    return Err(dead());
                }
                if inner.flushed >= number {
                    return Ok(());
                }
            }
            done.await;
        }
    }

    fn tell(&self, seq: u64) {
        self.flush_done.notify_waiters();
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.receiver_count() > 0);
        for watcher in watchers.iter() {
            watcher.send_replace(seq);
        }
    }

    /// Takes a while.
    pub(crate) async fn pause(&self) -> Result<(), StoreError> {
        let wait_ms = {
            let mut inner = self.lock();
            if inner.is_dead {
                return Err(dead());
            }
            if inner.random.u8(..4) == 0 { inner.random.u64(1..=4) } else { 0 }
        };
        if wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        } else {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemStore {
    fn head(&self) -> StoreHead {
        let inner = self.lock();
        let state = &inner.durable;
        StoreHead {
            position: state.position,
            set_hash: (!state.is_amid).then(|| state.digest().set_hash),
            records: state.count(),
            left: state.left.clone(),
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        let watcher = watch::Sender::new(self.lock().durable.position.seq);
        let receiver = watcher.subscribe();
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
        receiver
    }

    async fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StoreError> {
        self.pause().await?;
        let inner = self.lock();
        Ok(inner.visible.log().after(seq, inner.visible.position.seq, limit))
    }

    async fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StoreError> {
        self.pause().await?;
        let inner = self.lock();
        let (visible, on_disk) = (inner.visible.position, inner.durable.position);
        let is_told = seq <= visible.seq && visible.epoch == on_disk.epoch;
        Ok(inner.visible.log().since(seq).filter(|_| is_told))
    }

    async fn records(&self, subjects: &[Changed], bytes_max: usize) -> Result<Vec<Held>, StoreError> {
        self.pause().await?;
        let inner = self.lock();
        let (mut records, mut bytes) = (Vec::new(), 0);
        for subject in subjects {
            let held = match inner.visible.read(&key_of(subject)) {
                Found::Whole(record) => Held::Record((**record).clone()),
                Found::Absent => Held::Absent,
                Found::Damaged => Held::Damaged,
            };
            match &held {
                Held::Record(record) => bytes += record.bytes(),
                Held::Absent => {}
                Held::Damaged => self.damage.report(subject),
            }
            records.push(held);
            if bytes > bytes_max {
                break;
            }
        }
        Ok(records)
    }

    async fn subjects_of(&self, items: &[Item]) -> Result<Vec<Option<Changed>>, StoreError> {
        self.pause().await?;
        let inner = self.lock();
        Ok(items.iter().map(|item| inner.visible.subject_of(item)).collect())
    }

    async fn sums(&self, ranges: &[ItemRange]) -> Result<Vec<RangeSum>, StoreError> {
        self.pause().await?;
        let inner = self.lock();
        Ok(ranges.iter().map(|range| inner.visible.items().sum(range)).collect())
    }

    async fn split(&self, range: &ItemRange, parts: usize) -> Result<Vec<(ItemRange, RangeSum)>, StoreError> {
        self.pause().await?;
        Ok(self.lock().visible.items().split(range, parts))
    }

    async fn items(&self, range: &ItemRange, limit: usize) -> Result<Vec<Item>, StoreError> {
        self.pause().await?;
        Ok(self.lock().visible.items().items(range, limit))
    }

    async fn settled(&self) -> Result<(), StoreError> {
        let number = self.lock().stepped;
        self.flushed(number).await
    }
}

#[async_trait]
impl Target for MemStore {
    async fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.pause().await?;
        self.step(Step::Apply(batch), CrashPoint::BeforeApply, CrashPoint::Visible)?;
        self.pause().await
    }

    async fn stage(&self, epoch: Epoch) -> Result<Box<dyn Stage>, StoreError> {
        self.pause().await?;
        let store = self.me.upgrade().ok_or_else(dead)?;
        Ok(Box::new(MemStage::new(store, epoch)))
    }

    fn visible(&self) -> Position {
        self.lock().visible.position
    }

    fn visible_hash(&self) -> (Position, SetHash) {
        let inner = self.lock();
        (inner.visible.position, inner.visible.digest().set_hash)
    }

    fn visible_left(&self) -> (Position, Vec<Epoch>) {
        self.seen(|state| (state.position, state.left.clone()))
    }

    fn damaged(&self, max: usize) -> Vec<Changed> {
        self.damage.waiting(max)
    }

    async fn damage_news(&self) {
        self.damage.news().await;
    }

    async fn room(&self) {}
}
