//! Applying a plan inside a transaction, and the guard that keeps transactions about one dataset apart.
//!
//! Owns the writes of tasks. A job that the plan leaves waiting is touched, so that a claim of it at the same time and
//! this transaction cannot both succeed: otherwise the claimed run could miss what is being committed.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use outpost_model::planning::Task;
use outpost_model::{DatasetName, DatasetRecord, JobId, NewJob, Revision, StepKind, TimestampMs, Visibility};

use super::documents::dataset as dataset_document;
use super::documents::fields::to_date;
use super::documents::job::{STARTED, StoredJob, WAITING, new_document, unicity_id};
use super::errors::WriteErrors;
use super::metrics::Counts;
use super::state::{View, read_record};
use super::{Inner, names};

/// What applying a plan did.
#[derive(Default)]
pub(super) struct Applied {
    /// Jobs created.
    pub(super) jobs_created: usize,
    /// What changed in the metrics, to be counted once the transaction has committed.
    pub(super) counts: Counts,
}

/// A plan as sets of writes.
#[derive(Default)]
struct Writes {
    record: Option<(Revision, Visibility)>,
    drop_record: bool,
    entries: Vec<ObjectId>,
    job_documents: Vec<ObjectId>,
    inserted: Vec<Document>,
}

impl Inner {
    /// Takes the dataset for this transaction: of two that do, one commits. Returns the record, if there is one.
    pub(super) async fn guard(
        &self,
        session: &mut ClientSession,
        dataset: &DatasetName,
    ) -> Result<Option<DatasetRecord>, mongodb::error::Error> {
        let datasets = self.datasets();
        let update = datasets
            .find_one_and_update(doc! {"_id": dataset.as_str()}, doc! {"$inc": {"version": 1_i64}})
            .upsert(true)
            .return_document(ReturnDocument::After);
        let document = update.session(session).await?;
        Ok(document.and_then(|document| read_record(dataset, &document)))
    }

    /// Applies the tasks of a plan over `view`.
    pub(super) async fn apply(
        &self,
        session: &mut ClientSession,
        dataset: &DatasetName,
        view: &View,
        tasks: Vec<Task>,
        now: TimestampMs,
    ) -> Result<Applied, mongodb::error::Error> {
        let mut applied = Applied::default();
        let writes = gather(view, tasks, now, &mut applied);
        if !writes.job_documents.is_empty() {
            let filter = doc! {"_id": {"$in": writes.job_documents}};
            self.jobs().delete_many(filter).session(&mut *session).await?;
        }
        if !writes.entries.is_empty() {
            let filter = doc! {"_id": {"$in": writes.entries}};
            self.responses().delete_many(filter).session(&mut *session).await?;
        }
        let record = doc! {"_id": dataset.as_str()};
        if let Some((revision, visibility)) = writes.record {
            let set = doc! {"$set": dataset_document::fields(&revision, visibility, now)};
            self.datasets().update_one(record, set).session(&mut *session).await?;
        } else if writes.drop_record {
            self.datasets().delete_one(record).session(&mut *session).await?;
        }
        if !writes.inserted.is_empty() {
            self.jobs().insert_many(writes.inserted).session(&mut *session).await?;
        }
        Ok(applied)
    }

    /// Changes waiting jobs without changing what they say, so that a claim in the meantime is in this transaction's way.
    pub(super) async fn touch(
        &self,
        session: &mut ClientSession,
        jobs: Vec<ObjectId>,
        now: TimestampMs,
    ) -> Result<(), mongodb::error::Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let filter = doc! {"_id": {"$in": jobs}, "status": WAITING};
        let touch = vec![doc! {"$set": {"started_at": later_than_last_run(now)}}];
        self.jobs().update_many(filter, touch).session(session).await?;
        Ok(())
    }

    /// Makes sure that a waiting document of each job is there, created or touched, and that the next run of the job
    /// that `ended` counts as new and as urgent as that one was.
    pub(super) async fn ensure_waiting(
        &self,
        session: &mut ClientSession,
        jobs: &[NewJob],
        ended: &StoredJob,
        now: TimestampMs,
    ) -> Result<Ensured, mongodb::error::Error> {
        let again = doc! {
            "q": {"unicity_id": unicity_id(&ended.key, &ended.revision), "status": WAITING},
            "hint": by_unicity(),
            "u": next_run(ended, now),
        };
        let mut updates: Vec<Document> =
            jobs.iter().map(|job| ensure_statement(new_document(job, now), now)).collect();
        updates.push(again);
        let command = doc! {"update": names::JOBS, "updates": updates};
        let reply = self.queue.run_command(command).session(session).await?;
        check_write_errors(&reply)?;
        // Each job counts one, matched or created; one more is the job that runs again.
        let matched = usize::try_from(reply.get_i32("n").unwrap_or(0)).unwrap_or(0);
        let upserted = reply.get_array("upserted").map_or(&[][..], Vec::as_slice);
        let index = |upsert: &Bson| usize::try_from(upsert.as_document()?.get_i32("index").ok()?).ok();
        let created = |upsert: &Bson| Some(jobs.get(index(upsert)?)?.key.kind());
        let created = upserted.iter().filter_map(created).collect();
        Ok(Ensured { created, runs_again: matched > jobs.len() })
    }
}

/// What [`Inner::ensure_waiting`] did.
pub(super) struct Ensured {
    /// The step of each document that was created.
    pub(super) created: Vec<StepKind>,
    /// Whether the job that ends waits to run again.
    pub(super) runs_again: bool,
}

/// `run_command` does not look into what a write says of its statements.
fn check_write_errors(reply: &Document) -> Result<(), mongodb::error::Error> {
    match reply.get_array("writeErrors") {
        Ok(errors) if !errors.is_empty() => Err(WriteErrors::new(errors).into()),
        _ => Ok(()),
    }
}

/// Creates the document when no waiting one of its unicity id is there, touches that one otherwise.
fn ensure_statement(document: Document, now: TimestampMs) -> Document {
    let unicity_id = document.get("unicity_id").cloned().unwrap_or(Bson::Null);
    let touched = doc! {"$mergeObjects": ["$$ROOT", {"started_at": later_than_last_run(now)}]};
    let is_new = doc! {"$eq": [{"$type": "$type"}, "missing"]};
    let replacement = doc! {"$cond": [is_new, {"$literal": document}, touched]};
    doc! {
        "q": {"unicity_id": unicity_id, "status": WAITING},
        "hint": by_unicity(),
        "u": [{"$replaceWith": replacement}],
        "upsert": true,
    }
}

/// What the document that waits beside a job becomes when the job ends.
pub(super) fn next_run(ended: &StoredJob, now: TimestampMs) -> Document {
    doc! {"$set": {"created_at": to_date(now), "priority": ended.priority.as_str()}}
}

/// dataset-viewer's index that finds the documents of one job; naming it saves the server the choice.
fn by_unicity() -> Document {
    doc! {"unicity_id": 1, "status": 1, "created_at": -1}
}

/// `started_at` of the next run: now, but greater than that of the run before, whatever the clocks say. It is the
/// fencing token.
pub(super) fn later_than_last_run(now: TimestampMs) -> Document {
    doc! {"$max": [to_date(now), {"$add": ["$started_at", 1]}]}
}

fn gather(view: &View, tasks: Vec<Task>, now: TimestampMs, applied: &mut Applied) -> Writes {
    let mut writes = Writes::default();
    let mut created = HashSet::new();
    for task in tasks {
        match task {
            Task::SetDataset { revision, visibility } => writes.record = Some((revision, visibility)),
            Task::DropDataset => writes.drop_record = true,
            Task::DeleteEntry(key) => {
                if let Some(entry) = view.entries.get(&key) {
                    writes.entries.push(entry.id);
                    applied.counts.entry(
                        key.kind().as_str(),
                        entry.http_status,
                        entry.error_code.clone(),
                        -1,
                    );
                }
            }
            Task::DeleteJob(id) => {
                for job in view.jobs.get(&id).into_iter().flatten() {
                    writes.job_documents.push(job.id);
                    applied.counts.job(job.key.kind(), status(job), -1);
                }
            }
            Task::Rerun(id) => writes.inserted.extend(run_again(view, id, now, applied)),
            Task::CreateJob(new) => {
                if created.insert(new.key.clone()) {
                    applied.jobs_created += 1;
                    applied.counts.job(new.key.kind(), WAITING, 1);
                    writes.inserted.push(new_document(&new, now));
                }
            }
        }
    }
    writes
}

/// The waiting document beside a started one, unless it is there.
fn run_again(view: &View, id: JobId, now: TimestampMs, applied: &mut Applied) -> Option<Document> {
    let documents = view.jobs.get(&id)?;
    if documents.iter().any(|job| !job.is_started) {
        return None;
    }
    let job = documents.first()?;
    applied.counts.job(job.key.kind(), WAITING, 1);
    Some(new_document(&as_new(job), now))
}

/// What it takes to create the same job again.
pub(super) fn as_new(job: &StoredJob) -> NewJob {
    NewJob {
        key: job.key.clone(),
        revision: job.revision.clone(),
        priority: job.priority,
        difficulty: job.difficulty,
    }
}

fn status(job: &StoredJob) -> &'static str {
    if job.is_started { STARTED } else { WAITING }
}

impl Inner {
    /// Deletes everything about a dataset, also what only dataset-viewer knows how to compute; says whether there was
    /// anything.
    pub(super) async fn delete_dataset(
        &self,
        session: &mut ClientSession,
        dataset: &DatasetName,
        view: &View,
    ) -> Result<(bool, Counts), mongodb::error::Error> {
        let filter = doc! {"dataset": dataset.as_str()};
        let jobs = self.jobs().delete_many(filter.clone()).session(&mut *session).await?;
        let entries = self.responses().delete_many(filter).session(&mut *session).await?;
        self.datasets().delete_one(doc! {"_id": dataset.as_str()}).session(session).await?;
        let mut counts = Counts::default();
        for (key, entry) in &view.entries {
            counts.entry(key.kind().as_str(), entry.http_status, entry.error_code.clone(), -1);
        }
        for job in view.jobs.values().flatten() {
            counts.job(job.key.kind(), status(job), -1);
        }
        Ok((jobs.deleted_count + entries.deleted_count > 0, counts))
    }
}
