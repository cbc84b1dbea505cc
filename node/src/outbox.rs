//! Webhooks at a replica: on disk before they are acknowledged, then on their way to the primary.
//!
//! Owns the two sides of the outbox: the handler that pushes and the relay that drains. What the Hub was told `ok` for
//! survives kills and restarts; a full outbox is a refusal.

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::DatasetName;
use outpost_model::webhook::WebhookEvent;
use outpost_storage::{Outbox, OutboxError, OutboxItem, StorageError};
use outpost_sync::relay::{self, Queued};
use outpost_sync::source::StoreError;
use tokio::sync::watch;

use crate::clock;
use crate::http::routes::webhook::{NotTaken, WebhookTaker};
use crate::intake::Taken;

/// See the module.
#[derive(Clone)]
pub struct ReplicaOutbox(pub Outbox);

#[async_trait]
impl WebhookTaker for ReplicaOutbox {
    async fn take(&self, event: WebhookEvent, body: Bytes) -> Result<Taken, NotTaken> {
        let Some(datasets) = datasets_of(event) else { return Ok(Taken::Ignored) };
        match self.0.push(&datasets, body, clock::now()).await {
            Ok(_) => Ok(Taken::Queued),
            Err(OutboxError::Full { .. }) => Err(NotTaken::Full),
            Err(OutboxError::Storage(error @ StorageError::DiskFull(_))) => {
                tracing::error!(%error, "a webhook was not taken");
                Err(NotTaken::NoDisk)
            }
            Err(OutboxError::Storage(error)) => Err(NotTaken::Failed(error.to_string())),
        }
    }
}

/// What an event is about, `None` when the primary would ignore it.
fn datasets_of(event: WebhookEvent) -> Option<Vec<DatasetName>> {
    match event {
        WebhookEvent::Ignored => None,
        WebhookEvent::Added { dataset }
        | WebhookEvent::Updated { dataset, .. }
        | WebhookEvent::Removed { dataset } => Some(vec![dataset]),
        WebhookEvent::Moved { from, to } => Some(vec![from, to]),
    }
}

#[async_trait]
impl relay::Outbox for ReplicaOutbox {
    async fn oldest(&self, after: Option<u64>, limit: usize) -> Result<Vec<Queued>, StoreError> {
        let items = self.blocking(move |outbox| outbox.oldest(after, limit)).await?;
        let queued = |item: OutboxItem| Queued {
            number: item.number,
            id: item.id.0,
            datasets: item.datasets,
            body: item.body,
        };
        Ok(items.into_iter().map(queued).collect())
    }

    async fn remove(&self, number: u64) -> Result<(), StoreError> {
        self.blocking(move |outbox| outbox.remove(number)).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.0.watch()
    }
}

impl ReplicaOutbox {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outbox = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&outbox)).await;
        Ok(done.map_err(|error| StoreError(error.to_string()))??)
    }
}
