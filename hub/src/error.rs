//! Why the Hub did not answer as asked.
//!
//! Owns the mapping of `huggingface_hub`'s error classes (dataset-loading.md section 6). [`HubError::is_transient`]
//! decides about retries, here and in the queue.

/// A failed call to the Hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The repository does not exist, or is private and the token may not see it.
    #[error("dataset '{0}' does not exist on the Hub or cannot be accessed")]
    RepoNotFound(String),
    /// The repository is gated and the token was not granted access.
    #[error("dataset '{0}' is gated on the Hub and the node's token was not granted access")]
    Gated(String),
    /// Access to the repository is disabled.
    #[error("access to dataset '{0}' is disabled on the Hub")]
    Disabled(String),
    /// The repository has no such revision.
    #[error("revision '{0}' does not exist")]
    RevisionNotFound(String),
    /// The revision has no such file or folder.
    #[error("'{0}' does not exist in the repository")]
    EntryNotFound(String),
    /// A file is larger than the caller can take.
    #[error("'{path}' has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The Hub answered with a status that no retry changed.
    #[error("the Hub answered {status} to {url}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// What was asked, without credentials.
        url: String,
        /// `X-Error-Message` or the start of the body.
        message: String,
    },
    /// The Hub could not be reached or did not answer in time.
    #[error("the Hub could not be reached: {0}")]
    Unreachable(String),
    /// The Hub answered with something that is not its API.
    #[error("the Hub's answer could not be understood: {0}")]
    Protocol(String),
    /// A file of a folder Hub could not be read.
    #[error("reading the folder Hub failed: {0}")]
    Folder(String),
}

impl HubError {
    /// Whether the same call may succeed later without anyone changing the dataset.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RepoNotFound(_)
            | Self::Gated(_)
            | Self::Disabled(_)
            | Self::RevisionNotFound(_)
            | Self::EntryNotFound(_)
            | Self::TooLarge { .. }
            | Self::Protocol(_) => false,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Unreachable(_) | Self::Folder(_) => true,
        }
    }
}
