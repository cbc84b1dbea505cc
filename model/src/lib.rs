//! The shared vocabulary of Outpost: names, artifacts, assets, entries, items, jobs, the step graph, planning, error codes,
//! webhook events and limits.
//!
//! Owns the words and the pure rules that every other crate relies on. Refuses I/O, clocks and randomness: times
//! and tokens are arguments, so the same input always gives the same output. Nothing here can fail except by
//! returning a value that says so.

pub mod artifact;
pub mod asset;
pub mod budget;
pub mod entry;
pub mod error_code;
pub mod graph;
pub mod items;
pub mod job;
pub mod limits;
pub mod name;
pub mod planning;
pub mod position;
pub mod time;
pub mod webhook;
pub mod webhook_id;

pub use artifact::{ArtifactKey, InvalidKey, Level};
pub use asset::{AssetPath, AssetSplit, InvalidAssetPath};
pub use entry::{Body, DatasetRecord, Entry, PUBLIC_URL_PLACEHOLDER, REVISION_PLACEHOLDER, Visibility};
pub use error_code::ErrorCode;
pub use graph::{Queue, StepKind};
pub use items::{Changed, Item, ItemIndex, ItemRange, RangeSum, SetHash};
pub use job::{Job, JobId, JobState, JobStatus, Lease, NewJob, Priority};
pub use name::{ConfigName, DatasetName, InvalidName, Revision, SplitName};
pub use position::{Epoch, Position};
pub use time::TimestampMs;
pub use webhook_id::{InvalidWebhookId, WebhookId};
