//! The relay: webhooks on their way from a replica's outbox to the primary (PROTOCOL.md section 9).
//!
//! Owns the order and the retries: webhooks of one dataset go one after the other in the order of arrival, those of
//! others beside them; what could not be taken is tried again for ever, with its id, after a pause that doubles. Nothing
//! leaves the outbox before the primary said what became of it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use outpost_model::{DatasetName, limits};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::call::{Answer, Call, CallError, Upstream, unexpected};
use crate::mutation::{Mutation, is_planted};
use crate::source::StoreError;
use crate::wire::{self, Message, Taken};

/// A webhook in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its place in the order of arrival.
    pub number: u64,
    /// Stays the same however often it is sent.
    pub id: u128,
    /// What it is about: later ones about any of these wait for it.
    pub datasets: Vec<DatasetName>,
    /// As the Hub sent it.
    pub body: Bytes,
}

/// Where webhooks wait.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Webhooks behind `after`, in the order of arrival, at most `limit`.
    async fn oldest(&self, after: Option<u64>, limit: usize) -> Result<Vec<Queued>, StoreError>;

    /// Forgets one.
    async fn remove(&self, number: u64) -> Result<(), StoreError>;

    /// A receiver that is told after each that comes in.
    fn watch(&self) -> watch::Receiver<u64>;
}

/// What the relay has done.
#[derive(Debug, Default)]
pub struct RelayCounts {
    /// Webhooks that the primary took.
    pub taken: AtomicU64,
    /// Webhooks that it will never take.
    pub refused: AtomicU64,
    /// Tries that came to nothing.
    pub failures: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl RelayCounts {
    /// Why the last try that came to nothing did.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }
}

/// When a webhook is tried again.
struct Pause {
    tries: u32,
    until: Instant,
}

/// See the module.
pub struct Relay {
    outbox: Arc<dyn Outbox>,
    upstreams: Vec<Arc<dyn Upstream>>,
    counts: Arc<RelayCounts>,
    pauses: HashMap<u64, Pause>,
}

const PAGE: usize = 128;

impl Relay {
    /// Sends what is in `outbox` to the first of `upstreams` that takes it.
    #[must_use]
    pub fn new(outbox: Arc<dyn Outbox>, upstreams: Vec<Arc<dyn Upstream>>, counts: Arc<RelayCounts>) -> Self {
        Self { outbox, upstreams, counts, pauses: HashMap::new() }
    }

    /// Relays for ever.
    pub async fn run(mut self) {
        let mut news = self.outbox.watch();
        loop {
            // Marked as seen before looking: what comes in meanwhile wakes again.
            news.borrow_and_update();
            let wait_until = match self.round().await {
                Ok(true) => continue,
                Ok(false) => self.pauses.values().map(|pause| pause.until).min(),
                Err(error) => {
                    tracing::error!(%error, "failed to read the outbox");
                    Some(Instant::now() + Duration::from_millis(limits::RELAY_BACKOFF_MS_MAX))
                }
            };
            tokio::select! {
                biased;
                changed = news.changed() => if changed.is_err() { return },
                () = sleep_until(wait_until.unwrap_or_else(Instant::now)), if wait_until.is_some() => {}
            }
        }
    }

    /// Sends what can be sent now; false when that is nothing.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let ready = self.ready().await?;
        let answers = join_all(ready.iter().map(|queued| self.send(queued))).await;
        for (queued, answer) in ready.iter().zip(answers) {
            self.settle(queued, answer).await?;
        }
        Ok(!ready.is_empty())
    }

    /// The next webhooks, none of which has to wait: for an earlier one about the same dataset, or after a failure.
    async fn ready(&mut self) -> Result<Vec<Queued>, StoreError> {
        let now = Instant::now();
        let (mut ready, mut before) = (Vec::new(), HashSet::new());
        let (mut after, mut present) = (None, HashSet::new());
        loop {
            let page = self.outbox.oldest(after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|queued| queued.number).or(after);
            for queued in page {
                present.insert(queued.number);
                let is_paused = self.pauses.get(&queued.number).is_some_and(|pause| pause.until > now);
                let is_first = !queued.datasets.iter().any(|dataset| before.contains(dataset));
                before.extend(queued.datasets.iter().cloned());
                let is_first = is_first || is_planted(Mutation::RelayKeepsNoOrder);
                if is_first && !is_paused {
                    ready.push(queued);
                    if ready.len() == limits::RELAY_IN_FLIGHT_MAX {
                        return Ok(ready);
                    }
                }
            }
            if is_last {
                self.pauses.retain(|number, _| present.contains(number));
                return Ok(ready);
            }
        }
    }

    async fn send(&self, queued: &Queued) -> Result<Taken, CallError> {
        let tries = self.pauses.get(&queued.number).map_or(0, |pause| pause.tries);
        let is_forgotten = is_planted(Mutation::RelayForgetsTheId);
        let id = if is_forgotten { queued.id.wrapping_add(tries.into()) } else { queued.id };
        let relay = wire::Relay { id, body: queued.body.to_vec(), hops: 0 };
        send(&self.upstreams, relay).await
    }

    async fn settle(&mut self, queued: &Queued, answer: Result<Taken, CallError>) -> Result<(), StoreError> {
        let why = match answer {
            Ok(Taken::Applied(..) | Taken::Ignored) => {
                self.counts.taken.fetch_add(1, Ordering::Relaxed);
                return self.forget(queued).await;
            }
            Ok(Taken::Refused(why)) => {
                tracing::warn!(id = queued.id, why, "the primary will never take a webhook, it is dropped");
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                return self.forget(queued).await;
            }
            Ok(Taken::Later(why)) => why,
            Err(error) => error.to_string(),
        };
        self.counts.failed(&why);
        let pause = self.pauses.entry(queued.number).or_insert(Pause { tries: 0, until: Instant::now() });
        let wait_ms = limits::RELAY_BACKOFF_MS_MIN << pause.tries.min(16);
        pause.tries += 1;
        pause.until = Instant::now() + Duration::from_millis(wait_ms.min(limits::RELAY_BACKOFF_MS_MAX));
        tracing::info!(id = queued.id, why, tries = pause.tries, "a webhook waits to be relayed again");
        Ok(())
    }

    async fn forget(&mut self, queued: &Queued) -> Result<(), StoreError> {
        self.pauses.remove(&queued.number);
        self.outbox.remove(queued.number).await
    }
}

/// On the way: what a node that follows others does with webhooks of other nodes.
pub struct Passing {
    upstreams: Vec<Arc<dyn Upstream>>,
    /// Those on their way through this node: one that comes back went in a circle.
    passing: Mutex<HashSet<u128>>,
}

/// A webhook on its way through this node, for as long as this lives.
struct OnTheWay<'a> {
    passing: &'a Mutex<HashSet<u128>>,
    id: u128,
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Passing {
    /// Passes them on to the first of `upstreams` that takes them; keeps nothing.
    #[must_use]
    pub fn new(upstreams: Vec<Arc<dyn Upstream>>) -> Self {
        Self { upstreams, passing: Mutex::default() }
    }

    /// What became of it.
    pub async fn pass(&self, relay: wire::Relay) -> Taken {
        if relay.hops >= limits::SYNC_HOPS_MAX {
            return Taken::Later("the webhook was passed on too often".to_owned());
        }
        let (passing, id) = (&self.passing, relay.id);
        if !passing.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return Taken::Later("the webhook is on its way through this node already".to_owned());
        }
        let _on_the_way = OnTheWay { passing, id };
        let relay = wire::Relay { hops: relay.hops + 1, ..relay };
        send(&self.upstreams, relay).await.unwrap_or_else(|error| Taken::Later(error.to_string()))
    }
}

/// Sends a webhook to `upstreams`, one after the other, until one knows what became of it. One that says `Later` may
/// have no way to the primary, or be on a circle with this node: the next one may know better.
///
/// # Errors
/// The last upstream's [`CallError`] when it did not answer.
pub async fn send(upstreams: &[Arc<dyn Upstream>], relay: wire::Relay) -> Result<Taken, CallError> {
    let mut last = Err(CallError::Lost("there is no upstream".to_owned()));
    for upstream in upstreams {
        last = send_to(&**upstream, relay.clone()).await;
        if matches!(last, Ok(Taken::Ignored | Taken::Applied(..) | Taken::Refused(_))) {
            break;
        }
    }
    last
}

async fn send_to(upstream: &dyn Upstream, relay: wire::Relay) -> Result<Taken, CallError> {
    let mut answer = Answer::of(upstream, Call::Webhook, relay.into()).await?;
    match answer.expect().await? {
        Message::Taken(taken) => Ok(taken),
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests;
