//! Webhooks: where they wait at a replica, what the primary does with them, and the account of both.
//!
//! Owns an outbox that forgets at a crash what was not flushed, the primary's desk, which knows the ids that it took,
//! and the checks (PROTOCOL.md section 9): a webhook that was accepted has an effect, none after it was marked as taken,
//! and those of one dataset in the order in which one replica accepted them. Between apply and mark a repeat is applied
//! again, to the same end. The ids lie with the primary's data and survive what it survives.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::DatasetName;
use outpost_model::items::Changed;
use outpost_sync::WallClock;
use outpost_sync::record::Change;
use outpost_sync::relay::{Outbox, Passing, Queued};
use outpost_sync::source::StoreError;
use outpost_sync::wire::{Relay, Taken};
use tokio::sync::watch;

use crate::content::Content;
use crate::store::{CrashPoint, MemStore};
use crate::truth::Truth;

/// Webhooks that an outbox holds at most.
const OUTBOX_MAX: usize = 40;

#[derive(Clone)]
struct Accepted {
    node: usize,
    datasets: Vec<DatasetName>,
}

#[derive(Default)]
struct Book {
    sent: u64,
    accepted: BTreeMap<u64, Accepted>,
    effects: BTreeSet<u64>,
    marked: BTreeSet<u64>,
    /// The ids that the primary knows on its disk.
    ids: HashSet<u128>,
}

/// The account of all webhooks, which are told apart by the number that is their body.
pub struct Webhooks {
    book: Mutex<Book>,
    content: Arc<Mutex<Content>>,
    is_restored: Arc<AtomicBool>,
    /// One webhook at a time is looked up, applied and marked, at whichever primary.
    alone: tokio::sync::Mutex<()>,
    truth: Arc<Truth>,
}

impl Webhooks {
    /// None so far. What they change is made by `content`; while `is_restored` the primary takes none.
    #[must_use]
    pub fn new(content: Arc<Mutex<Content>>, is_restored: Arc<AtomicBool>, truth: &Arc<Truth>) -> Arc<Self> {
        let alone = tokio::sync::Mutex::default();
        Arc::new(Self { book: Mutex::default(), content, is_restored, alone, truth: Arc::clone(truth) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepted(&self, node: usize, queued: &Queued) {
        let accepted = Accepted { node, datasets: queued.datasets.clone() };
        self.book().accepted.entry(number_of(&queued.body)).or_insert(accepted);
    }

    fn took_effect(&self, number: u64) {
        self.truth.note(&format!("webhook {number} takes effect"));
        let mut book = self.book();
        let is_late = book.marked.contains(&number);
        let overtaken = book.accepted.get(&number).and_then(|mine| {
            let mut later = book.effects.range(number + 1..).filter_map(|n| Some((n, book.accepted.get(n)?)));
            later.find(|(_, other)| {
                other.node == mine.node && other.datasets.iter().any(|name| mine.datasets.contains(name))
            })
        });
        let overtaken = overtaken.map(|(number, _)| *number);
        book.effects.insert(number);
        drop(book);
        if is_late {
            self.truth.violated(&format!("webhook {number} took effect again after it was marked as taken"));
        }
        if let Some(later) = overtaken {
            self.truth.violated(&format!("webhook {number} took effect after {later}, accepted after it"));
        }
    }

    /// Accepted webhooks that had no effect.
    #[must_use]
    pub fn missing(&self) -> Vec<u64> {
        let book = self.book();
        book.accepted.keys().filter(|number| !book.effects.contains(number)).copied().collect()
    }
}

fn number_of(body: &[u8]) -> u64 {
    body.try_into().map_or(0, u64::from_be_bytes)
}

/// What a webhook is about: one dataset or two of a few.
fn datasets_of(number: u64) -> Vec<DatasetName> {
    let mut random = fastrand::Rng::with_seed(number);
    let first = random.u8(..3);
    let second = (random.u8(..4) == 0).then_some((first + 1) % 3);
    let name = |number| DatasetName::new(&format!("user/d{number}")).expect("a plain name");
    [Some(first), second].into_iter().flatten().map(name).collect()
}

/// What an outbox has on its disk.
#[derive(Clone, Default)]
pub struct OutboxDisk {
    next: u64,
    queued: BTreeMap<u64, Queued>,
}

/// A replica's outbox; see the module.
pub struct MemOutbox {
    node: usize,
    store: Arc<MemStore>,
    webhooks: Arc<Webhooks>,
    inner: Mutex<Inner>,
    news: watch::Sender<u64>,
}

struct Inner {
    visible: OutboxDisk,
    durable: OutboxDisk,
    random: fastrand::Rng,
}

impl MemOutbox {
    /// Opens what is on disk, beside `store`, with which it crashes.
    #[must_use]
    pub fn open(
        node: usize,
        disk: OutboxDisk,
        store: Arc<MemStore>,
        webhooks: Arc<Webhooks>,
        seed: u64,
    ) -> Arc<Self> {
        let random = fastrand::Rng::with_seed(seed);
        let inner = Mutex::new(Inner { visible: disk.clone(), durable: disk, random });
        Arc::new(Self { node, store, webhooks, inner, news: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a webhook; it is on disk when this returns, unless there is no room or the node crashes.
    pub async fn push(&self) {
        let wait_ms = {
            let mut inner = self.lock();
            if self.store.come_to(None).is_err() || inner.visible.queued.len() >= OUTBOX_MAX {
                return;
            }
            let sent = {
                let mut book = self.webhooks.book();
                book.sent += 1;
                book.sent
            };
            let (datasets, body) = (datasets_of(sent), Bytes::copy_from_slice(&sent.to_be_bytes()));
            inner.visible.next += 1;
            let (number, id) = (inner.visible.next, inner.random.u128(..));
            inner.visible.queued.insert(number, Queued { number, id, datasets, body });
            self.news.send_replace(number);
            inner.random.u64(0..30)
        };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let mut inner = self.lock();
        if self.store.come_to(None).is_err() {
            return;
        }
        inner.durable = inner.visible.clone();
        for queued in inner.durable.queued.values() {
            self.webhooks.accepted(self.node, queued);
        }
    }

    /// What a crash leaves.
    #[must_use]
    pub fn on_disk(&self) -> OutboxDisk {
        self.lock().durable.clone()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().visible.queued.is_empty()
    }
}

#[async_trait]
impl Outbox for MemOutbox {
    async fn oldest(&self, after: Option<u64>, limit: usize) -> Result<Vec<Queued>, StoreError> {
        self.store.come_to(None)?;
        let from = after.map_or(0, |after| after + 1);
        Ok(self.lock().visible.queued.range(from..).take(limit).map(|(_, queued)| queued.clone()).collect())
    }

    async fn remove(&self, number: u64) -> Result<(), StoreError> {
        self.store.come_to(Some(CrashPoint::Answered))?;
        // It goes from the disk with the next flush: after a crash it may be there again, under the same id.
        self.lock().visible.queued.remove(&number);
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

/// What a node does with a webhook that another one relays.
pub enum Desk {
    /// It is the primary.
    Origin(OriginDesk),
    /// It passes it on.
    Passing(Passing),
}

/// The primary's; see the module.
pub struct OriginDesk {
    store: Arc<MemStore>,
    /// Where it commits to: the same store, or a database that other primaries share.
    authority: Arc<MemStore>,
    wall: Arc<dyn WallClock>,
    webhooks: Arc<Webhooks>,
}

impl OriginDesk {
    /// Of the node of `store`, commits to `authority`.
    #[must_use]
    pub fn new(
        store: Arc<MemStore>,
        authority: Arc<MemStore>,
        wall: Arc<dyn WallClock>,
        webhooks: Arc<Webhooks>,
    ) -> Self {
        Self { store, authority, wall, webhooks }
    }

    async fn take(&self, relay: &Relay, datasets: &[DatasetName]) -> Result<Taken, StoreError> {
        let Self { store, authority, webhooks, .. } = self;
        let _alone = webhooks.alone.lock().await;
        let number = number_of(&relay.body);
        if webhooks.book().ids.contains(&relay.id) {
            return Ok(Taken::Ignored);
        }
        store.come_to(Some(CrashPoint::Received))?;
        if webhooks.is_restored.load(Ordering::SeqCst) {
            return Ok(Taken::Later("the primary runs over a backup".to_owned()));
        }
        let now_ms = self.wall.now_ms();
        let committed = authority.commit_durably(|_, seq| {
            let mut content = webhooks.content.lock().unwrap_or_else(PoisonError::into_inner);
            let record = |name: &DatasetName| content.record(Changed::Dataset(name.clone()), now_ms);
            datasets.iter().map(record).map(|record| Change::Put(seq, record)).collect()
        });
        let position = committed.await?;
        webhooks.took_effect(number);
        store.come_to(Some(CrashPoint::Effective))?;
        tokio::task::yield_now().await;
        store.come_to(None)?;
        let mut book = webhooks.book();
        book.ids.insert(relay.id);
        book.marked.insert(number);
        Ok(Taken::Applied(position.epoch.0, position.seq))
    }
}

impl Desk {
    /// What became of it.
    pub async fn take(&self, relay: Relay) -> Taken {
        match self {
            Self::Passing(passing) => passing.pass(relay).await,
            Self::Origin(origin) => {
                let datasets = datasets_of(number_of(&relay.body));
                let taken = origin.take(&relay, &datasets).await;
                taken.unwrap_or_else(|error| Taken::Later(error.to_string()))
            }
        }
    }
}
