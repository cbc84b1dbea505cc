//! A dataset repository at a revision, opened: its configs, splits, features and rows.
//!
//! Owns the pipeline of dataset-loading.md section 0. All calls block on the Hub; run them on a blocking thread.

mod archives;
mod cache;
mod config;
mod hub_errors;
mod open;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use outpost_formats::{DataFile, Features, Value};
use outpost_hub::Hub;
use outpost_model::{DatasetName, Revision};

use crate::error::LoadError;
use crate::guard::JobGuard;
use crate::listing::Listed;
use crate::python::repr_list;
use crate::resolve::Resolver;
use cache::Outline;
pub use cache::RepositoryCache;
use config::Config;
pub(crate) use hub_errors::load_error;

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
    /// Whether the split ended before the limit was reached.
    pub exhausted: bool,
}

/// A repository with its configs resolved.
pub struct Repository {
    files: RepositoryFiles,
    configs: Vec<Config>,
    default_config: Option<String>,
}

/// The repository's files, by pattern and by content.
struct RepositoryFiles {
    context: LoadContext,
    dataset: DatasetName,
    revision: Revision,
    resolver: Resolver,
    /// The file that was last looked at for its types.
    looked_at: Mutex<Option<DataFile>>,
    /// The archive that was last listed.
    listed: Mutex<Option<archives::Listed>>,
}

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
        let files = RepositoryFiles::new(context, dataset, revision, Listed::new());
        let outline = open::outline(&files)?;
        Ok(Self::of(files, &outline))
    }

    fn of(files: RepositoryFiles, outline: &Outline) -> Self {
        let configs = outline.configs.iter().map(|spec| Config::new(Arc::clone(spec))).collect();
        Self { files, configs, default_config: outline.default_config.clone() }
    }

    /// Config names in README order, or `default`.
    #[must_use]
    pub fn config_names(&self) -> Vec<String> {
        self.configs.iter().map(|config| config.name.clone()).collect()
    }

    /// The config that loading without a name takes (section 3.3).
    #[must_use]
    pub fn default_config(&self) -> Option<&str> {
        self.default_config.as_deref()
    }

    /// Split names of a config in their order (section 0, listing API).
    ///
    /// # Errors
    /// [`LoadError`] with the chain that listing the splits raises.
    pub fn split_names(&self, config: &str) -> Result<Vec<String>, LoadError> {
        let config = self.config(config)?;
        let files = config.files(&self.files)?;
        if let Some(splits) = &config.info.splits {
            return Ok(splits.clone());
        }
        match config.reader() {
            Ok(_) => config.announced(&self.files).map(drop),
            // Names of its files say nothing of a Lance dataset's splits.
            Err(left_out) if config.module == "lance" => Err(left_out),
            // The splits of other formats that are not read come from the files' names.
            Err(_) => Ok(()),
        }
        .map_err(splits_not_found)?;
        Ok(files.keys().cloned().collect())
    }

    /// Features of a split alone, when reading rows is not needed for them: known at open.
    ///
    /// # Errors
    /// [`LoadError`] when the config cannot be built.
    pub fn known_features(&self, config: &str) -> Result<Option<Features>, LoadError> {
        self.config(config)?.announced(&self.files)
    }

    /// The files that each split of a config reads, by path, in order.
    ///
    /// # Errors
    /// [`LoadError`] when the config cannot be built.
    pub fn data_files(&self, config: &str) -> Result<Vec<(String, Vec<String>)>, LoadError> {
        let files = self.config(config)?.files(&self.files)?;
        let paths = |(split, files): (&String, &Vec<Arc<outpost_hub::RepoFile>>)| {
            (split.clone(), files.iter().map(|file| file.path.clone()).collect())
        };
        Ok(files.iter().map(paths).collect())
    }

    /// The module that reads a config's files (section 1.1).
    ///
    /// # Errors
    /// [`LoadError`] when there is no such config.
    pub fn module_name(&self, config: &str) -> Result<&'static str, LoadError> {
        Ok(self.config(config)?.module)
    }

    /// Features and the first `limit` rows of a split, as plain iteration yields them (sections 5.1 to 5.3).
    ///
    /// # Errors
    /// [`LoadError`]; its phase tells where reading failed.
    pub fn first_rows(&self, config: &str, split: &str, limit: usize) -> Result<SplitHead, RowsError> {
        let config = self.config(config).map_err(RowsError::Info)?;
        rows::first_rows(&self.files, config, split, limit)
    }

    fn config(&self, name: &str) -> Result<&Config, LoadError> {
        self.configs.iter().find(|config| config.name == name).ok_or_else(|| {
            let known = repr_list(self.configs.iter().map(|config| config.name.as_str()));
            LoadError::new("ValueError", format!("BuilderConfig '{name}' not found. Available: {known}"))
        })
    }
}

/// The error of a failure while split generators are made.
fn splits_not_found(cause: LoadError) -> LoadError {
    // No wording of the original stands for our own limits, which say what to do.
    if cause.class == "LimitExceeded" {
        return cause;
    }
    LoadError::new("SplitsNotFoundError", "The split names could not be parsed from the dataset config.")
        .caused_by(cause)
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

impl RowsError {
    /// The error itself, whatever its phase.
    #[must_use]
    pub fn error(&self) -> &LoadError {
        match self {
            Self::Info(error) | Self::Features(error) | Self::Rows(error) => error,
        }
    }
}
