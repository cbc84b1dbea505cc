//! What a pool is built from: workers per queue, durations, clock, memory gauge, hooks.
//!
//! Owns the defaults, all from [`limits`]. Reads no environment; the node passes values in.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use outpost_model::{Job, Queue, TimestampMs, limits};
use outpost_storage::DifficultyRange;

use super::host::{Room, Unguarded};
use super::observer::{Observer, Silent};

/// Workers that share a set of queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroup {
    /// The queues that they claim from.
    pub queues: Vec<Queue>,
    /// How many they are.
    pub workers: usize,
}

/// Configuration of a pool.
#[derive(Clone)]
pub struct WorkerConfig {
    /// The workers; `datasets=1,splits=2` is a group per queue.
    pub groups: Vec<WorkerGroup>,
    /// The difficulty of the jobs that they take.
    pub difficulty: DifficultyRange,
    /// How often a lease is renewed.
    pub heartbeat_ms: u64,
    /// Longest run.
    pub job_duration_ms_max: u64,
    /// Time for running jobs to end after the shutdown began.
    pub drain_ms: u64,
    /// Time to give jobs back after that.
    pub stop_grace_ms: u64,
    /// Time for a cancelled run to return before it is left to itself.
    pub cancel_grace_ms: u64,
    /// Runs left to themselves at the same time.
    pub abandoned_runs_max: usize,
    /// Process memory above which no further job is claimed while one runs.
    pub claim_rss_bytes_max: u64,
    /// How often expired leases are taken back.
    pub expire_leases_every_ms: u64,
    /// Longest wait of an idle worker between two looks at the queue.
    pub idle_check_ms: u64,
    /// First wait before a failed call to the authority is repeated.
    pub authority_retry_min_ms: u64,
    /// Longest such wait.
    pub authority_retry_max_ms: u64,
    /// Tries of one call.
    pub authority_attempts_max: u32,
    /// Measures the process.
    pub memory: Arc<dyn MemoryGauge>,
    /// Says whether the machine has room for another job.
    pub room: Arc<dyn Room>,
    /// Is told of every run.
    pub observer: Arc<dyn Observer>,
    /// Stops at named places, for crash tests.
    pub breakpoints: Option<Arc<dyn Breakpoints>>,
}

impl WorkerConfig {
    /// The configuration with these workers and the defaults of [`limits`].
    #[must_use]
    pub fn new(groups: Vec<WorkerGroup>) -> Self {
        Self {
            groups,
            difficulty: DifficultyRange::ALL,
            heartbeat_ms: limits::HEARTBEAT_MS,
            job_duration_ms_max: limits::JOB_DURATION_MS_MAX,
            drain_ms: limits::DRAIN_MS,
            stop_grace_ms: limits::STOP_GRACE_MS,
            cancel_grace_ms: limits::CANCEL_GRACE_MS,
            abandoned_runs_max: limits::ABANDONED_RUNS_MAX,
            claim_rss_bytes_max: limits::CLAIM_RSS_BYTES_MAX,
            expire_leases_every_ms: limits::EXPIRE_LEASES_EVERY_MS,
            idle_check_ms: limits::IDLE_CHECK_MS,
            authority_retry_min_ms: limits::AUTHORITY_RETRY_MIN_MS,
            authority_retry_max_ms: limits::AUTHORITY_RETRY_MAX_MS,
            authority_attempts_max: limits::AUTHORITY_ATTEMPTS_MAX,
            memory: Arc::new(ProcessMemory),
            room: Arc::new(Unguarded),
            observer: Arc::new(Silent),
            breakpoints: None,
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> TimestampMs;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Measures memory.
pub trait MemoryGauge: Send + Sync + 'static {
    /// Resident bytes of the process, `None` when they cannot be had.
    fn resident_bytes(&self) -> Option<u64>;
}

/// Memory of this process, from `/proc/self/status`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessMemory;

impl MemoryGauge for ProcessMemory {
    fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        Some(kibibytes * 1024)
    }
}

/// A named place in the life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breakpoint {
    /// The job is claimed, nothing was done.
    Claimed,
    /// The result is there, the authority does not know it.
    Computed,
    /// The authority has the result, nobody was told.
    Committed,
}

/// Is asked at each breakpoint; the run goes on when it returns.
#[async_trait]
pub trait Breakpoints: Send + Sync + 'static {
    /// `job` reached `breakpoint`.
    async fn reached(&self, breakpoint: Breakpoint, job: &Job);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_memory() {
        let bytes = ProcessMemory.resident_bytes().unwrap();
        assert!(bytes > 100 * 1024, "{bytes}");
    }
}
