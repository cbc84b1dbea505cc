//! The job runtime and the steps.
//!
//! Owns how jobs are claimed, run, watched over and settled ([`runtime`]), what each step computes ([`steps`]), how
//! first rows are fitted into their size ([`first_rows`]) and what readers get for media ([`media`], [`assets`]). Refuses storage engines and HTTP: state is behind
//! [`outpost_storage::Authority`], files behind [`outpost_hub::Hub`]. What a run ends with, success or any failure,
//! becomes a [`StepOutcome`]; nothing that a dataset holds ends a worker.

pub mod assets;
#[cfg(test)]
mod fake;
pub mod first_rows;
pub mod media;
pub mod outcome;
pub mod runtime;
pub mod steps;

pub use assets::{AssetError, AssetSink, NewAsset};
pub use outcome::{Cause, StepOutcome, StepResult};
pub use runtime::{StepRunner, SystemClock, WorkerConfig, WorkerGroup, WorkerHandle, WorkerPool};
pub use steps::{StepLimits, Steps};
