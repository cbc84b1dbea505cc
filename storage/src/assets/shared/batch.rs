//! Assets on their way to a shared place.
//!
//! Owns the order that sharing rests on: all contents are written when the first manifest is. A content that another
//! asset has is written again only when it is so old that a scrub might be about to delete it. A batch that is given up
//! leaves contents that a scrub deletes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectMeta;
use outpost_model::{AssetPath, AssetSplit, limits};

use super::super::content::{self, Prepared};
use super::super::folder::now;
use super::super::{AssetBatch, check_new, check_rows};
use super::manifest::{self, AssetKey, Manifest, SharedAsset};
use super::objects::Waiting;
use super::{Inner, layout};
use crate::error::StorageError;

/// A content younger than this is safe for longer than a job can run.
const FRESH_CONTENT_MS_MAX: u64 = limits::ASSET_ORPHAN_AGE_MS_MIN / 2;
const _: () = assert!(FRESH_CONTENT_MS_MAX >= 2 * limits::JOB_DURATION_MS_MAX);

/// See the module.
pub(super) struct SharedBatch {
    inner: Arc<Inner>,
    /// The rows whose assets are to be those of the batch only.
    whole: Option<AssetSplit>,
    rows: BTreeMap<AssetSplit, BTreeMap<AssetKey, SharedAsset>>,
    /// Contents of this batch, by the hash of their stored bytes.
    contents: HashSet<[u8; 32]>,
    uploads: VecDeque<Waiting<(), StorageError>>,
}

impl SharedBatch {
    pub(super) fn new(inner: &Arc<Inner>, whole: Option<AssetSplit>) -> Self {
        let rows = whole.iter().map(|rows| (rows.clone(), BTreeMap::new())).collect();
        let (contents, uploads) = (HashSet::new(), VecDeque::new());
        Self { inner: Arc::clone(inner), whole, rows, contents, uploads }
    }

    /// Waits until at most so many uploads are left.
    fn wait(&mut self, left_max: usize) -> Result<(), StorageError> {
        while self.uploads.len() > left_max {
            let Some(oldest) = self.uploads.pop_front() else { break };
            oldest()?;
        }
        Ok(())
    }
}

impl AssetBatch for SharedBatch {
    fn put(&mut self, path: &AssetPath, content_type: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check_new(content_type, bytes)?;
        check_rows(self.whole.as_ref(), path)?;
        let hash = *blake3::hash(bytes).as_bytes();
        let Prepared { stored, compressed, stored_hash } = content::prepare(bytes, &hash)?;
        let asset = SharedAsset {
            content_type: content_type.to_owned(),
            bytes: bytes.len() as u64,
            hash,
            stored_bytes: stored.len() as u64,
            compressed,
            stored_hash,
        };
        if !self.contents.contains(&stored_hash) {
            self.wait(limits::ASSET_REQUESTS_IN_FLIGHT_MAX - 1)?;
            let is_large = stored.len() > limits::ASSET_UPLOADED_ASIDE_BYTES_MAX;
            let stored = Bytes::from(stored.into_owned());
            let upload =
                self.inner.objects.start_put(&layout::content(&stored_hash), stored, is_fresh_content);
            self.uploads.push_back(upload);
            if is_large {
                self.wait(0)?;
            }
            self.contents.insert(stored_hash);
        }
        self.rows.entry(path.rows().clone()).or_default().insert(AssetKey::of(path), asset);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        self.wait(0)?;
        let objects = &self.inner.objects;
        for (rows, assets) in std::mem::take(&mut self.rows) {
            let folder = layout::rows(&rows);
            let mut manifest = Manifest { rows, assets };
            if self.whole.is_none() {
                match manifest::read_newest(objects, &folder) {
                    Ok(Some((_, earlier))) => {
                        let added = std::mem::replace(&mut manifest.assets, earlier.assets);
                        manifest.assets.extend(added);
                    }
                    Ok(None) => {}
                    Err(StorageError::Damaged(cause)) => {
                        tracing::error!(%cause, "a manifest of assets is damaged and is replaced");
                    }
                    Err(error) => return Err(error),
                }
            }
            manifest::publish(objects, &manifest, now().0)?;
            self.inner.cache.forget(&folder);
        }
        Ok(())
    }
}

fn is_fresh_content(meta: &ObjectMeta) -> bool {
    age_ms(meta) < FRESH_CONTENT_MS_MAX
}

/// Time since an object was written, by this clock and that of the place.
pub(super) fn age_ms(meta: &ObjectMeta) -> u64 {
    let written_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
    now().0.saturating_sub(written_ms)
}
