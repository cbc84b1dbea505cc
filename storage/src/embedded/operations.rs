//! The operators' view of the embedded store.
//!
//! Owns the way from trees and index to pages. Jobs are listed from memory by the writer, entries by a walk beside it, a
//! bounded piece per page. Workers are known in memory only: they live and end with the process that holds the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::{
    ArtifactKey, ConfigName, Job, JobId, JobState, JobStatus, SplitName, StepKind, TimestampMs, limits,
};

use super::core::EntryCounts;
use super::queue::QueueIndex;
use super::records::Head;
use super::{EmbeddedStore, entries, keys};
use crate::error::StorageError;
use crate::kv::Kv;
use crate::operations::{
    Cursor, EntryCount, EntryReport, JobFilter, LiveJob, Operations, Overview, Page, QueueDepth,
    RegisteredWorker, ReportDepth, ReportFilter, WorkerReport,
};
use crate::record;

/// The processes that reported, by id.
#[derive(Default)]
pub(super) struct Register(Mutex<BTreeMap<String, RegisteredWorker>>);

impl Register {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RegisteredWorker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Operations for EmbeddedStore {
    async fn overview(&self) -> Result<Overview, StorageError> {
        self.read(|core| {
            Ok(Overview {
                queue: queue_depths(&core.queue),
                entries: entry_counts(&core.entry_counts),
                datasets: core.meta.datasets,
            })
        })
        .await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<LiveJob>, StorageError> {
        let after = after.map(job_id).transpose()?;
        let (filter, limit) = (filter.clone(), limit.clamp(1, limits::LISTING_PAGE_MAX));
        self.read(move |core| Ok(list_jobs(&core.queue, &filter, after, limit))).await
    }

    async fn reports(
        &self,
        filter: &ReportFilter,
        depth: ReportDepth,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<EntryReport>, StorageError> {
        self.reader()?;
        let after = after.map(entry_key).transpose()?;
        let (filter, limit) = (filter.clone(), limit.clamp(1, limits::LISTING_PAGE_MAX));
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.list_entries(&filter, depth, after, limit))
            .await
            .map_err(|error| StorageError::Engine(format!("listing entries failed: {error}")))?
    }

    async fn report_worker(&self, report: &WorkerReport, now: TimestampMs) -> Result<(), StorageError> {
        let mut register = self.inner.register.lock();
        register.retain(|_, worker| now.since_ms(worker.seen_at) < limits::WORKER_FORGOTTEN_MS);
        if register.len() < limits::WORKERS_LISTED_MAX || register.contains_key(&report.id) {
            register.insert(report.id.clone(), RegisteredWorker { report: report.clone(), seen_at: now });
        }
        Ok(())
    }

    async fn retire_worker(&self, id: &str) -> Result<(), StorageError> {
        self.inner.register.lock().remove(id);
        Ok(())
    }

    async fn workers(&self, now: TimestampMs) -> Result<Vec<RegisteredWorker>, StorageError> {
        let register = self.inner.register.lock();
        let recent = |worker: &&RegisteredWorker| now.since_ms(worker.seen_at) < limits::WORKER_FORGOTTEN_MS;
        let mut workers: Vec<_> = register.values().filter(recent).cloned().collect();
        workers.sort_by(|a, b| (a.report.started_at, &a.report.id).cmp(&(b.report.started_at, &b.report.id)));
        Ok(workers)
    }

    async fn blocked(&self, now: TimestampMs) -> Result<Vec<String>, StorageError> {
        self.read(move |core| {
            let mut names: Vec<String> =
                core.queue.blocked(now).map(|name| name.as_str().to_owned()).collect();
            names.sort_unstable();
            names.truncate(limits::LISTING_PAGE_MAX);
            Ok(names)
        })
        .await
    }
}

impl EmbeddedStore {
    /// One page of a walk over the entry heads.
    fn list_entries(
        &self,
        filter: &ReportFilter,
        depth: ReportDepth,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Page<EntryReport>, StorageError> {
        let kv = &self.inner.kv;
        let prefix = filter.dataset.as_ref().map_or(vec![keys::ENTRIES], keys::entries_of);
        let from = match after {
            None => prefix.clone(),
            // The least key greater than the cursor's.
            Some(after) => [after, vec![0]].concat(),
        };
        let (mut items, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        for pair in kv.state.from(&from.max(prefix.clone())) {
            let (key, value) = pair?;
            if !key.starts_with(&prefix) {
                break;
            }
            let report = self.report_of(&key, &value, filter, depth);
            if let Some(report) = report {
                let parts = [&report.details, &report.content];
                bytes += parts.into_iter().flatten().map(Bytes::len).sum::<usize>();
                items.push(report);
            }
            looked_at += 1;
            let is_full = items.len() == limit || bytes >= limits::LISTING_BYTES_MAX;
            if is_full || looked_at == limits::LISTING_SCAN_MAX {
                return Ok(Page { items, next: Some(Cursor::new(hex(&key))) });
            }
        }
        Ok(Page { items, next: None })
    }

    /// The report of a stored entry, `None` when the filter does not let it pass or it cannot be read.
    fn report_of(
        &self,
        key: &[u8],
        value: &[u8],
        filter: &ReportFilter,
        depth: ReportDepth,
    ) -> Option<EntryReport> {
        let address = ArtifactKey::from_bytes(&key[1..])?;
        if filter.kind.as_deref().is_some_and(|kind| kind != address.kind().as_str()) {
            return None;
        }
        let report = record::decode::<Head>(value)
            .and_then(|head| read_report(&address, &head, depth, &self.inner.kv));
        match self.counting_damage(report) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(key = %address, %error, "an entry is left out of a listing");
                None
            }
        }
    }
}

/// The report of an entry; `None` when it went away meanwhile.
fn read_report(
    key: &ArtifactKey,
    head: &Head,
    depth: ReportDepth,
    kv: &Kv,
) -> Result<Option<EntryReport>, StorageError> {
    let report = EntryReport {
        kind: key.kind().as_str().to_owned(),
        dataset: key.dataset().as_str().to_owned(),
        config: key.config().map(|config| config.as_str().to_owned()),
        split: key.split().map(|split| split.as_str().to_owned()),
        http_status: head.http_status,
        error_code: head.error_code.clone(),
        revision: head.revision.clone(),
        progress: head.progress,
        job_runner_version: Some(head.job_runner_version),
        failed_runs: head.failed_runs,
        updated_at: TimestampMs(head.updated_at_ms),
        duration_ms: Some(head.duration_ms),
        details: None,
        content: None,
    };
    if depth == ReportDepth::Head || (head.details.is_none() && depth == ReportDepth::Details) {
        return Ok(Some(report));
    }
    // The entry may have been replaced since its head was read.
    let Some(entry) = entries::read(key, kv)? else { return Ok(None) };
    Ok(Some(EntryReport {
        http_status: entry.http_status,
        error_code: entry.error_code.map(|code| code.as_str().to_owned()),
        revision: entry.revision.as_str().to_owned(),
        progress: entry.progress,
        job_runner_version: Some(entry.job_runner_version),
        failed_runs: entry.failed_runs,
        updated_at: entry.updated_at,
        duration_ms: Some(entry.duration_ms),
        details: entry.details,
        content: (depth == ReportDepth::Content).then_some(entry.body),
        ..report
    }))
}

fn queue_depths(queue: &QueueIndex) -> Vec<QueueDepth> {
    let mut depths: BTreeMap<(&str, JobStatus), (u64, TimestampMs)> = BTreeMap::new();
    for job in queue.jobs_after(None) {
        let since = match job.state {
            JobState::Waiting { .. } => job.created_at,
            JobState::Started { started_at, .. } => started_at,
        };
        let (jobs, oldest_at) = depths.entry((job.key.kind().as_str(), job.status())).or_insert((0, since));
        *jobs += 1;
        *oldest_at = since.min(*oldest_at);
    }
    let depth = |((kind, status), (jobs, oldest_at))| QueueDepth {
        kind: str::to_owned(kind),
        status,
        jobs,
        oldest_at,
    };
    depths.into_iter().map(depth).collect()
}

fn entry_counts(counts: &EntryCounts) -> Vec<EntryCount> {
    let mut listed: Vec<EntryCount> = counts
        .iter()
        .filter(|(_, entries)| **entries > 0)
        .map(|((kind, http_status, code), entries)| EntryCount {
            kind: kind.as_str().to_owned(),
            http_status: *http_status,
            error_code: code.map(|code| code.as_str().to_owned()),
            entries: *entries,
        })
        .collect();
    listed.sort();
    listed
}

fn list_jobs(queue: &QueueIndex, filter: &JobFilter, after: Option<JobId>, limit: usize) -> Page<LiveJob> {
    let kind = filter.kind.as_deref().map(StepKind::from_name);
    let passes = |job: &Job| {
        kind.is_none_or(|kind| kind == Some(job.key.kind()))
            && filter.status.is_none_or(|status| status == job.status())
    };
    let mut items = Vec::new();
    let jobs: Box<dyn Iterator<Item = &Job>> = match &filter.dataset {
        Some(dataset) => Box::new(queue.dataset_jobs_after(dataset, after)),
        None => Box::new(queue.jobs_after(after)),
    };
    for (looked_at, job) in jobs.enumerate() {
        if passes(job) {
            items.push(live_job(job));
        }
        if items.len() == limit || looked_at + 1 == limits::LISTING_SCAN_MAX {
            return Page { items, next: Some(Cursor::new(job.id.0.to_string())) };
        }
    }
    Page { items, next: None }
}

fn live_job(job: &Job) -> LiveJob {
    let (started_at, last_heartbeat) = match job.state {
        JobState::Waiting { .. } => (None, None),
        JobState::Started { started_at, lease_expires_at, .. } => {
            let renewed_at = TimestampMs(lease_expires_at.0.saturating_sub(limits::LEASE_MS));
            (Some(started_at), (renewed_at > started_at).then_some(renewed_at))
        }
    };
    LiveJob {
        kind: job.key.kind().as_str().to_owned(),
        dataset: job.key.dataset().as_str().to_owned(),
        config: job.key.config().map(ConfigName::as_str).map(str::to_owned),
        split: job.key.split().map(SplitName::as_str).map(str::to_owned),
        revision: job.revision.as_str().to_owned(),
        priority: job.priority,
        status: job.status(),
        difficulty: job.difficulty,
        created_at: job.created_at,
        started_at,
        last_heartbeat,
    }
}

fn job_id(cursor: &Cursor) -> Result<JobId, StorageError> {
    let digits = cursor.as_str();
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(JobId)).flatten().ok_or(StorageError::InvalidCursor)
}

fn entry_key(cursor: &Cursor) -> Result<Vec<u8>, StorageError> {
    let key = from_hex(cursor.as_str()).ok_or(StorageError::InvalidCursor)?;
    let is_entry = key
        .split_first()
        .is_some_and(|(prefix, key)| *prefix == keys::ENTRIES && ArtifactKey::from_bytes(key).is_some());
    if is_entry { Ok(key) } else { Err(StorageError::InvalidCursor) }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
