//! The operators' view of the database, and the register of processes with workers.
//!
//! Owns the way from documents to reports: what other programs stored is shown too, as far as it has the fields that a
//! report needs; the rest is left out. Pages follow `_id`, and so do cursors: 24 hex digits, as dataset-viewer's.
//! Processes that fell silent are deleted when another one reports.

use async_trait::async_trait;
use bytes::Bytes;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use outpost_model::{JobStatus, Priority, Queue, TimestampMs, limits};

use super::documents::fields::{date, integer, number, required_text, text, to_date};
use super::documents::response::{milliseconds, without_large_parts};
use super::documents::{Misfit, render};
use super::{Inner, MongoStore, leases, names};
use crate::error::StorageError;
use crate::operations::{
    Cursor, EntryCount, EntryReport, JobFilter, LiveJob, Operations, Overview, Page, QueueDepth,
    RegisteredWorker, ReportDepth, ReportFilter, WorkerReport,
};

#[async_trait]
impl Operations for MongoStore {
    async fn overview(&self) -> Result<Overview, StorageError> {
        self.inner.overview().await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<LiveJob>, StorageError> {
        self.inner.list_jobs(filter, after.map(object_id).transpose()?, limit).await
    }

    async fn reports(
        &self,
        filter: &ReportFilter,
        depth: ReportDepth,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<EntryReport>, StorageError> {
        self.inner.list_entries(filter, depth, after.map(object_id).transpose()?, limit).await
    }

    async fn report_worker(&self, report: &WorkerReport, now: TimestampMs) -> Result<(), StorageError> {
        let workers = self.inner.workers();
        let queues: Vec<&str> = report.queues.iter().map(|queue| queue.as_str()).collect();
        let set = doc! {
            "host": &report.host,
            "pid": i64::from(report.pid),
            "queues": queues,
            "workers": i64::from(report.workers),
            "started_at": to_date(report.started_at),
            "heartbeat_at": to_date(now),
            "jobs": &report.jobs,
        };
        workers.update_one(doc! {"_id": &report.id}, doc! {"$set": set}).upsert(true).await?;
        let silent = doc! {"heartbeat_at": {"$lte": to_date(forgotten_before(now))}};
        workers.delete_many(silent).await?;
        Ok(())
    }

    async fn retire_worker(&self, id: &str) -> Result<(), StorageError> {
        self.inner.workers().delete_one(doc! {"_id": id}).await?;
        Ok(())
    }

    async fn workers(&self, now: TimestampMs) -> Result<Vec<RegisteredWorker>, StorageError> {
        let recent = doc! {"heartbeat_at": {"$gt": to_date(forgotten_before(now))}};
        let (workers, most) = (self.inner.workers(), i64::try_from(limits::WORKERS_LISTED_MAX));
        let find = workers.find(recent).sort(doc! {"started_at": 1, "_id": 1});
        let mut cursor = find.limit(most.unwrap_or(i64::MAX)).await?;
        let mut workers = Vec::new();
        while cursor.advance().await? {
            workers.extend(read_worker(&cursor.deserialize_current()?).ok());
        }
        Ok(workers)
    }

    async fn blocked(&self, now: TimestampMs) -> Result<Vec<String>, StorageError> {
        let mut names = self.inner.blocked_datasets(now).await?;
        names.truncate(limits::LISTING_PAGE_MAX);
        Ok(names)
    }
}

impl Inner {
    fn workers(&self) -> Collection<Document> {
        self.queue.collection(names::WORKERS)
    }

    async fn overview(&self) -> Result<Overview, StorageError> {
        let by_status = vec![doc! {"$group": {
            "_id": {"kind": "$type", "status": "$status"},
            "count": {"$sum": 1},
            "created_at": {"$min": "$created_at"},
            "started_at": {"$min": "$started_at"},
        }}];
        let groups = self.aggregate(&self.jobs(), by_status).await?;
        let mut queue: Vec<QueueDepth> = groups.iter().filter_map(|group| queue_depth(group).ok()).collect();
        queue.sort_by(|a, b| (&a.kind, a.status).cmp(&(&b.kind, b.status)));
        let code = doc! {"$ifNull": ["$error_code", Bson::Null]};
        let by_outcome = vec![doc! {"$group": {
            "_id": {"kind": "$kind", "status": "$http_status", "code": code},
            "count": {"$sum": 1},
        }}];
        let groups = self.aggregate(&self.responses(), by_outcome).await?;
        let mut entries: Vec<EntryCount> =
            groups.iter().filter_map(|group| entry_count(group).ok()).collect();
        entries.sort();
        let recorded = doc! {"revision": {"$type": "string"}};
        Ok(Overview { queue, entries, datasets: self.datasets().count_documents(recorded).await? })
    }

    async fn list_jobs(
        &self,
        filter: &JobFilter,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Page<LiveJob>, StorageError> {
        let mut wanted = behind(after);
        if let Some(kind) = &filter.kind {
            wanted.insert("type", kind);
        }
        if let Some(dataset) = &filter.dataset {
            wanted.insert("dataset", dataset.as_str());
        }
        if let Some(status) = filter.status {
            wanted.insert("status", status.as_str());
        }
        let limit = limit.clamp(1, limits::LISTING_PAGE_MAX);
        let jobs = self.jobs();
        let find = jobs.find(wanted).sort(doc! {"_id": 1});
        let mut cursor = find.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await?;
        let mut listing = Listing::new(limit);
        while cursor.advance().await? {
            let document = cursor.deserialize_current()?;
            listing.push(document.get_object_id("_id").ok(), read_job(&document));
        }
        Ok(listing.into_page())
    }

    async fn list_entries(
        &self,
        filter: &ReportFilter,
        depth: ReportDepth,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Page<EntryReport>, StorageError> {
        let mut wanted = behind(after);
        if let Some(kind) = &filter.kind {
            wanted.insert("kind", kind);
        }
        if let Some(dataset) = &filter.dataset {
            wanted.insert("dataset", dataset.as_str());
        }
        let left_out = match depth {
            ReportDepth::Head => doc! {"content": 0, "details": 0},
            ReportDepth::Details => doc! {"content": 0},
            ReportDepth::Content => Document::new(),
        };
        let limit = limit.clamp(1, limits::LISTING_PAGE_MAX);
        let responses = self.responses().clone_with_type::<RawDocumentBuf>();
        let find = responses.find(wanted).sort(doc! {"_id": 1}).projection(left_out);
        let mut cursor = find.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await?;
        let (mut listing, mut bytes) = (Listing::new(limit), 0);
        while bytes < limits::LISTING_BYTES_MAX && cursor.advance().await? {
            let raw = cursor.current();
            let report = read_report(raw);
            let parts = report.iter().flat_map(|report| [&report.details, &report.content]).flatten();
            bytes += parts.map(Bytes::len).sum::<usize>();
            listing.push(raw.get_object_id("_id").ok(), report);
        }
        if bytes >= limits::LISTING_BYTES_MAX {
            listing.cut();
        }
        Ok(listing.into_page())
    }
}

/// A page being read.
struct Listing<T> {
    items: Vec<T>,
    last: Option<ObjectId>,
    looked_at: usize,
    limit: usize,
}

impl<T> Listing<T> {
    fn new(limit: usize) -> Self {
        Self { items: Vec::new(), last: None, looked_at: 0, limit }
    }

    fn push(&mut self, id: Option<ObjectId>, read: Result<T, Misfit>) {
        self.looked_at += 1;
        self.last = id.or(self.last);
        match read {
            Ok(item) => self.items.push(item),
            Err(misfit) => tracing::debug!(id = ?id, %misfit, "a document is left out of a listing"),
        }
    }

    /// There may be more behind the last document.
    fn cut(&mut self) {
        self.limit = self.looked_at;
    }

    fn into_page(self) -> Page<T> {
        let next = self.last.filter(|_| self.looked_at == self.limit);
        Page { items: self.items, next: next.map(|id| Cursor::new(id.to_hex())) }
    }
}

fn behind(after: Option<ObjectId>) -> Document {
    after.map_or_else(Document::new, |after| doc! {"_id": {"$gt": after}})
}

fn object_id(cursor: &Cursor) -> Result<ObjectId, StorageError> {
    ObjectId::parse_str(cursor.as_str()).map_err(|_| StorageError::InvalidCursor)
}

fn forgotten_before(now: TimestampMs) -> TimestampMs {
    TimestampMs(now.0.saturating_sub(limits::WORKER_FORGOTTEN_MS))
}

fn owned(document: &Document, field: &'static str) -> Result<Option<String>, Misfit> {
    Ok(text(document, field)?.map(str::to_owned))
}

fn status_of(document: &Document) -> Result<JobStatus, Misfit> {
    Ok(text(document, "status")?.and_then(JobStatus::from_name).unwrap_or(JobStatus::Waiting))
}

fn read_job(document: &Document) -> Result<LiveJob, Misfit> {
    let status = status_of(document)?;
    // A job that waits again keeps the start of its last run.
    let of_run = |field| Ok(date(document, field)?.filter(|_| status == JobStatus::Started));
    Ok(LiveJob {
        kind: required_text(document, "type")?.to_owned(),
        dataset: required_text(document, "dataset")?.to_owned(),
        config: owned(document, "config")?,
        split: owned(document, "split")?,
        revision: owned(document, "revision")?.unwrap_or_default(),
        priority: text(document, "priority")?.and_then(Priority::from_name).unwrap_or(Priority::Low),
        status,
        difficulty: integer(document, "difficulty")?.unwrap_or(0),
        created_at: date(document, "created_at")?.unwrap_or_default(),
        started_at: of_run("started_at")?,
        last_heartbeat: of_run("last_heartbeat")?
            .and_then(|stored| leases::heard(stored, of_run("started_at").ok().flatten())),
    })
}

fn read_report(raw: &RawDocument) -> Result<EntryReport, Misfit> {
    let document = without_large_parts(raw).map_err(|error| Misfit::field("content", &error))?;
    let part = |name: &'static str| -> Result<Option<Bytes>, Misfit> {
        let value = raw.get(name).map_err(|error| Misfit::field(name, &error))?;
        let Some(object) = value.and_then(RawBsonRef::as_document) else { return Ok(None) };
        render::to_json(object).map(|json| Some(json.into())).map_err(|error| Misfit::field(name, &error))
    };
    Ok(EntryReport {
        kind: required_text(&document, "kind")?.to_owned(),
        dataset: required_text(&document, "dataset")?.to_owned(),
        config: owned(&document, "config")?,
        split: owned(&document, "split")?,
        http_status: integer(&document, "http_status")?.unwrap_or(0),
        error_code: owned(&document, "error_code")?,
        revision: owned(&document, "dataset_git_revision")?.unwrap_or_default(),
        progress: number(&document, "progress")?,
        job_runner_version: integer(&document, "job_runner_version")?,
        failed_runs: integer(&document, "failed_runs")?.unwrap_or(0),
        updated_at: date(&document, "updated_at")?.unwrap_or_default(),
        duration_ms: number(&document, "duration")?.map(|seconds| milliseconds(Some(seconds))),
        details: part("details")?,
        content: part("content")?,
    })
}

fn queue_depth(group: &Document) -> Result<QueueDepth, Misfit> {
    let id = group.get_document("_id").map_err(|error| Misfit::field("_id", &error))?;
    let status = status_of(id)?;
    let since = match status {
        JobStatus::Waiting => date(group, "created_at")?,
        JobStatus::Started => date(group, "started_at")?,
    };
    Ok(QueueDepth {
        kind: required_text(id, "kind")?.to_owned(),
        status,
        jobs: integer(group, "count")?.unwrap_or(0),
        oldest_at: since.unwrap_or_default(),
    })
}

fn entry_count(group: &Document) -> Result<EntryCount, Misfit> {
    let id = group.get_document("_id").map_err(|error| Misfit::field("_id", &error))?;
    Ok(EntryCount {
        kind: required_text(id, "kind")?.to_owned(),
        http_status: integer(id, "status")?.unwrap_or(0),
        error_code: owned(id, "code")?,
        entries: integer(group, "count")?.unwrap_or(0),
    })
}

fn read_worker(document: &Document) -> Result<RegisteredWorker, Misfit> {
    let texts = |field: &str| -> Vec<&str> {
        document.get_array(field).into_iter().flatten().filter_map(Bson::as_str).collect()
    };
    let queue = |name: &&str| Queue::ALL.into_iter().find(|queue| queue.as_str() == *name);
    Ok(RegisteredWorker {
        report: WorkerReport {
            id: required_text(document, "_id")?.to_owned(),
            host: owned(document, "host")?.unwrap_or_default(),
            pid: integer(document, "pid")?.unwrap_or(0),
            queues: texts("queues").iter().filter_map(queue).collect(),
            workers: integer(document, "workers")?.unwrap_or(0),
            started_at: date(document, "started_at")?.unwrap_or_default(),
            jobs: texts("jobs").into_iter().map(str::to_owned).collect(),
        },
        seen_at: date(document, "heartbeat_at")?.unwrap_or_default(),
    })
}
