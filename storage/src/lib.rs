//! Where state lives: the authority (cache and queue), the mirror, and assets.
//!
//! Owns durability: a call that returned has its effect on disk. The only crate that sees an embedded engine or a
//! database. Both are behind traits, and every backend passes the same contract suites.

pub mod assets;
pub mod authority;
mod blob;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod disk;
pub mod embedded;
pub mod error;
mod fault;
pub mod feed_source;
mod items;
mod kv;
mod lineage;
pub mod mirror;
pub mod mirror_store;
pub mod mongo;
pub mod operations;
pub mod outbox;
mod packing;
mod random;
mod record;
mod stored;
#[cfg(any(test, feature = "contract"))]
pub mod testing;

pub use assets::{Asset, AssetBatch, AssetForm, AssetHead, AssetPlace, AssetScope, AssetStore};
pub use assets::{FolderAssets, SharedAssets};
pub use authority::{
    Authority, Claim, Completion, DifficultyRange, Finished, QueueStats, ReleaseReason, Released, Submitted,
};
pub use disk::{Disk, DiskRoom, Room};
pub use embedded::EmbeddedStore;
pub use error::StorageError;
pub use feed_source::{FeedHead, FeedSource, StoredRecord};
pub use items::ItemsRead;
pub use mirror::{Changed, Mirror, MirrorEntry};
pub use mirror_store::MirrorStore;
pub use mongo::{MongoConfig, MongoStore, OpenError};
pub use operations::{
    Cursor, EntryCount, EntryReport, JobFilter, LiveJob, Operations, Overview, Page, QueueDepth,
    RegisteredWorker, ReportDepth, ReportFilter, WorkerReport,
};
pub use outbox::{Outbox, OutboxBounds, OutboxError, OutboxItem, OutboxStats};
