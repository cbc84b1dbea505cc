//! What other nodes ask for that the feed does not tell: answers for readers, webhooks, files.

use async_trait::async_trait;
use outpost_sync::Refusal;
use outpost_sync::server::Frames;
use outpost_sync::wire::{Asset, Found, Lookup, Relay, Taken};

/// Answers the calls that are not about the feed. Callers are trusted as far as the token goes: names, sizes and hops
/// are checked.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// What a reader here would be answered.
    ///
    /// # Errors
    /// [`Refusal`] when the question makes no sense.
    async fn lookup(&self, lookup: Lookup) -> Result<Found, Refusal>;

    /// Takes a webhook; when this returns, what it says is on disk.
    ///
    /// # Errors
    /// [`Refusal`] when the call makes no sense.
    async fn webhook(&self, relay: Relay) -> Result<Taken, Refusal>;

    /// A file or a part of it.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be looked for.
    async fn asset(&self, asset: Asset) -> Result<Frames, Refusal>;
}
