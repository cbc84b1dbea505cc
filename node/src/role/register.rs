//! The register of processes with workers: says every few seconds that this one is there and what it runs.
//!
//! Owns the process's id and the list of its running jobs. A report that fails is logged and made again; the register is
//! for people to look at, nothing is decided by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_model::{ArtifactKey, Queue, TimestampMs, limits};
use outpost_storage::{Operations, WorkerReport};
use outpost_worker::WorkerGroup;
use outpost_worker::runtime::{JobReport, Observer};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// What runs now, by the word of the workers.
#[derive(Debug, Default)]
pub struct RunningJobs(Mutex<Vec<ArtifactKey>>);

impl RunningJobs {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn list(&self) -> Vec<String> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().take(limits::WORKER_JOBS_REPORTED_MAX).map(ToString::to_string).collect()
    }
}

impl Observer for RunningJobs {
    fn job_started(&self, key: &ArtifactKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
    }

    fn job_ended(&self, report: &JobReport) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = running.iter().position(|key| *key == report.key) {
            running.remove(index);
        }
    }
}

/// This process in the register.
pub struct Registration {
    operations: Arc<dyn Operations>,
    running: Arc<RunningJobs>,
    itself: WorkerReport,
}

impl Registration {
    /// A process with these workers, `None` when it has none.
    #[must_use]
    pub fn of(
        operations: Arc<dyn Operations>,
        running: Arc<RunningJobs>,
        groups: &[WorkerGroup],
    ) -> Option<Self> {
        let workers: usize = groups.iter().map(|group| group.workers).sum();
        let serves =
            |queue: &Queue| groups.iter().any(|group| group.workers > 0 && group.queues.contains(queue));
        let (host, pid, started_at) = (host_name(), std::process::id(), clock::now());
        let itself = WorkerReport {
            id: worker_id(&host, pid, started_at),
            host,
            pid,
            queues: Queue::ALL.into_iter().filter(serves).collect(),
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            started_at,
            jobs: Vec::new(),
        };
        (workers > 0).then_some(Self { operations, running, itself })
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.itself.id
    }

    /// Reports until `stop`, then takes the process out of the register.
    pub async fn run(self, stop: CancellationToken) {
        let mut period = tokio::time::interval(Duration::from_millis(limits::WORKER_REPORT_MS));
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = period.tick() => {}
            }
            let report = WorkerReport { jobs: self.running.list(), ..self.itself.clone() };
            if let Err(error) = self.operations.report_worker(&report, clock::now()).await {
                tracing::warn!(%error, "failed to report this process to the register of workers: {error}");
            }
        }
        if let Err(error) = self.operations.retire_worker(self.id()).await {
            tracing::warn!(%error, "failed to leave the register of workers, it forgets this process by itself");
        }
    }
}

/// The machine's name, as far as it is made of plain characters.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        .take(100)
        .collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

/// Machine and process number come back after a restart in a container, its start does not.
fn worker_id(host: &str, pid: u32, started_at: TimestampMs) -> String {
    let plain: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{plain}-{pid}-{:x}", started_at.0)
}

#[cfg(test)]
mod tests {
    use outpost_model::{DatasetName, StepKind};
    use outpost_storage::EmbeddedStore;
    use outpost_worker::runtime::JobOutcome;

    use super::*;

    fn group(queue: Queue, workers: usize) -> WorkerGroup {
        WorkerGroup { queues: vec![queue], workers }
    }

    #[tokio::test]
    async fn a_process_is_in_the_register_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let running = Arc::new(RunningJobs::default());
        let key = ArtifactKey::dataset_level(StepKind::ROOT, DatasetName::new("u/d").unwrap()).unwrap();
        running.job_started(&key);
        let groups = [group(Queue::Splits, 2), group(Queue::Datasets, 0)];
        let registration = Registration::of(Arc::new(store.clone()), Arc::clone(&running), &groups).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(registration.run(stop.clone()));
        let worker = loop {
            if let Some(worker) = store.workers(clock::now()).await.unwrap().pop() {
                break worker.report;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((worker.pid, worker.workers), (std::process::id(), 2));
        assert_eq!((worker.queues, worker.jobs), (vec![Queue::Splits], vec![key.to_string()]));
        stop.cancel();
        task.await.unwrap();
        assert_eq!(store.workers(clock::now()).await.unwrap(), []);
        let outcome = JobOutcome::Drained;
        running.job_ended(&JobReport { key, outcome, duration_ms: 0, bytes_read: 0, jobs_created: 0 });
        assert_eq!(running.list(), Vec::<String>::new());
    }

    #[test]
    fn a_process_without_workers_does_not_register() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let groups = [group(Queue::Splits, 0)];
        assert!(Registration::of(Arc::new(store), Arc::default(), &groups).is_none());
    }
}
