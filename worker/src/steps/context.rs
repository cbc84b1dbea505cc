//! What a step works with: its job, earlier entries, the repository.
//!
//! Owns the blocking view of the authority and the validation of names. A failing authority is asked a few times;
//! then the run fails transiently, so that the queue repeats it later.

use std::sync::Arc;
use std::time::Duration;

use outpost_hub::Hub;
use outpost_loading::{LoadContext, LoadError, Repository, RepositoryCache};
use outpost_model::{ArtifactKey, ConfigName, Entry, ErrorCode, Job, SplitName, StepKind, limits};
use outpost_storage::{Authority, StorageError};

use super::StepLimits;
use super::failure::Failure;
use crate::assets::AssetSink;
use crate::media::DecodeBudget;
use crate::runtime::RunContext;

/// Tries of one read of an entry.
const READ_ATTEMPTS_MAX: u32 = 4;

pub(super) struct StepContext<'a> {
    pub(super) job: &'a Job,
    pub(super) run: &'a RunContext,
    pub(super) authority: &'a dyn Authority,
    pub(super) hub: &'a Arc<dyn Hub>,
    pub(super) repositories: &'a RepositoryCache,
    pub(super) limits: &'a StepLimits,
    /// Where assets go; without it media are refused.
    pub(super) assets: Option<&'a dyn AssetSink>,
    pub(super) decode_budget: &'a DecodeBudget,
}

impl StepContext<'_> {
    /// Whether the listings name the job's config and split. A listing that is missing or an error names nothing
    /// (worker-and-store.md section 3.8, last paragraph).
    pub(super) fn is_listed(&self) -> Result<bool, Failure> {
        let key = &self.job.key;
        let Some(config) = key.config() else { return Ok(true) };
        if !self.lists(StepKind::DatasetConfigNames, None, config.as_str())? {
            return Ok(false);
        }
        let Some(split) = key.split() else { return Ok(true) };
        self.lists(StepKind::ConfigSplitNames, Some(config), split.as_str())
    }

    fn lists(&self, kind: StepKind, config: Option<&ConfigName>, name: &str) -> Result<bool, Failure> {
        let listing = self.entry(&self.key_of(kind, config, None))?;
        Ok(listing.is_some_and(|entry| entry.is_ok() && entry.names.iter().any(|listed| listed == name)))
    }

    /// The key of another artifact of the job's dataset. `config` and `split` must be those that `kind` asks for.
    pub(super) fn key_of(
        &self,
        kind: StepKind,
        config: Option<&ConfigName>,
        split: Option<&SplitName>,
    ) -> ArtifactKey {
        ArtifactKey::new(kind, self.job.key.dataset().clone(), config.cloned(), split.cloned())
            .expect("each step asks for artifacts with the names of their level")
    }

    /// The job's config, for steps that are computed per config or split.
    pub(super) fn config(&self) -> Result<&ConfigName, Failure> {
        self.job.key.config().ok_or_else(|| misplaced(self.job))
    }

    /// The job's split, for steps that are computed per split.
    pub(super) fn split(&self) -> Result<&SplitName, Failure> {
        self.job.key.split().ok_or_else(|| misplaced(self.job))
    }

    /// An earlier entry.
    pub(super) fn entry(&self, key: &ArtifactKey) -> Result<Option<Entry>, Failure> {
        self.run.runtime.block_on(async {
            for attempt in 1.. {
                match self.authority.entry(key).await {
                    Ok(entry) => return Ok(entry),
                    Err(error) if attempt >= READ_ATTEMPTS_MAX || self.run.guard.must_stop() => {
                        return Err(unreadable(key, &error));
                    }
                    Err(error) => tracing::warn!(%error, "reading the entry `{key}` failed: {error}"),
                }
                let wait_ms = limits::AUTHORITY_RETRY_MIN_MS << (attempt - 1);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            unreachable!("the loop ends by returning")
        })
    }

    /// The entry that the step is built on; its error becomes the step's own error.
    pub(super) fn parent(&self, key: &ArtifactKey) -> Result<Entry, Failure> {
        match self.entry(key)? {
            None => Err(Failure::missing_parent(key)),
            Some(entry) if entry.is_ok() => Ok(entry),
            Some(entry) => Err(Failure::copied(&entry)),
        }
    }

    /// What files of the dataset are read with.
    pub(super) fn load_context(&self) -> LoadContext {
        LoadContext {
            hub: self.hub.clone(),
            runtime: self.run.runtime.clone(),
            guard: self.run.guard.clone(),
        }
    }

    /// Opens the dataset at the job's revision.
    pub(super) fn repository(&self) -> Result<Repository, LoadError> {
        self.repositories.open(&self.load_context(), self.job.key.dataset(), &self.job.revision)
    }
}

/// Keys are checked against their step's level, so this says that the graph and the code disagree.
fn misplaced(job: &Job) -> Failure {
    Failure::new(
        ErrorCode::UnexpectedError,
        &format!("The step '{}' needs a config or a split.", job.key.kind()),
    )
}

fn unreadable(key: &ArtifactKey, error: &StorageError) -> Failure {
    tracing::error!(%error, "reading the entry `{key}` failed: {error}");
    let message = "The results of earlier steps could not be read. The worker will try again later.";
    Failure::transient(ErrorCode::JobManagerCrashedError, message)
}
