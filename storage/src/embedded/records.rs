//! The stored forms of the model's types.
//!
//! Owns the conversion both ways. Names and codes are stored as text and checked again when they are read, so that a
//! record that no longer fits the model's rules is damage, never a panic.

use bincode::{Decode, Encode};
use outpost_model::{
    ArtifactKey, ErrorCode, Job, JobId, JobState, Priority, Revision, SetHash, TimestampMs, limits,
};

use super::index::Indexed;
use crate::blob::Blob;
use crate::error::StorageError;
use crate::record::Record;
use crate::stored;

/// Layout of the whole store; another version is refused.
pub(super) const FORMAT_VERSION: u32 = 2;
/// The layout before, without an index, which is brought up to date.
pub(super) const FORMAT_VERSION_BEFORE: u32 = 1;

/// The store's counters, written with every commit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Meta {
    /// Which history.
    pub(super) epoch: u128,
    /// Seq of the last change.
    pub(super) seq: u64,
    /// Seq of the oldest change in the log; `seq + 1` when the log is empty.
    pub(super) log_first: u64,
    /// Id of the next job.
    pub(super) next_job: u64,
    /// Fencing tokens below this may have been given out.
    pub(super) tokens_reserved: u64,
    /// Id of the next blob.
    pub(super) next_blob: u64,
    /// Dataset records.
    pub(super) datasets: u64,
    /// Entries per (step name, HTTP status).
    pub(super) entries: Vec<(String, u16, u64)>,
    /// Rows of the index, and the sum of their items.
    pub(super) indexed: u64,
    pub(super) set_hash: SetHash,
}

impl Record for Meta {
    const TAG: u8 = b'm';
    const VERSION: u8 = 2;
}

impl Meta {
    pub(super) fn indexed(&self) -> Indexed {
        Indexed { records: self.indexed, set_hash: self.set_hash }
    }

    pub(super) fn set_indexed(&mut self, indexed: Indexed) {
        (self.indexed, self.set_hash) = (indexed.records, indexed.set_hash);
    }
}

/// [`Meta`] before there was an index.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct MetaBefore {
    pub(super) epoch: u128,
    pub(super) seq: u64,
    pub(super) log_first: u64,
    pub(super) next_job: u64,
    pub(super) tokens_reserved: u64,
    pub(super) next_blob: u64,
    pub(super) datasets: u64,
    pub(super) entries: Vec<(String, u16, u64)>,
}

impl Record for MetaBefore {
    const TAG: u8 = Meta::TAG;
    const VERSION: u8 = 1;
}

impl MetaBefore {
    /// The same with an index.
    pub(super) fn into_current(self, indexed: Indexed) -> Meta {
        let Self { epoch, seq, log_first, next_job, tokens_reserved, next_blob, datasets, entries } = self;
        let Indexed { records: indexed, set_hash } = indexed;
        Meta {
            epoch,
            seq,
            log_first,
            next_job,
            tokens_reserved,
            next_blob,
            datasets,
            entries,
            indexed,
            set_hash,
        }
    }
}

/// An entry without its large parts.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Head {
    pub(super) http_status: u16,
    pub(super) error_code: Option<String>,
    pub(super) revision: String,
    pub(super) version: [u8; 32],
    pub(super) body: Blob,
    pub(super) details: Option<Blob>,
    /// A [`Names`] record.
    pub(super) names: Option<Blob>,
    pub(super) progress: Option<f64>,
    pub(super) job_runner_version: u32,
    pub(super) failed_runs: u32,
    pub(super) updated_at_ms: u64,
    pub(super) duration_ms: u64,
}

impl Record for Head {
    const TAG: u8 = b'e';
    const VERSION: u8 = 1;
}

impl Head {
    pub(super) fn error_code(&self) -> Result<Option<ErrorCode>, StorageError> {
        stored::error_code(self.error_code.as_deref())
    }

    pub(super) fn revision(&self) -> Result<Revision, StorageError> {
        stored::revision(&self.revision)
    }

    /// Every blob that the entry refers to.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        [Some(&self.body), self.details.as_ref(), self.names.as_ref()].into_iter().flatten()
    }
}

/// Entries of one class.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct StoredCount(pub(super) u64);

impl Record for StoredCount {
    const TAG: u8 = b'c';
    const VERSION: u8 = 1;
}

/// The configs or splits that a listing names.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Names(pub(super) Vec<String>);

impl Record for Names {
    const TAG: u8 = b'n';
    const VERSION: u8 = 1;
}

/// A live job and what only the store counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LiveJob {
    pub(super) job: Job,
    /// Runs that ended with the process.
    pub(super) interruptions: u32,
}

impl LiveJob {
    /// Whether the job was running at so many ends of the process that it may be their cause.
    pub(super) fn is_suspect(&self) -> bool {
        self.interruptions > limits::JOB_INTERRUPTIONS_UNSUSPECTED_MAX
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct StoredJob {
    key: Vec<u8>,
    revision: String,
    priority: u8,
    difficulty: u8,
    created_at_ms: u64,
    attempts: u32,
    interruptions: u32,
    state: StoredJobState,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum StoredJobState {
    Waiting { not_before_ms: u64 },
    Started { token: u64, started_at_ms: u64, lease_expires_at_ms: u64, rerun: bool },
}

impl Record for StoredJob {
    const TAG: u8 = b'j';
    const VERSION: u8 = 1;
}

impl StoredJob {
    pub(super) fn new(live: &LiveJob) -> Self {
        let job = &live.job;
        let state = match job.state {
            JobState::Waiting { not_before } => StoredJobState::Waiting { not_before_ms: not_before.0 },
            JobState::Started { token, started_at, lease_expires_at, rerun } => StoredJobState::Started {
                token,
                started_at_ms: started_at.0,
                lease_expires_at_ms: lease_expires_at.0,
                rerun,
            },
        };
        let priority = match job.priority {
            Priority::Low => 0,
            Priority::Normal => 1,
            Priority::High => 2,
        };
        Self {
            key: job.key.to_bytes(),
            revision: job.revision.as_str().to_owned(),
            priority,
            difficulty: job.difficulty,
            created_at_ms: job.created_at.0,
            attempts: job.attempts,
            interruptions: live.interruptions,
            state,
        }
    }

    pub(super) fn into_live(self, id: JobId) -> Result<LiveJob, StorageError> {
        let state = match self.state {
            StoredJobState::Waiting { not_before_ms } => {
                JobState::Waiting { not_before: TimestampMs(not_before_ms) }
            }
            StoredJobState::Started { token, started_at_ms, lease_expires_at_ms, rerun } => {
                JobState::Started {
                    token,
                    started_at: TimestampMs(started_at_ms),
                    lease_expires_at: TimestampMs(lease_expires_at_ms),
                    rerun,
                }
            }
        };
        let priority = match self.priority {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => return Err(damaged("unknown priority")),
        };
        let job = Job {
            id,
            key: ArtifactKey::from_bytes(&self.key).ok_or_else(|| damaged("invalid artifact key"))?,
            revision: Revision::new(&self.revision).map_err(|_| damaged("invalid revision"))?,
            priority,
            difficulty: self.difficulty,
            created_at: TimestampMs(self.created_at_ms),
            attempts: self.attempts,
            state,
        };
        Ok(LiveJob { job, interruptions: self.interruptions })
    }
}

fn damaged(why: &str) -> StorageError {
    StorageError::Damaged(why.to_owned())
}
