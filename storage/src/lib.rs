//! Where state lives: the authority (cache and queue), the mirror, and assets.
//!
//! Owns durability: a call that returned has its effect on disk. The only crate that sees an embedded engine or a
//! database. Both are behind traits, and every backend passes the same contract suites.

pub mod assets;
pub mod authority;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
pub mod error;
mod kv;
pub mod mirror;
mod record;

pub use assets::{Asset, AssetBatch, AssetForm, AssetHead, AssetPlace, AssetScope, AssetStore};
pub use assets::{FolderAssets, SharedAssets};
pub use authority::{Authority, Claim, Completion, Finished, QueueStats, ReleaseReason, Released, Submitted};
pub use embedded::EmbeddedStore;
pub use error::StorageError;
pub use mirror::{Changed, Mirror, MirrorEntry};
