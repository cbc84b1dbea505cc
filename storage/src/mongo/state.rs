//! Reading what is known about a dataset.
//!
//! Owns how documents become the planner's state: a waiting document beside a started one of the same unicity id is
//! the started job's "run again", several waiting ones count once. Documents that do not fit the model are passed
//! over, logged, and stay where they are.

use std::collections::HashMap;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::{ClientSession, Collection};
use outpost_model::graph::STEPS;
use outpost_model::planning::DatasetState;
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Job, JobId, Revision, StepKind, TimestampMs, Visibility, limits,
};

use super::Inner;
use super::documents::job::{StoredJob, job_id};
use super::documents::{Misfit, dataset as dataset_document, fields, response};
use crate::error::StorageError;

/// Whether a call is part of a transaction.
pub(super) type Session<'a> = Option<&'a mut ClientSession>;

/// A dataset's state and which documents it is made of.
#[derive(Default)]
pub(super) struct View {
    pub(super) state: DatasetState,
    /// Per entry: its document and what its metric counts.
    pub(super) entries: HashMap<ArtifactKey, EntryDocument>,
    /// Per job of the state: all documents that it stands for.
    pub(super) jobs: HashMap<JobId, Vec<StoredJob>>,
}

#[derive(Debug, Clone)]
pub(super) struct EntryDocument {
    pub(super) id: ObjectId,
    pub(super) http_status: i32,
    pub(super) error_code: Option<String>,
}

impl Inner {
    /// Entries and jobs of a dataset, without its revision.
    pub(super) async fn load_view(
        &self,
        mut session: Session<'_>,
        dataset: &DatasetName,
    ) -> Result<View, mongodb::error::Error> {
        let mut view = View::default();
        let filter = doc! {"dataset": dataset.as_str(), "kind": {"$in": known_kinds()}};
        let projection = response::summary_projection();
        let found = find(&self.responses(), filter, Some(projection), session.as_deref_mut()).await?;
        for document in &found {
            view.add_entry(document);
        }
        let filter = doc! {"dataset": dataset.as_str(), "type": {"$in": known_kinds()}};
        let found = find(&self.jobs(), filter, None, session).await?;
        view.add_jobs(&found);
        Ok(view)
    }

    /// The whole state, for callers outside of a transaction. Nobody knows who may read a dataset without a record.
    pub(super) async fn full_state(
        &self,
        dataset: &DatasetName,
    ) -> Result<DatasetState, mongodb::error::Error> {
        let mut view = self.load_view(None, dataset).await?;
        let ran_before = |job: &StoredJob| job.started_at.is_some();
        let ids: Vec<ObjectId> =
            view.jobs.values().flatten().filter(|job| ran_before(job)).map(|job| job.id).collect();
        let attempts = self.attempts_of(&ids, None).await?;
        for job in &mut view.state.jobs {
            job.attempts = attempts.get(&job.id).copied().unwrap_or(0);
        }
        match self.recorded(dataset, None).await? {
            Some(record) => {
                view.state.revision = Some(record.revision);
                view.state.visibility = Some(record.visibility);
            }
            None => view.state.revision = self.derived_revision(dataset, None).await?,
        }
        Ok(view.state)
    }

    /// Failed runs so far, of those jobs that have any.
    pub(super) async fn attempts_of(
        &self,
        ids: &[ObjectId],
        session: Session<'_>,
    ) -> Result<HashMap<JobId, u32>, mongodb::error::Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = find(&self.attempts(), doc! {"_id": {"$in": ids.to_vec()}}, None, session).await?;
        let read = |document: &Document| {
            let id = document.get_object_id("_id").ok()?;
            Some((job_id(id), fields::integer(document, "attempts").ok()??))
        };
        Ok(found.iter().filter_map(read).collect())
    }

    /// The record of a dataset, derived from its entries and jobs when it has none of its own.
    pub(super) async fn record(
        &self,
        dataset: &DatasetName,
    ) -> Result<Option<DatasetRecord>, mongodb::error::Error> {
        match self.recorded(dataset, None).await? {
            Some(record) => Ok(Some(record)),
            None => {
                let revision = self.derived_revision(dataset, None).await?;
                Ok(revision.map(|revision| unrecorded(dataset, revision)))
            }
        }
    }

    /// The record of a dataset in `outpostDatasets`.
    pub(super) async fn recorded(
        &self,
        dataset: &DatasetName,
        session: Session<'_>,
    ) -> Result<Option<DatasetRecord>, mongodb::error::Error> {
        let found = find(&self.datasets(), doc! {"_id": dataset.as_str()}, None, session).await?;
        Ok(found.first().and_then(|document| read_record(dataset, document)))
    }

    /// The revision of a dataset that only dataset-viewer knows: its root entry's, else that of a pending root job.
    pub(super) async fn derived_revision(
        &self,
        dataset: &DatasetName,
        mut session: Session<'_>,
    ) -> Result<Option<Revision>, mongodb::error::Error> {
        let root = StepKind::ROOT.as_str();
        let of_entry = doc! {"dataset": dataset.as_str(), "kind": root};
        let projection = Some(doc! {"dataset_git_revision": 1});
        let entries = find(&self.responses(), of_entry, projection, session.as_deref_mut()).await?;
        let revision = entries.iter().find_map(|entry| response::read_revision(entry).ok());
        if revision.is_some() {
            return Ok(revision);
        }
        let of_job = doc! {"dataset": dataset.as_str(), "type": root};
        let jobs = find(&self.jobs(), of_job, None, session).await?;
        Ok(jobs.iter().find_map(|job| StoredJob::read(job).ok()).map(|job| job.revision))
    }
}

impl View {
    fn add_entry(&mut self, document: &Document) {
        let Some(summary) = fitting("an entry", document, response::read_summary(document)) else { return };
        let Ok(id) = document.get_object_id("_id") else { return };
        let stored = EntryDocument {
            id,
            http_status: fields::integer(document, "http_status").ok().flatten().unwrap_or(0),
            error_code: fields::text(document, "error_code").ok().flatten().map(str::to_owned),
        };
        self.entries.insert(summary.key.clone(), stored);
        self.state.entries.push(summary);
    }

    fn add_jobs(&mut self, documents: &[Document]) {
        let mut groups: HashMap<(ArtifactKey, Revision), Vec<StoredJob>> = HashMap::new();
        for document in documents {
            let Some(job) = fitting("a job", document, StoredJob::read(document)) else { continue };
            groups.entry((job.key.clone(), job.revision.clone())).or_default().push(job);
        }
        for group in groups.into_values() {
            let job = merged(&group);
            self.jobs.insert(job.id, group);
            self.state.jobs.push(job);
        }
        self.state.jobs.sort_by_key(|job| job.id);
    }
}

/// The one job that documents of one unicity id stand for: the started one, else the most urgent, oldest one.
fn merged(group: &[StoredJob]) -> Job {
    let order = |job: &&StoredJob| (!job.is_started, std::cmp::Reverse(job.priority), job.created_at, job.id);
    let first = group.iter().min_by_key(order).expect("a group has at least one document").clone();
    let rerun = first.is_started && group.iter().any(|job| !job.is_started);
    first.into_job(0, rerun)
}

/// The record in a document of `outpostDatasets`; one that does not fit is logged and counts as absent.
pub(super) fn read_record(dataset: &DatasetName, document: &Document) -> Option<DatasetRecord> {
    dataset_document::read(document).unwrap_or_else(|misfit| {
        tracing::error!(%dataset, %misfit, "a dataset's record does not fit and counts as absent");
        None
    })
}

/// What is said of a dataset that has entries and no record: nobody may read it until the Hub was asked.
pub(super) fn unrecorded(dataset: &DatasetName, revision: Revision) -> DatasetRecord {
    let visibility = Visibility::Private;
    DatasetRecord { dataset: dataset.clone(), revision, visibility, checked_at: TimestampMs(0) }
}

fn fitting<T>(what: &str, document: &Document, read: Result<T, Misfit>) -> Option<T> {
    read.inspect_err(|misfit| {
        let id = document.get("_id").map(ToString::to_string).unwrap_or_default();
        tracing::warn!(document.id = %id, %misfit, "{what} does not fit and is passed over: {misfit}");
    })
    .ok()
}

/// The steps that this version computes.
pub(super) fn known_kinds() -> Vec<&'static str> {
    STEPS.iter().map(|spec| spec.name).collect()
}

/// All documents that match.
pub(super) async fn find(
    collection: &Collection<Document>,
    filter: Document,
    projection: Option<Document>,
    session: Session<'_>,
) -> Result<Vec<Document>, mongodb::error::Error> {
    let mut found = Vec::new();
    let mut find = collection.find(filter).batch_size(limits::MONGO_BATCH_DOCUMENTS);
    if let Some(projection) = projection {
        find = find.projection(projection);
    }
    match session {
        Some(session) => {
            let mut cursor = find.session(&mut *session).await?;
            while cursor.advance(&mut *session).await? {
                found.push(cursor.deserialize_current()?);
            }
        }
        None => {
            let mut cursor = find.await?;
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
        }
    }
    Ok(found)
}

impl From<mongodb::error::Error> for StorageError {
    fn from(error: mongodb::error::Error) -> Self {
        super::errors::storage_error(error)
    }
}
