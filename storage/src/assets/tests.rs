//! The store of assets: what every backend promises, and what only the folder does.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use outpost_model::{AssetPath, AssetSplit, ConfigName, DatasetName, Revision, SplitName, TimestampMs};

use super::{AssetForm, AssetPlace, AssetStore, FolderAssets, SharedAssets};
use crate::error::StorageError;
use outpost_harness::moto::Bucket;

mod crash;
mod damage;
mod folder;
mod lifetime;
mod promises;
mod shared;

/// A place for each kind of store, which can be opened again.
enum Backend {
    Folder(tempfile::TempDir),
    SharedFolder(tempfile::TempDir),
    Bucket(Bucket),
}

impl Backend {
    fn folder() -> Option<Self> {
        Some(Self::Folder(tempfile::tempdir().unwrap()))
    }

    fn shared_folder() -> Option<Self> {
        Some(Self::SharedFolder(tempfile::tempdir().unwrap()))
    }

    /// `None` where there is no Python.
    fn bucket() -> Option<Self> {
        Bucket::create().map(Self::Bucket)
    }

    fn open(&self) -> Arc<dyn AssetStore> {
        match self {
            Self::Folder(directory) => Arc::new(FolderAssets::open(directory.path()).unwrap()),
            Self::SharedFolder(directory) => Arc::new(shared(directory.path())),
            Self::Bucket(bucket) => {
                let place = AssetPlace::parse(&format!("s3://{}/some/prefix", bucket.name)).unwrap();
                Arc::new(SharedAssets::open(&place, &bucket.variables).unwrap())
            }
        }
    }

    /// How often to do what takes requests, so that no backend takes minutes.
    fn often(&self, folder: u64) -> u64 {
        match self {
            Self::Folder(_) => folder,
            Self::SharedFolder(_) => folder / 2,
            Self::Bucket(_) => folder / 10,
        }
    }
}

fn shared(directory: &Path) -> SharedAssets {
    SharedAssets::open(&AssetPlace::Folder(directory.to_owned()), &[]).unwrap()
}

/// Runs each of these functions as a test on each backend.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        on_every_backend!(@ folder $($name)+);
        on_every_backend!(@ shared_folder $($name)+);
        on_every_backend!(@ bucket $($name)+);
    };
    (@ $backend:ident $($name:ident)+) => {
        mod $backend {
            $(#[test]
            fn $name() {
                if let Some(backend) = super::super::Backend::$backend() {
                    super::$name(&backend);
                }
            })+
        }
    };
}
use on_every_backend;

/// Later than everything that a test puts.
const LATER: TimestampMs = TimestampMs(u64::MAX);

fn rows(dataset: &str, split: &str, revision: &str) -> AssetSplit {
    AssetSplit {
        dataset: DatasetName::new(dataset).unwrap(),
        config: ConfigName::new("default").unwrap(),
        split: SplitName::new(split).unwrap(),
        revision: Revision::new(revision).unwrap(),
    }
}

fn path_in(rows: AssetSplit, row_idx: u64) -> AssetPath {
    AssetPath::new(rows, row_idx, "image", "image.jpg").unwrap()
}

fn path(row_idx: u64) -> AssetPath {
    path_in(rows("u/d", "train", "r1"), row_idx)
}

/// Bytes that do not compress, the same for the same arguments.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn store() -> (tempfile::TempDir, FolderAssets) {
    let directory = tempfile::tempdir().unwrap();
    let store = FolderAssets::open(directory.path()).unwrap();
    (directory, store)
}

fn reopened(directory: &Path, store: FolderAssets) -> FolderAssets {
    drop(store);
    FolderAssets::open(directory).unwrap()
}

/// The whole file at a path, `None` when there is none.
fn read(store: &dyn AssetStore, path: &AssetPath) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(asset) = store.open(path)? else { return Ok(None) };
    let length = asset.head.bytes;
    let mut bytes = Vec::new();
    let mut reader = asset.body.read(AssetForm::Identity, 0..length)?;
    reader.read_to_end(&mut bytes).map_err(|error| StorageError::Damaged(error.to_string()))?;
    Ok(Some(bytes))
}

fn file_count(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { file_count(&path) } else { 1 }).sum()
}
