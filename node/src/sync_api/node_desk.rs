//! The desk of a node: its own read path, its way for webhooks, its assets.
//!
//! Owns the checks of what other nodes name, and the form of the answers. What this node cannot answer it passes on, as
//! its read path does, at most [`limits::SYNC_HOPS_MAX`] times.

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use outpost_model::{ArtifactKey, AssetPath, DatasetName, StepKind, limits};
use outpost_storage::mirror_store::{EntryPut, PackedBody};
use outpost_storage::{AssetForm, AssetHead, MirrorEntry, StorageError};
use outpost_sync::adapter::entry_record;
use outpost_sync::server::Frames;
use outpost_sync::wire::{self, Message};
use outpost_sync::{Refusal, RefusalCode, frame, record};
use std::time::Duration;

use super::Desk;
use crate::clock;
use crate::http::App;
use crate::http::error::{ApiError, Caller, Mark};
use crate::http::promises::Demand;
use crate::http::read::{Missed, Why};
use crate::http::routes::assets::Fetched;

/// Takes webhooks that other nodes pass on.
#[async_trait]
pub trait RelayTaker: Send + Sync + 'static {
    /// What became of it.
    async fn take(&self, relay: wire::Relay) -> wire::Taken;
}

/// See the module.
pub struct NodeDesk {
    app: App,
    webhooks: Arc<dyn RelayTaker>,
}

impl NodeDesk {
    /// Answers from the node's own state.
    #[must_use]
    pub fn new(app: App, webhooks: Arc<dyn RelayTaker>) -> Self {
        Self { app, webhooks }
    }

    fn found(
        &self,
        key: Option<&ArtifactKey>,
        result: Result<(MirrorEntry, Option<Mark>), ApiError>,
    ) -> wire::Found {
        // Looked at once the answer is there: it shows nothing newer.
        let mine = Mark { position: self.app.read.seen(), age: self.app.read.vantage().age() };
        let (answer, mark) = match (result, key) {
            (Ok((entry, mark)), Some(key)) => (entry_answer(key, entry), mark),
            (Ok(_), None) => (error_answer(&ApiError::not_found()), None),
            (Err(error), _) => {
                let mark = error.mark.as_deref().copied();
                let caused = error.position.map(|position| Mark { position, ..mine });
                (error_answer(&error), mark.or(caused))
            }
        };
        let mark = mark.unwrap_or(mine);
        wire::Found {
            position: (mark.position.epoch.0, mark.position.seq),
            age_ms: mark.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            answer,
        }
    }
}

#[async_trait]
impl Desk for NodeDesk {
    async fn lookup(&self, lookup: wire::Lookup) -> Result<wire::Found, Refusal> {
        let kind = StepKind::from_name(&lookup.kind);
        let kind = kind.ok_or_else(|| malformed("there is no such step here; upgrade the older node"))?;
        let dataset = DatasetName::new(&lookup.dataset).map_err(|error| malformed(&error.to_string()))?;
        let key = lookup.key.as_deref().map(record::artifact_key).transpose();
        let key = key.map_err(|error| malformed(&error.to_string()))?;
        if key.as_ref().is_some_and(|key| key.kind() != kind || *key.dataset() != dataset) {
            return Err(malformed("the key is not of the dataset and the step"));
        }
        let caller = if lookup.has_credentials { Caller::WithCredentials } else { Caller::Anonymous };
        let demand = Demand {
            after: lookup.after.map(record::position),
            age_max: lookup.age_ms_max.map(Duration::from_millis),
        };
        let missed = Missed {
            dataset: &dataset,
            kind,
            key: key.as_ref(),
            caller,
            demand,
            hops: lookup.hops,
            why: Why::Absent,
        };
        let result = self.app.read.find(missed).await;
        Ok(self.found(key.as_ref(), result))
    }

    async fn webhook(&self, relay: wire::Relay) -> Result<wire::Taken, Refusal> {
        if relay.body.len() > limits::WEBHOOK_BODY_BYTES_MAX {
            return Err(malformed("the webhook is too large"));
        }
        if relay.hops > limits::SYNC_HOPS_MAX {
            return Err(malformed("the webhook was passed on too often"));
        }
        Ok(self.webhooks.take(relay).await)
    }

    async fn asset(&self, asset: wire::Asset) -> Result<Frames, Refusal> {
        let path = AssetPath::parse(&asset.path).map_err(|error| malformed(&error.to_string()))?;
        let readable = self.app.read.check_public(&path.rows().dataset, Caller::Anonymous).await;
        if readable.is_err() {
            return Ok(no_asset());
        }
        if let Some(frames) = self.asset_here(&path, &asset).await? {
            return Ok(frames);
        }
        let Some(source) = self.app.asset_source.as_ref().filter(|_| asset.hops < limits::SYNC_HOPS_MAX)
        else {
            return Ok(no_asset());
        };
        match source.fetch(&path, asset.hops + 1).await {
            Ok(Fetched::Passing(passing)) => {
                let range = range_of(&asset, passing.head().bytes);
                let head = head_of(passing.head());
                let bytes = passing.read(range).await.map_err(|error| failed(&error.message))?;
                let whole = bytes.take_while(|part| std::future::ready(part.is_ok()));
                let parts =
                    whole.filter_map(|part| async move { part.ok().map(|part| part_frame(part.to_vec())) });
                Ok(super::once(&head.into()).chain(parts).boxed())
            }
            Ok(Fetched::Missing) => Ok(no_asset()),
            Err(error) => Err(failed(&error.message)),
        }
    }
}

impl NodeDesk {
    /// The asset from the node's own store, `None` when it is not there.
    async fn asset_here(&self, path: &AssetPath, asset: &wire::Asset) -> Result<Option<Frames>, Refusal> {
        let (assets, path, asset) = (Arc::clone(&self.app.assets), path.clone(), asset.clone());
        let opening = tokio::task::spawn_blocking(move || read_asset(&*assets, &path, &asset));
        match opening.await {
            Ok(Ok(found)) => Ok(found.map(|(head, reader)| parts(head, reader))),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

type Reader = Box<dyn Read + Send>;

fn read_asset(
    assets: &dyn outpost_storage::AssetStore,
    path: &AssetPath,
    asset: &wire::Asset,
) -> Result<Option<(wire::AssetHead, Reader)>, StorageError> {
    let Some(found) = assets.open(path)? else { return Ok(None) };
    let head = head_of(&found.head);
    let range = range_of(asset, found.head.bytes);
    Ok(Some((head, found.body.read(AssetForm::Identity, range)?)))
}

/// The bytes that are asked for, of those that there are.
fn range_of(asset: &wire::Asset, length: u64) -> std::ops::Range<u64> {
    let end = asset.bytes.map_or(length, |bytes| asset.from.saturating_add(bytes).min(length));
    asset.from.min(end)..end
}

fn head_of(head: &AssetHead) -> wire::AssetHead {
    wire::AssetHead {
        content_type: head.content_type.clone(),
        bytes: head.bytes,
        hash: head.hash,
        is_found: true,
    }
}

fn no_asset() -> Frames {
    let head = wire::AssetHead { content_type: String::new(), bytes: 0, hash: [0; 32], is_found: false };
    super::once(&head.into())
}

/// Read part by part, as they are taken. One that cannot be read ends the stream early: its length tells.
fn parts(head: wire::AssetHead, reader: Reader) -> Frames {
    let parts = futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let read = tokio::task::spawn_blocking(move || {
            let mut part = Vec::with_capacity(limits::SYNC_ASSET_PART_BYTES);
            let whole = reader.by_ref().take(limits::SYNC_ASSET_PART_BYTES as u64).read_to_end(&mut part);
            whole.map(|_| (part, reader))
        });
        match read.await {
            Ok(Ok((part, _))) if part.is_empty() => None,
            Ok(Ok((part, reader))) => Some((part_frame(part), Some(reader))),
            Ok(Err(error)) => {
                tracing::error!(%error, "failed to read an asset for another node");
                None
            }
            Err(error) => {
                tracing::error!(%error, "reading an asset for another node panicked");
                None
            }
        }
    });
    super::once(&head.into()).chain(parts).boxed()
}

fn part_frame(bytes: Vec<u8>) -> Bytes {
    frame::encode(&Message::Part(wire::Part { bytes }))
}

fn entry_answer(key: &ArtifactKey, entry: MirrorEntry) -> wire::Answer {
    let packed = PackedBody::pack(&entry.body).map(|body| EntryPut {
        key: key.clone(),
        http_status: entry.http_status,
        error_code: entry.error_code,
        revision: entry.revision,
        updated_at: clock::now(),
        version: entry.version,
        body,
        source: None,
    });
    match packed {
        Ok(put) => wire::Answer::Entry(entry_record(put).to_wire()),
        Err(error) => {
            tracing::error!(%error, "failed to pack a response for another node");
            error_answer(&ApiError::unexpected())
        }
    }
}

fn error_answer(error: &ApiError) -> wire::Answer {
    wire::Answer::Error {
        http_status: error.code.http_status(),
        error_code: Some(error.code.as_str().to_owned()),
        message: error.message.to_string(),
        retry_after_s: error.retry_after_s.and_then(|seconds| u32::try_from(seconds).ok()),
    }
}

fn malformed(words: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, words)
}

fn failed(cause: &str) -> Refusal {
    tracing::error!(cause, "failed to read an asset for another node");
    Refusal::new(RefusalCode::Failed, "this node's store failed; its log says why")
}
