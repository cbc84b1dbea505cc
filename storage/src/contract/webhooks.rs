//! Ids of relayed webhooks: known once marked, by everyone.

use std::time::SystemTime;

use outpost_model::{TimestampMs, WebhookId};

use super::Subject;

/// Databases expire by their own clock.
fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    TimestampMs(u64::try_from(since.as_millis()).unwrap())
}

pub async fn a_webhook_is_taken_once_it_was_marked(subject: &mut dyn Subject) {
    let authority = subject.authority();
    let (one, other) = (WebhookId(1 << 100 | 1), WebhookId(u128::MAX));
    assert!(!authority.webhook_taken(&one).await.unwrap());
    authority.mark_webhook_taken(&one, now()).await.unwrap();
    authority.mark_webhook_taken(&one, now()).await.unwrap();
    assert!(authority.webhook_taken(&one).await.unwrap());
    assert!(!authority.webhook_taken(&other).await.unwrap());
}

pub async fn taken_webhooks_survive_a_restart(subject: &mut dyn Subject) {
    let id = WebhookId(7);
    subject.authority().mark_webhook_taken(&id, now()).await.unwrap();
    subject.reopen().await;
    assert!(subject.authority().webhook_taken(&id).await.unwrap());
}
