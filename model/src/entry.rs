//! Entries: the stored form of artifacts, and the record kept per dataset.
//!
//! Owns the fields of dataset-viewer's `cachedResponsesBlue` (worker-and-store.md section 1.1) and the version
//! hash. Refuses to interpret the body: it is bytes to send.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactKey;
use crate::error_code::ErrorCode;
use crate::name::{DatasetName, Revision};
use crate::time::TimestampMs;

/// The JSON text of a response, as the step wrote it. May hold the literal `{dataset_git_revision}`.
pub type Body = Bytes;

/// Stands for the entry's revision in the asset URLs of a stored body (http-api.md section 6.4).
pub const REVISION_PLACEHOLDER: &str = "{dataset_git_revision}";
/// Stands for the public URL of the node that answers in the asset URLs of a stored body (design section 4).
pub const PUBLIC_URL_PLACEHOLDER: &str = "{node_public_url}";

/// Who may read a dataset, as the Hub says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Everyone.
    Public,
    /// Those who were granted access.
    Gated,
    /// Members only; also what an unknown visibility is treated as.
    Private,
}

/// What an authority knows about a dataset beside its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRecord {
    /// The dataset.
    pub dataset: DatasetName,
    /// The revision that jobs run for and entries are made of.
    pub revision: Revision,
    /// Who may read it.
    pub visibility: Visibility,
    /// When the Hub was last asked.
    pub checked_at: TimestampMs,
}

/// A computed artifact: a response with its status, or the error that stands in for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its address.
    pub key: ArtifactKey,
    /// HTTP status to answer with: 200 or the error's.
    pub http_status: u16,
    /// The error, `None` exactly when the status is 200.
    pub error_code: Option<ErrorCode>,
    /// The revision that it was computed for.
    pub revision: Revision,
    /// The response text.
    pub body: Body,
    /// JSON object with the full cause of an error, never sent to readers.
    pub details: Option<Bytes>,
    /// Configs (of `dataset-config-names`) or splits (of `config-split-names`) that the body lists, in its order;
    /// empty for every other kind and for errors.
    pub names: Vec<String>,
    /// Share of the parents that had been computed, `None` for errors.
    pub progress: Option<f64>,
    /// Version of the step that computed it.
    pub job_runner_version: u32,
    /// Failures in a row at this revision (worker-and-store.md section 3.6).
    pub failed_runs: u32,
    /// When it was stored.
    pub updated_at: TimestampMs,
    /// Milliseconds from the start of the job to the result.
    pub duration_ms: u64,
}

impl Entry {
    /// BLAKE3 of what a reader sees: status, error code, revision and body. Equal versions are equal answers.
    #[must_use]
    pub fn version(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.http_status.to_be_bytes());
        for part in [self.error_code.map_or("", ErrorCode::as_str), self.revision.as_str()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&self.body);
        *hasher.finalize().as_bytes()
    }

    /// Whether the entry is a successful response.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.error_code.is_none()
    }
}
