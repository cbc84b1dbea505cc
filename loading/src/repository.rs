//! A dataset repository at a revision, opened: its configs, splits, features and rows.
//!
//! Owns the pipeline of dataset-loading.md section 0. All calls block on the Hub; run them on a blocking thread.

use std::sync::Arc;

use outpost_formats::{Features, Value};
use outpost_hub::Hub;
use outpost_model::{DatasetName, Revision};

use crate::error::LoadError;
use crate::guard::JobGuard;

/// What opening a repository needs.
#[derive(Clone)]
pub struct LoadContext {
    /// Where the files are.
    pub hub: Arc<dyn Hub>,
    /// Runs the Hub's asynchronous calls.
    pub runtime: tokio::runtime::Handle,
    /// Ends the job when it must end, counts bytes.
    pub guard: Arc<JobGuard>,
}

/// The first rows of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitHead {
    /// Column types, in order.
    pub features: Features,
    /// Rows in order; each names the columns that it has, which may differ from `features` (section 5.3).
    pub rows: Vec<Vec<(Arc<str>, Value)>>,
    /// Whether the split has no further row.
    pub exhausted: bool,
}

/// A repository with its configs resolved.
pub struct Repository {}

impl Repository {
    /// Reads the repository's metadata and resolves its configs (section 0 steps 1 to 10).
    ///
    /// # Errors
    /// [`LoadError`] with the chain that listing the configs raises.
    pub fn open(
        context: &LoadContext,
        dataset: &DatasetName,
        revision: &Revision,
    ) -> Result<Self, LoadError> {
        let _ = (context, dataset, revision);
        Err(LoadError::new("NotImplementedError", "loading is not built yet"))
    }

    /// Config names in README order, or `default`.
    #[must_use]
    pub fn config_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The config that loading without a name takes (section 3.3).
    #[must_use]
    pub fn default_config(&self) -> Option<&str> {
        None
    }

    /// Split names of a config in their order (section 0, listing API).
    ///
    /// # Errors
    /// [`LoadError`] with the chain that listing the splits raises.
    pub fn split_names(&self, config: &str) -> Result<Vec<String>, LoadError> {
        Err(LoadError::new("NotImplementedError", config))
    }

    /// Features of a split alone, when reading rows is not needed for them: known at open.
    ///
    /// # Errors
    /// [`LoadError`] when the config cannot be built.
    pub fn known_features(&self, config: &str) -> Result<Option<Features>, LoadError> {
        Err(LoadError::new("NotImplementedError", config))
    }

    /// Features and the first `limit` rows of a split, as plain iteration yields them (sections 5.1 to 5.3).
    ///
    /// # Errors
    /// [`LoadError`]; its phase tells where reading failed.
    pub fn first_rows(&self, config: &str, split: &str, limit: usize) -> Result<SplitHead, RowsError> {
        let _ = (split, limit);
        Err(RowsError::Info(LoadError::new("NotImplementedError", config)))
    }
}

/// Where getting the first rows failed; each phase has its own error code (worker-and-store.md section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// Building the config or its split: `InfoError`.
    #[error("the config could not be built: {0}")]
    Info(#[source] LoadError),
    /// Inferring the features from rows: `FeaturesError`.
    #[error("the features could not be inferred: {0}")]
    Features(#[source] LoadError),
    /// Reading rows: `StreamingRowsError`.
    #[error("the rows could not be read: {0}")]
    Rows(#[source] LoadError),
}
