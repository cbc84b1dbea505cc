//! `outpostWebhooks`: ids of relayed webhooks that were applied, shared by all processes.
//!
//! Owns their bound in number; the database expires them by age. Marking one twice keeps its first time.

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::ReadConcern;
use outpost_model::{TimestampMs, WebhookId, limits};

use super::documents::fields::to_date;
use super::{Inner, names};
use crate::error::StorageError;

/// The field with the time of taking.
pub(super) const TAKEN_AT: &str = "taken_at";
/// One in so many new ids has them counted.
const COUNTED_EVERY: u64 = 256;

impl Inner {
    fn webhooks(&self) -> Collection<Document> {
        self.queue.collection(names::WEBHOOKS)
    }

    pub(super) async fn webhook_taken(&self, id: WebhookId) -> Result<bool, StorageError> {
        let webhooks = self.webhooks();
        let find = webhooks.find_one(doc! {"_id": id.to_string()}).read_concern(ReadConcern::majority());
        Ok(find.await?.is_some())
    }

    pub(super) async fn mark_webhook_taken(
        &self,
        id: WebhookId,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        let mark = doc! {"$setOnInsert": {TAKEN_AT: to_date(now)}};
        let webhooks = self.webhooks();
        let marked = webhooks.update_one(doc! {"_id": id.to_string()}, mark).upsert(true).await?;
        if marked.upserted_id.is_some() && fastrand::u64(..COUNTED_EVERY) == 0 {
            self.drop_surplus_webhooks(limits::WEBHOOK_IDS_MAX).await?;
        }
        Ok(())
    }

    /// Deletes the oldest ids beyond `kept`.
    pub(super) async fn drop_surplus_webhooks(&self, kept: u64) -> Result<(), StorageError> {
        let webhooks = self.webhooks();
        if webhooks.estimated_document_count().await? <= kept {
            return Ok(());
        }
        let newest_first = webhooks.find_one(doc! {}).sort(doc! {TAKEN_AT: -1}).skip(kept);
        let Some(first_surplus) = newest_first.await? else { return Ok(()) };
        if let Ok(at) = first_surplus.get_datetime(TAKEN_AT) {
            webhooks.delete_many(doc! {TAKEN_AT: {"$lte": at}}).await?;
        }
        Ok(())
    }
}
