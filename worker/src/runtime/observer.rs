//! What the runtime tells about itself.
//!
//! Owns the report of a run, for metrics, and its line in the log. An observer only listens; it must not block.

use outpost_model::{ArtifactKey, ErrorCode};

/// How a run was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// An entry was stored: a success or this error.
    Stored {
        /// The error.
        error_code: Option<ErrorCode>,
    },
    /// The job ended without an entry.
    Nothing,
    /// The run failed and waits to be repeated.
    Requeued {
        /// What its entry would have said.
        error_code: ErrorCode,
        /// Failed runs so far.
        attempts: u32,
    },
    /// The job was given back because the node shuts down.
    Drained,
    /// The lease was lost, the result was dropped.
    LeaseLost,
    /// The authority did not take the result, the lease is left to run out.
    Unsettled,
}

impl JobOutcome {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored { error_code: None } => "ok",
            Self::Stored { error_code: Some(_) } => "error",
            Self::Nothing => "nothing",
            Self::Requeued { .. } => "requeued",
            Self::Drained => "drained",
            Self::LeaseLost => "lease_lost",
            Self::Unsettled => "unsettled",
        }
    }

    /// The error that the outcome carries.
    #[must_use]
    pub fn error_code(self) -> Option<ErrorCode> {
        match self {
            Self::Stored { error_code } => error_code,
            Self::Requeued { error_code, .. } => Some(error_code),
            Self::Nothing | Self::Drained | Self::LeaseLost | Self::Unsettled => None,
        }
    }
}

/// One run, settled.
#[derive(Debug, Clone, PartialEq)]
pub struct JobReport {
    /// What was computed.
    pub key: ArtifactKey,
    /// How it ended.
    pub outcome: JobOutcome,
    /// Milliseconds from the claim to the end of the run.
    pub duration_ms: u64,
    /// Bytes had from the Hub.
    pub bytes_read: u64,
    /// Jobs created for children.
    pub jobs_created: usize,
}

impl JobReport {
    /// Writes the run's line.
    pub(super) fn log(&self) {
        let error_code = self.outcome.error_code().map_or("", ErrorCode::as_str);
        tracing::info!(
            job.kind = %self.key.kind(),
            job.dataset = %self.key.dataset(),
            job.config = self.key.config().map(tracing::field::display),
            job.split = self.key.split().map(tracing::field::display),
            outcome = self.outcome.as_str(),
            error_code,
            duration_ms = self.duration_ms,
            bytes_read = self.bytes_read,
            jobs_created = self.jobs_created,
            "job `{}` ended: {}",
            self.key,
            self.outcome.as_str(),
        );
    }
}

/// Listens to the runtime, for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A job was claimed and begins to run; its end is told with [`Observer::job_ended`].
    fn job_started(&self, key: &ArtifactKey) {
        let _ = key;
    }

    /// A run was settled, or a job without attempts left was given its verdict.
    fn job_ended(&self, report: &JobReport) {
        let _ = report;
    }

    /// A call to the authority failed, lost leases aside.
    fn authority_failed(&self, call: &'static str) {
        let _ = call;
    }

    /// A run ignored its cancellation and was left to itself.
    fn run_abandoned(&self, key: &ArtifactKey) {
        let _ = key;
    }
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
