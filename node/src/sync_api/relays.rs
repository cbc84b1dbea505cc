//! Webhooks that other nodes pass on.
//!
//! Owns what the origin does with one: it is applied at most once for each id, whatever is sent twice or meets itself on
//! the way. A node that follows others passes it on and keeps nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::WebhookId;
use outpost_model::webhook::WebhookEvent;
use outpost_storage::StorageError;
use outpost_sync::Upstream;
use outpost_sync::relay::Passing;
use outpost_sync::wire::{Relay, Taken};
use tokio::sync::Mutex;

use super::node_desk::RelayTaker;
use crate::clock;
use crate::intake::{self, Intake};

const STRIPES: usize = 64;

/// The end of the way: the node with the authority.
pub struct OriginRelays {
    intake: Arc<Intake>,
    taking: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl OriginRelays {
    /// Gives them to `intake`.
    #[must_use]
    pub fn new(intake: Arc<Intake>) -> Self {
        Self { intake, taking: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    async fn apply(&self, relay: &Relay) -> Result<Taken, String> {
        let event = match WebhookEvent::parse(&relay.body) {
            Ok(event) => event,
            Err(invalid) => return Ok(Taken::Refused(invalid.to_string())),
        };
        let id = WebhookId(relay.id);
        let authority = self.intake.authority();
        let failed = |error: StorageError| error.to_string();
        // The same webhook over two ways is taken once.
        let _alone = self.taking[self.hasher.hash_one(relay.id) as usize % STRIPES].lock().await;
        if authority.webhook_taken(&id).await.map_err(failed)? {
            return Ok(Taken::Ignored);
        }
        let taken = self.intake.take(event).await.map_err(|error| error.to_string())?;
        authority.mark_webhook_taken(&id, clock::now()).await.map_err(failed)?;
        Ok(match taken {
            intake::Taken::Ignored | intake::Taken::Queued => Taken::Ignored,
            intake::Taken::Applied(submitted) | intake::Taken::NotSupported(submitted) => {
                Taken::Applied(submitted.position.epoch.0, submitted.position.seq)
            }
        })
    }
}

#[async_trait]
impl RelayTaker for OriginRelays {
    async fn take(&self, relay: Relay) -> Taken {
        self.apply(&relay).await.unwrap_or_else(|error| {
            tracing::error!(error, "failed to take a relayed webhook, it is sent again");
            Taken::Later("the primary could not take it; its log says why".to_owned())
        })
    }
}

/// On the way: a node that follows others.
pub struct PassingRelays {
    passing: Passing,
}

impl PassingRelays {
    /// Passes them on to the first of `upstreams` that takes them.
    #[must_use]
    pub fn new(upstreams: Vec<Arc<dyn Upstream>>) -> Self {
        Self { passing: Passing::new(upstreams) }
    }
}

#[async_trait]
impl RelayTaker for PassingRelays {
    async fn take(&self, relay: Relay) -> Taken {
        self.passing.pass(relay).await
    }
}
