//! Assets: the files that rows point to, behind one trait for every place that can hold them.
//!
//! Owns what a job may rely on: a committed asset is on disk, equal files take the space of one, and what no entry
//! refers to any more goes. Refuses files above [`limits::ASSET_BYTES_MAX`]. All calls block: make them outside of
//! async code. Assets can be computed again, so a damaged one is dropped and reported.

mod content;
mod folder;
mod index;
mod keys;
mod lifetime;
mod reader;
mod records;
mod scrub;
mod shared;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::ops::Range;

use futures::FutureExt;
use futures::future::BoxFuture;
use outpost_model::{
    AssetPath, AssetSplit, ConfigName, DatasetName, Position, Revision, SplitName, TimestampMs, limits,
};

pub use self::folder::FolderAssets;
pub use self::lifetime::{follow, sweep};
pub use self::shared::{AssetPlace, InvalidAssetPlace, SharedAssets};
use crate::error::StorageError;

/// What is known of an asset without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetHead {
    /// The media type that it was put with.
    pub content_type: String,
    /// Length of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
    /// Length of its zstd form, when it is stored in that form.
    pub zstd_bytes: Option<u64>,
}

/// How the bytes of an asset are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetForm {
    /// The file as it was put.
    Identity,
    /// The zstd form, of an asset that has one.
    Zstd,
}

/// An asset that was found. It can be read to its end even when it is deleted meanwhile.
pub struct Asset {
    /// What is known without reading.
    pub head: AssetHead,
    /// Its bytes.
    pub body: Box<dyn AssetBody>,
}

/// The bytes of an asset.
pub trait AssetBody: Send {
    /// Reads `range` of the given form. Bytes that are not those that were put end in an error: at the latest where
    /// a whole file would end, within a part only when they are missing.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when there is no such form or range, [`StorageError::Engine`] when the disk fails.
    fn read(
        self: Box<Self>,
        form: AssetForm,
        range: Range<u64>,
    ) -> Result<Box<dyn Read + Send>, StorageError>;
}

/// Assets being put together. What was put and not committed may be lost or kept; the next sweep takes care of it.
pub trait AssetBatch: Send {
    /// Puts an asset, in place of an earlier one at the same path; within a batch each path comes once.
    /// `content_type` is a media type in visible ASCII, at most [`limits::ASSET_CONTENT_TYPE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails or a limit is broken; nothing of the call took effect.
    fn put(&mut self, path: &AssetPath, content_type: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Returns when everything put is on disk and can be read.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn commit(self: Box<Self>) -> Result<(), StorageError>;
}

/// Which assets are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetScope {
    /// All of a dataset.
    Dataset(DatasetName),
    /// Those of one split, at every revision.
    Split(DatasetName, ConfigName, SplitName),
    /// Those of one split at one revision.
    Rows(AssetSplit),
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AssetStats {
    /// Assets.
    pub assets: u64,
    /// Bytes of all assets, each counted.
    pub asset_bytes: u64,
    /// Different files among them.
    pub contents: u64,
    /// Bytes that the different files take, compressed where that saves space.
    pub stored_bytes: u64,
}

/// What a scrub found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetScrubReport {
    /// Different files that were read.
    pub contents_checked: u64,
    /// Those that were not what had been put, and were dropped.
    pub contents_damaged: u64,
    /// Assets that were dropped with them, or whose own record was damaged.
    pub assets_dropped: u64,
    /// Files and values that nothing referred to, and were deleted.
    pub orphans_deleted: u64,
    /// The rows that lost assets and must be computed again.
    pub rows_damaged: Vec<AssetSplit>,
}

/// A place that holds assets.
pub trait AssetStore: Send + Sync + 'static {
    /// The failure after which the store takes no more assets, once there is one; only opening it again helps. A shared
    /// store has none: each of its calls is tried anew.
    fn failed(&self) -> BoxFuture<'static, StorageError> {
        std::future::pending().boxed()
    }

    /// Begins a batch that adds to what is there. Batches for the same rows at the same time may undo each other.
    fn batch(&self) -> Box<dyn AssetBatch>;

    /// Begins a batch that holds all assets of `rows`: its commit deletes those that it does not have. Takes no assets
    /// of other rows. The commit fails with [`StorageError::LeaseLost`] when another batch for the same rows undid a
    /// part of it.
    fn replacing(&self, rows: &AssetSplit) -> Box<dyn AssetBatch>;

    /// The asset at `path`.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when its bytes are not those that were put, [`StorageError::Engine`] when the disk
    /// fails.
    fn open(&self, path: &AssetPath) -> Result<Option<Asset>, StorageError>;

    /// Deletes the assets of a scope that were put before a moment, those of the revisions in `keep` excepted. Returns
    /// how many.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn delete(
        &self,
        scope: &AssetScope,
        keep: &[Revision],
        put_before: TimestampMs,
    ) -> Result<u64, StorageError>;

    /// The rows in `scope`, or of all datasets, that have assets: at most `limit` of them, in an order of the store's
    /// own, from behind `after`.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn rows(
        &self,
        scope: Option<&AssetScope>,
        after: Option<&AssetSplit>,
        limit: usize,
    ) -> Result<Vec<AssetSplit>, StorageError>;

    /// Up to where the authority's changes have been followed, as told to [`AssetStore::set_followed`].
    fn followed(&self) -> Option<Position>;

    /// Remembers up to where the authority's changes have been followed. May be forgotten in a crash.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn set_followed(&self, position: Position) -> Result<(), StorageError>;

    /// Counts. A shared store reads all of its index for it.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn stats(&self) -> Result<AssetStats, StorageError>;

    /// Reads everything, drops what is damaged and deletes what nothing refers to.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn scrub(&self) -> Result<AssetScrubReport, StorageError>;

    /// Puts one asset and waits until it is on disk.
    ///
    /// # Errors
    /// As [`AssetBatch::put`] and [`AssetBatch::commit`].
    fn put(&self, path: &AssetPath, content_type: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let mut batch = self.batch();
        batch.put(path, content_type, bytes)?;
        batch.commit()
    }
}

/// A batch for some rows takes their assets only.
fn check_rows(whole: Option<&AssetSplit>, path: &AssetPath) -> Result<(), StorageError> {
    match whole {
        Some(rows) if rows != path.rows() => {
            Err(StorageError::Engine(format!("{path} is not an asset of the rows that are replaced")))
        }
        _ => Ok(()),
    }
}

fn check_new(content_type: &str, bytes: &[u8]) -> Result<(), StorageError> {
    if bytes.len() > limits::ASSET_BYTES_MAX {
        let (is, max) = (bytes.len(), limits::ASSET_BYTES_MAX);
        return Err(StorageError::Engine(format!(
            "an asset of {is} bytes was to be stored, at most {max} are"
        )));
    }
    let is_short = (1..=limits::ASSET_CONTENT_TYPE_BYTES_MAX).contains(&content_type.len());
    if is_short && content_type.bytes().all(|c| c.is_ascii_graphic() || c == b' ') {
        Ok(())
    } else {
        Err(StorageError::Engine(format!(
            "{:?} is not a media type",
            content_type.chars().take(100).collect::<String>()
        )))
    }
}
