//! Jobs and leases: what the queue holds.
//!
//! Owns the fields of dataset-viewer's `jobsBlue` (worker-and-store.md section 1.3) and the retry back-off. A claim
//! is a lease with a fencing token: a result is applied only while the token is the job's current one.

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactKey;
use crate::limits;
use crate::name::Revision;
use crate::time::TimestampMs;

/// Identifies a job within its authority; never reused. Wide enough for an ObjectId's 96 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u128);

/// Claims take higher priorities first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Maintenance and backfill.
    Low,
    /// Webhooks and cache misses.
    Normal,
    /// Operators.
    High,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority with this wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name)
    }
}

/// Whether a live job is claimed, under dataset-viewer's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Not claimed.
    Waiting,
    /// Claimed by a worker.
    Started,
}

impl JobStatus {
    /// Both, in the order of a job's life.
    pub const ALL: [Self; 2] = [Self::Waiting, Self::Started];

    /// The wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Started => "started",
        }
    }

    /// The status with this wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Not claimed; may be claimed from `not_before` on.
    Waiting {
        /// Earliest time of the next claim: the job's `created_at`, in the past for a fresh job.
        not_before: TimestampMs,
    },
    /// Claimed by a worker under a lease.
    Started {
        /// The lease's fencing token.
        token: u64,
        /// When it was claimed.
        started_at: TimestampMs,
        /// When the lease runs out unless a heartbeat renews it.
        lease_expires_at: TimestampMs,
        /// Whether a parent changed since the claim, so that the job must run once more after this run.
        rerun: bool,
    },
}

/// A job to be created by a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// What it computes.
    pub key: ArtifactKey,
    /// For which revision.
    pub revision: Revision,
    /// How urgent it is.
    pub priority: Priority,
    /// Expected cost, 0 to 100.
    pub difficulty: u8,
}

/// A live job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it computes.
    pub key: ArtifactKey,
    /// For which revision.
    pub revision: Revision,
    /// How urgent it is.
    pub priority: Priority,
    /// Expected cost, 0 to 100.
    pub difficulty: u8,
    /// Since when it may run: its creation, or the end of the back-off after its last failed run. Its age, by which
    /// claims are ordered, counts from here.
    pub created_at: TimestampMs,
    /// Runs that crashed, timed out or failed transiently so far.
    pub attempts: u32,
    /// Waiting or started.
    pub state: JobState,
}

impl Job {
    /// Whether it is claimed.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        if self.is_started() { JobStatus::Started } else { JobStatus::Waiting }
    }

    /// Whether a worker holds it.
    #[must_use]
    pub fn is_started(&self) -> bool {
        matches!(self.state, JobState::Started { .. })
    }
}

/// The right to apply the result of one run of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The fencing token of this claim.
    pub token: u64,
}

/// How long a job waits before its next run after `attempts` failed ones: doubling from
/// [`limits::RETRY_BACKOFF_MIN_MS`] up to [`limits::RETRY_BACKOFF_MAX_MS`].
#[must_use]
pub fn backoff_ms(attempts: u32) -> u64 {
    let doubled = limits::RETRY_BACKOFF_MIN_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    doubled.min(limits::RETRY_BACKOFF_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        assert_eq!(backoff_ms(1), limits::RETRY_BACKOFF_MIN_MS);
        assert_eq!(backoff_ms(2), 2 * limits::RETRY_BACKOFF_MIN_MS);
        assert_eq!(backoff_ms(u32::MAX), limits::RETRY_BACKOFF_MAX_MS);
    }
}
