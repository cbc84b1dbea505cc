//! The JSON of the admin endpoints.
//!
//! Owns dataset-viewer's field names (http-api.md section 7.3: J is a job, R a report) and those of `/admin/status`, which
//! `node status` reads back. Times are UTC without a zone, as dataset-viewer writes them.

mod replica;

use outpost_model::{DatasetName, JobStatus, TimestampMs};
use outpost_storage::{EntryCount, EntryReport, LiveJob, QueueDepth, RegisteredWorker};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

pub use replica::{AssetFigures, OutboxFigures, ReplicaStatus, ScrubItem};

use crate::feed::FeedReading;

/// A live job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobItem {
    /// The step.
    #[serde(rename = "type")]
    pub kind: String,
    /// The dataset.
    pub dataset: String,
    /// The revision that it runs for.
    pub revision: String,
    /// The config.
    pub config: Option<String>,
    /// The split.
    pub split: Option<String>,
    /// `type,dataset,revision[,config[,split]]`.
    pub unicity_id: String,
    /// The dataset's name before the slash.
    pub namespace: String,
    /// `low`, `normal` or `high`.
    pub priority: String,
    /// `waiting` or `started`.
    pub status: String,
    /// 0 to 100.
    pub difficulty: u8,
    /// When it was created, or from when it may run again.
    pub created_at: String,
    /// When it was claimed.
    pub started_at: Option<String>,
    /// When its lease was last renewed.
    pub last_heartbeat: Option<String>,
}

impl From<LiveJob> for JobItem {
    fn from(job: LiveJob) -> Self {
        let mut unicity_id = format!("{},{},{}", job.kind, job.dataset, job.revision);
        for name in job.config.iter().chain(job.config.as_ref().and(job.split.as_ref())) {
            unicity_id.push(',');
            unicity_id.push_str(name);
        }
        let namespace = job.dataset.split('/').next().unwrap_or_default().to_owned();
        Self {
            unicity_id,
            namespace,
            kind: job.kind,
            dataset: job.dataset,
            revision: job.revision,
            config: job.config,
            split: job.split,
            priority: job.priority.as_str().to_owned(),
            status: job.status.as_str().to_owned(),
            difficulty: job.difficulty,
            created_at: time_text(job.created_at),
            started_at: job.started_at.map(time_text),
            last_heartbeat: job.last_heartbeat.map(time_text),
        }
    }
}

/// An entry without its body, or, where that was asked for, with it.
#[derive(Debug, Serialize)]
pub struct ReportItem {
    kind: String,
    dataset: String,
    config: Option<String>,
    split: Option<String>,
    http_status: u16,
    error_code: Option<String>,
    details: Option<Box<RawValue>>,
    updated_at: String,
    job_runner_version: Option<u32>,
    dataset_git_revision: String,
    progress: Option<f64>,
    failed_runs: u32,
    /// Seconds.
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Box<RawValue>>,
}

impl ReportItem {
    /// The step.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }
}

impl From<EntryReport> for ReportItem {
    fn from(report: EntryReport) -> Self {
        // What is stored was written as JSON; what is not JSON any more is shown as absent.
        let json = |bytes: bytes::Bytes| serde_json::from_slice(&bytes).ok();
        Self {
            kind: report.kind,
            dataset: report.dataset,
            config: report.config,
            split: report.split,
            http_status: report.http_status,
            error_code: report.error_code,
            details: report.details.and_then(json),
            updated_at: time_text(report.updated_at),
            job_runner_version: report.job_runner_version,
            dataset_git_revision: report.revision,
            progress: report.progress,
            failed_runs: report.failed_runs,
            duration: report.duration_ms.map(|ms| ms as f64 / 1_000.0),
            content: report.content.and_then(json),
        }
    }
}

/// An object whose keys keep their order.
#[derive(Debug)]
pub struct Keyed<T>(pub Vec<(String, T)>);

impl<T> Keyed<T> {
    /// The value of `key`, made when it is not there.
    pub(super) fn at(&mut self, key: &str, make: impl FnOnce() -> T) -> &mut T {
        let index = self.0.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            self.0.push((key.to_owned(), make()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

impl<T: Serialize> Serialize for Keyed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Jobs of one step in `/admin/pending-jobs`.
#[derive(Debug, Default, Serialize)]
pub struct JobsByStatus {
    /// Not claimed.
    pub waiting: Vec<JobItem>,
    /// Claimed.
    pub started: Vec<JobItem>,
}

/// One step in `/admin/dataset-status`.
#[derive(Debug, Default, Serialize)]
pub struct StepStatus {
    /// What is stored.
    pub cached_responses: Vec<ReportItem>,
    /// What is queued.
    pub jobs: Vec<JobItem>,
}

/// The answer to a POST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// `ok`, or `started` for what goes on in the background.
    pub status: String,
    /// The dataset that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Jobs created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_created: Option<usize>,
    /// Jobs ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_cancelled: Option<usize>,
}

impl Done {
    /// Done, about `dataset`.
    pub(super) fn about(dataset: &DatasetName) -> Self {
        let dataset = Some(dataset.as_str().to_owned());
        Self { status: "ok".to_owned(), dataset, jobs_created: None, jobs_cancelled: None }
    }

    /// Begun for all datasets.
    pub(super) fn started() -> Self {
        Self { status: "started".to_owned(), dataset: None, jobs_created: None, jobs_cancelled: None }
    }
}

/// `/admin/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node that answers.
    pub node: NodeItem,
    /// Where its mirror stands.
    pub position: String,
    /// Where the authority stands.
    pub authority_position: String,
    /// Whether the mirror had everything when it was asked.
    pub is_current: bool,
    /// What fills the mirror, when that is not the authority itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedItem>,
    /// Datasets with a record.
    pub datasets: u64,
    /// The queue by step and status.
    pub queue: Vec<QueueItem>,
    /// Jobs that run now, the oldest first, cut to a page.
    pub running: Vec<JobItem>,
    /// Processes with workers.
    pub workers: Vec<WorkerItem>,
    /// The cache by step, status and error.
    pub entries: Vec<EntryCountItem>,
}

/// What fills the mirror, in `/admin/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedItem {
    /// `starting`, `scanning`, `following`, `retrying` or `stopped`.
    pub phase: String,
    /// Seconds by which the mirror is behind.
    pub lag_s: u64,
    /// Documents that could not be turned into entries.
    pub quarantined: u64,
    /// Times that everything was compared from the start.
    pub scans: u64,
    /// Times that the history to go on from was lost.
    pub history_losses: u64,
    /// Times that the connection was set up again.
    pub reconnects: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

impl From<FeedReading> for FeedItem {
    fn from(reading: FeedReading) -> Self {
        Self {
            phase: reading.phase.to_owned(),
            lag_s: reading.lag_s,
            quarantined: reading.quarantined,
            scans: reading.scans,
            history_losses: reading.history_losses,
            reconnects: reading.reconnects,
            last_error: reading.last_error,
        }
    }
}

/// The node in `/admin/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeItem {
    /// Its role.
    pub role: String,
    /// Its version.
    pub version: String,
    /// Where its authority is.
    pub store: String,
    /// When it started.
    pub started_at: String,
}

/// One step and status of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueItem {
    /// The step.
    pub kind: String,
    /// `waiting` or `started`.
    pub status: String,
    /// Jobs.
    pub jobs: u64,
    /// Milliseconds since the oldest was created, or, of started ones, claimed.
    pub oldest_age_ms: u64,
}

impl QueueItem {
    /// As seen at a moment.
    pub(super) fn new(depth: QueueDepth, now: TimestampMs) -> Self {
        Self {
            kind: depth.kind,
            status: depth.status.as_str().to_owned(),
            jobs: depth.jobs,
            oldest_age_ms: now.since_ms(depth.oldest_at),
        }
    }

    /// Whether its jobs are claimed.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.status == JobStatus::Started.as_str()
    }
}

/// A process with workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerItem {
    /// Its id.
    pub id: String,
    /// The machine.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// The queues that it takes from.
    pub queues: Vec<String>,
    /// Jobs at the same time.
    pub workers: u32,
    /// When it started.
    pub started_at: String,
    /// Milliseconds since it was last heard of.
    pub seen_age_ms: u64,
    /// Whether that is too long ago.
    pub is_lost: bool,
    /// What it runs, as `kind,dataset[,config[,split]]`.
    pub jobs: Vec<String>,
}

impl WorkerItem {
    /// As seen at a moment.
    pub(super) fn new(worker: RegisteredWorker, now: TimestampMs) -> Self {
        let RegisteredWorker { report, seen_at } = worker;
        let seen_age_ms = now.since_ms(seen_at);
        Self {
            id: report.id,
            host: report.host,
            pid: report.pid,
            queues: report.queues.iter().map(|queue| queue.as_str().to_owned()).collect(),
            workers: report.workers,
            started_at: time_text(report.started_at),
            seen_age_ms,
            is_lost: seen_age_ms >= outpost_model::limits::WORKER_LOST_MS,
            jobs: report.jobs,
        }
    }
}

/// One step, status and error of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryCountItem {
    /// The step.
    pub kind: String,
    /// HTTP status.
    pub http_status: u16,
    /// The error.
    pub error_code: Option<String>,
    /// Entries.
    pub entries: u64,
}

impl From<EntryCount> for EntryCountItem {
    fn from(count: EntryCount) -> Self {
        let EntryCount { kind, http_status, error_code, entries } = count;
        Self { kind, http_status, error_code, entries }
    }
}

/// A time as dataset-viewer writes one: UTC, no zone, a fraction of six digits unless it is zero.
pub(crate) fn time_text(time: TimestampMs) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time =
        chrono::DateTime::from_timestamp_millis(ms).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
    let format = if ms % 1_000 == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
    time.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use outpost_model::Priority;

    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00"),
            (1_577_934_123_123, "2020-01-02T03:02:03.123000"),
            (1_577_934_123_000, "2020-01-02T03:02:03"),
        ] {
            assert_eq!(time_text(TimestampMs(ms)), text);
        }
        assert!(time_text(TimestampMs(u64::MAX)).starts_with('+'));
    }

    #[test]
    fn a_job_has_its_unicity_and_namespace() {
        let job = LiveJob {
            kind: "split-first-rows".to_owned(),
            dataset: "u/d".to_owned(),
            config: Some("c".to_owned()),
            split: Some("train".to_owned()),
            revision: "abc".to_owned(),
            priority: Priority::Normal,
            status: JobStatus::Waiting,
            difficulty: 70,
            created_at: TimestampMs(1_000),
            started_at: None,
            last_heartbeat: None,
        };
        let text = serde_json::to_string(&JobItem::from(job)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"type":"split-first-rows","dataset":"u/d","revision":"abc","config":"c","split":"train","#,
                r#""unicity_id":"split-first-rows,u/d,abc,c,train","namespace":"u","priority":"normal","#,
                r#""status":"waiting","difficulty":70,"created_at":"1970-01-01T00:00:01","started_at":null,"#,
                r#""last_heartbeat":null}"#
            )
        );
    }
}
