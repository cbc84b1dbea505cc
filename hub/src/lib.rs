//! The Hub behind one trait: an HTTP client and a local folder.
//!
//! Owns repo info, file lists, ranged reads and access checks (dataset-loading.md section 6, http-api.md section 3).
//! Refuses to interpret files. Every failure is a [`HubError`] that says whether trying again may help.

pub mod error;
mod folder;
mod front_matter;
mod http;
mod listing;
mod repo_path;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::{DatasetName, Revision, Visibility};

pub use error::HubError;
pub use folder::{FolderHub, FolderHubOptions};
pub use http::{Backoff, HttpHub, HttpHubOptions, InvalidOptions, Sleep, client_builder};

/// What the Hub says about a dataset repository (`GET /api/datasets/{id}`).
#[derive(Debug, Clone, PartialEq)]
pub struct RepoInfo {
    /// The id, in the Hub's spelling.
    pub dataset: DatasetName,
    /// The head of the asked revision (`sha`).
    pub revision: Revision,
    /// From `private` and `gated`.
    pub visibility: Visibility,
    /// Access is disabled.
    pub disabled: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// `cardData.viewer` is present and falsy.
    pub viewer_disabled: bool,
}

/// One file of a repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Path from the repository root, `/`-separated.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// What the Hub says about a caller's access to a dataset (http-api.md section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// 200: may read.
    Granted,
    /// 401: missing, private or gated, and the caller has no credentials.
    Unauthenticated,
    /// 403 or 404: missing, private or gated for these credentials.
    Denied,
    /// 307: the dataset has another name now.
    Renamed,
}

/// A dataset and the revision that it stands at, as a listing or a change says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetHead {
    /// The dataset.
    pub dataset: DatasetName,
    /// The head of `main`; `None` when the dataset is gone.
    pub revision: Option<Revision>,
}

/// The Hub, remote or a folder. Implementations are shared between tasks.
#[async_trait]
pub trait Hub: Send + Sync + 'static {
    /// The URL or path that it stands for, for messages.
    fn describe(&self) -> String;

    /// The datasets that exist, at most `limit`. A remote Hub lists the public ones.
    async fn list_datasets(&self, limit: usize) -> Result<Vec<DatasetName>, HubError>;

    /// Info of a dataset at `revision`, or at the head of `main`.
    async fn repo_info(
        &self,
        dataset: &DatasetName,
        revision: Option<&Revision>,
    ) -> Result<RepoInfo, HubError>;

    /// All files at `revision` under `folder` (`""` for the root), recursively, sorted by path in code-point order.
    /// [`HubError::EntryNotFound`] when there is no such folder; the root always exists.
    async fn list_files(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        folder: &str,
    ) -> Result<Vec<RepoFile>, HubError>;

    /// Bytes `offset..offset + length` of a file, shorter only at its end. `length` is at most
    /// [`outpost_model::limits::RANGE_BYTES_MAX`].
    async fn read_range(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, HubError>;

    /// A whole small file, `None` when it does not exist; [`HubError::TooLarge`] above `bytes_max`.
    async fn read_file(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, HubError>;

    /// The public address of a file at a revision (`{endpoint}/datasets/{id}/resolve/{revision}/{path}`), which readers
    /// of the API fetch by themselves; `None` when this Hub has no such addresses or the path cannot name a file.
    fn resolve_url(&self, dataset: &DatasetName, revision: &Revision, path: &str) -> Option<String> {
        let (_, _, _) = (dataset, revision, path);
        None
    }

    /// Asks whether a caller with this `Authorization` header may read the dataset. No retries: a reader waits.
    async fn auth_check(
        &self,
        dataset: &DatasetName,
        authorization: Option<&str>,
    ) -> Result<Access, HubError>;

    /// The account that the node's own token belongs to, `None` without a token (`/api/whoami-v2`).
    async fn whoami(&self) -> Result<Option<String>, HubError>;

    /// Waits for changes since the last call and returns them; the first call returns every dataset. A Hub that tells
    /// of changes by webhook never returns.
    async fn changes(&self) -> Result<Vec<DatasetHead>, HubError>;
}
