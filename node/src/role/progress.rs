//! How far the first pass over a folder is, in log lines, and the listeners that workers report to.
//!
//! Owns the count of datasets whose jobs have all ended. Learns from the workers which datasets moved and looks only
//! at those. Logs at most once per [`limits::PROGRESS_PERIOD_MS`]. A state that cannot be read is looked at again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outpost_model::{ArtifactKey, DatasetName, limits};
use outpost_worker::runtime::{JobReport, Observer};

use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::role::register::RunningJobs;

/// Passes what workers report on to the metrics and to the progress.
pub struct Listeners {
    /// Counts jobs.
    pub metrics: Arc<Metrics>,
    /// Follows the first pass, on a node that watches a folder.
    pub progress: Option<Arc<Progress>>,
    /// Knows what runs.
    pub running: Arc<RunningJobs>,
}

impl Observer for Listeners {
    fn job_started(&self, key: &ArtifactKey) {
        self.running.job_started(key);
        self.metrics.set_running_jobs(self.running.count());
    }

    fn job_ended(&self, report: &JobReport) {
        self.metrics.job_ended(report);
        self.running.job_ended(report);
        self.metrics.set_running_jobs(self.running.count());
        if let Some(progress) = &self.progress {
            progress.moved(report.key.dataset());
        }
    }

    fn authority_failed(&self, call: &'static str) {
        self.metrics.authority_failed(call);
    }

    fn run_abandoned(&self, key: &ArtifactKey) {
        self.metrics.run_abandoned(key);
    }
}

#[derive(Default)]
struct Pass {
    total: usize,
    failed: usize,
    last_failure: Option<String>,
    /// Datasets with jobs to come, as far as is known.
    pending: HashSet<DatasetName>,
    /// Pending datasets that moved since they were last looked at.
    moved: HashSet<DatasetName>,
    /// A dataset without failures, to show.
    example: Option<DatasetName>,
}

/// The first pass over a folder.
#[derive(Default)]
pub struct Progress {
    pass: Mutex<Pass>,
}

/// What became of a dataset.
enum Standing {
    Unknown,
    Running,
    Processed,
    Failed(String),
}

impl Progress {
    /// Starts to follow these datasets.
    pub fn expect(&self, datasets: Vec<DatasetName>) {
        let mut pass = self.lock();
        pass.total = datasets.len();
        pass.pending = datasets.into_iter().collect();
    }

    /// Every dataset was submitted: those without jobs are done.
    pub fn all_submitted(&self) {
        let mut pass = self.lock();
        pass.moved = pass.pending.clone();
    }

    fn moved(&self, dataset: &DatasetName) {
        let mut pass = self.lock();
        if pass.pending.contains(dataset) {
            pass.moved.insert(dataset.clone());
        }
    }

    /// Logs how far the pass is until it is through.
    pub async fn report_loop(&self, intake: &Intake, public_url: &str) {
        let started = Instant::now();
        let (mut logged, mut logged_at) = (0, started);
        loop {
            self.look_at_moved(intake).await;
            let (done, line) = self.line();
            let is_over = self.lock().pending.is_empty();
            let is_time = logged_at.elapsed() >= Duration::from_millis(limits::PROGRESS_PERIOD_MS);
            if done > logged && (is_over || is_time) {
                (logged, logged_at) = (done, Instant::now());
                tracing::info!(datasets = done, "{line}");
            }
            if is_over {
                return self.log_end(started.elapsed(), public_url);
            }
            tokio::time::sleep(Duration::from_millis(limits::PROGRESS_LOOK_MS)).await;
        }
    }

    async fn look_at_moved(&self, intake: &Intake) {
        let moved = std::mem::take(&mut self.lock().moved);
        for dataset in moved {
            let standing = standing(intake, &dataset).await;
            let mut pass = self.lock();
            match standing {
                Standing::Running => {}
                Standing::Unknown => {
                    pass.moved.insert(dataset);
                }
                Standing::Processed => {
                    pass.pending.remove(&dataset);
                    pass.example.get_or_insert(dataset);
                }
                Standing::Failed(code) => {
                    pass.pending.remove(&dataset);
                    pass.failed += 1;
                    pass.last_failure = Some(format!("{dataset}: {code}"));
                }
            }
        }
    }

    fn line(&self) -> (usize, String) {
        let pass = self.lock();
        let done = pass.total - pass.pending.len();
        let failed = match &pass.last_failure {
            Some(last) => format!(", {} failed (last {last})", pass.failed),
            None => String::new(),
        };
        (done, format!("processed {done} of {} datasets{failed}", pass.total))
    }

    fn log_end(&self, elapsed: Duration, public_url: &str) {
        let pass = self.lock();
        let url = match &pass.example {
            Some(dataset) => format!("{public_url}/splits?dataset={dataset}"),
            None => format!("{public_url}/healthcheck"),
        };
        tracing::info!(
            datasets = pass.total,
            failed = pass.failed,
            duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            url,
            "all {} datasets are processed, {} failed, in {:.1} s; open {url}",
            pass.total,
            pass.failed,
            elapsed.as_secs_f64(),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn standing(intake: &Intake, dataset: &DatasetName) -> Standing {
    let Ok(state) = intake.authority().state(dataset).await else { return Standing::Unknown };
    if !state.jobs.is_empty() {
        return Standing::Running;
    }
    let failed = state.entries.iter().find_map(|entry| entry.error_code);
    match failed {
        Some(code) => Standing::Failed(code.to_string()),
        None if state.entries.is_empty() => Standing::Failed("not supported".to_owned()),
        None => Standing::Processed,
    }
}
