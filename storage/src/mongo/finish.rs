//! Finishing a job: one transaction with the fence, the result, the children and the job's end.
//!
//! Owns what is read for a plan. Most steps have children whose names follow from their own; then nothing is read at
//! all and each child is ensured to wait by one statement. Steps that list configs or splits read the whole dataset.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::Hint;
use outpost_model::planning::{self, DatasetState, Event, Task};
use outpost_model::{ArtifactKey, Lease, Level, NewJob, Revision, StepKind, TimestampMs, limits};

use super::Inner;
use super::documents::fields::{self, to_date};
use super::documents::job::{STARTED, StoredJob, WAITING, object_id, unicity_id};
use super::documents::response::Prepared;
use super::metrics::Counts;
use super::state::{View, unrecorded};
use super::transaction::{Attempt, Done, Failure};
use crate::authority::{Completion, Finished};
use crate::error::StorageError;

struct Finishing<'a> {
    lease: &'a Lease,
    /// The entry to store, if any.
    entry: Option<&'a Prepared>,
    now: TimestampMs,
}

/// What a committed finish gives.
struct Ended {
    job: StoredJob,
    jobs_created: usize,
    requeued: bool,
    counts: Counts,
}

impl Inner {
    /// See [`crate::Authority::finish`].
    pub(super) async fn finish(
        &self,
        lease: &Lease,
        completion: Completion,
        now: TimestampMs,
    ) -> Result<Finished, StorageError> {
        let entry = match completion {
            Completion::Nothing => None,
            Completion::Store(entry) => Some(prepare(*entry).await?),
        };
        let dataset = self.running().get(&lease.job_id).map(|(_, dataset)| dataset.clone());
        let turn = match &dataset {
            Some(dataset) => Some(self.guards.take(dataset).await),
            None => None,
        };
        let transacted = self.transact(&Finishing { lease, entry: entry.as_ref(), now }).await?;
        drop(turn);
        self.running().remove(&lease.job_id);
        let Ended { job, jobs_created, requeued, counts } = transacted.output;
        self.metrics.add(counts);
        if requeued {
            self.lookahead.forget();
        }
        self.lookahead.ended(lease.job_id, job.priority, (jobs_created > 0).then_some(now));
        if jobs_created > 0 || requeued {
            self.work.notify_waiters();
        }
        self.count_run(&job, now).await;
        let seq = transacted.seq.unwrap_or(0);
        Ok(Finished { position: self.position_at(seq), jobs_created, requeued })
    }
}

/// Bodies from this size on are converted on a thread where blocking is allowed.
const BLOCKING_BYTES_MIN: usize = 64 * 1024;

async fn prepare(entry: outpost_model::Entry) -> Result<Prepared, StorageError> {
    if entry.body.len() < BLOCKING_BYTES_MIN {
        return Ok(Prepared::new(entry)?);
    }
    let prepared = tokio::task::spawn_blocking(move || Prepared::new(entry)).await;
    Ok(prepared.map_err(|error| StorageError::Engine(format!("preparing an entry failed: {error}")))??)
}

#[async_trait]
impl Attempt for Finishing<'_> {
    type Output = Ended;

    async fn attempt(&self, store: &Inner, session: &mut ClientSession) -> Result<Done<Ended>, Failure> {
        let job = store.end_job(session, self.lease, self.now).await?;
        if self.entry.is_some_and(|entry| !is_for(entry, &job)) {
            return Err(StorageError::LeaseLost("the result is for another artifact or revision").into());
        }
        let revision = store.guarded_revision(session, &job).await?;
        if revision.as_ref() != Some(&job.revision) {
            return Err(StorageError::LeaseLost("the dataset's revision changed").into());
        }
        let mut counts = Counts::default();
        counts.job(job.key.kind(), STARTED, -1);
        if let Some(entry) = self.entry {
            store.store_entry(session, entry, &mut counts).await?;
        }
        let (jobs_created, requeued) = if needs_no_state(&job.key) {
            self.ensure_children(store, session, &job, &mut counts).await?
        } else {
            self.plan_children(store, session, &job, &mut counts).await?
        };
        Ok(Done::Commit(Ended { job, jobs_created, requeued, counts }))
    }
}

impl Finishing<'_> {
    /// Children that follow from the job's own names.
    async fn ensure_children(
        &self,
        store: &Inner,
        session: &mut ClientSession,
        job: &StoredJob,
        counts: &mut Counts,
    ) -> Result<(usize, bool), Failure> {
        let state = DatasetState { revision: Some(job.revision.clone()), ..DatasetState::default() };
        let tasks = planning::plan(job.key.dataset(), &state, &finished(job));
        let created = |task: Task| if let Task::CreateJob(new) = task { Some(new) } else { None };
        let jobs: Vec<NewJob> = tasks.into_iter().filter_map(created).collect();
        let own = unicity_id(&job.key, &job.revision);
        let (jobs_created, requeued) = store.ensure_waiting(session, &jobs, &own, self.now).await?;
        if jobs_created == jobs.len() {
            jobs.iter().for_each(|job| counts.job(job.key.kind(), WAITING, 1));
        }
        Ok((jobs_created, requeued))
    }

    /// Children that depend on what the dataset lists, and the end of what it lists no longer.
    async fn plan_children(
        &self,
        store: &Inner,
        session: &mut ClientSession,
        job: &StoredJob,
        counts: &mut Counts,
    ) -> Result<(usize, bool), Failure> {
        let dataset = job.key.dataset();
        let mut view = store.load_view(Some(&mut *session), dataset).await?;
        view.state.revision = Some(job.revision.clone());
        let requeued = take_rerun(&mut view, job);
        if !requeued.is_empty() {
            let again = doc! {"$set": {"created_at": to_date(self.now)}};
            let filter = doc! {"_id": {"$in": requeued.clone()}};
            store.jobs().update_many(filter, again).session(&mut *session).await?;
        }
        let tasks = planning::plan(dataset, &view.state, &finished(job));
        let kept = waiting_children(&view, job.key.kind(), &tasks);
        store.touch(session, kept, self.now).await?;
        let applied = store.apply(session, dataset, &view, tasks, self.now).await?;
        counts.merge(applied.counts);
        Ok((applied.jobs_created, !requeued.is_empty()))
    }
}

impl Inner {
    /// Deletes the job that a lease holds.
    async fn end_job(
        &self,
        session: &mut ClientSession,
        lease: &Lease,
        now: TimestampMs,
    ) -> Result<StoredJob, Failure> {
        let filter = held(lease, now)?;
        let jobs = self.jobs();
        let delete = jobs.find_one_and_delete(filter).hint(Hint::Keys(doc! {"_id": 1}));
        let deleted = delete.session(session).await?;
        let document = deleted
            .ok_or(StorageError::LeaseLost("it ran out, was given to another run, or the job is gone"))?;
        Ok(StoredJob::read(&document).map_err(StorageError::from)?)
    }

    /// The revision of the job's dataset, recorded or derived. Guards the dataset when the job has children, which
    /// siblings may be about to create too. Without children there is nothing to keep apart: whatever ends this run,
    /// a new revision or a removal, deletes the job, as this transaction does.
    async fn guarded_revision(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
    ) -> Result<Option<Revision>, Failure> {
        let dataset = job.key.dataset();
        let record = if has_children(&job.key) {
            self.guard(session, dataset).await?
        } else {
            self.recorded(dataset, Some(&mut *session)).await?
        };
        if let Some(record) = record {
            return Ok(Some(record.revision));
        }
        // Only dataset-viewer knows the dataset. The job that ends was one of those that say its revision.
        let derived = self.derived_revision(dataset, Some(session)).await?;
        let revision = derived.or_else(|| (job.key.kind() == StepKind::ROOT).then(|| job.revision.clone()));
        Ok(revision.map(|revision| unrecorded(dataset, revision).revision))
    }

    /// Stores an entry over what was there.
    async fn store_entry(
        &self,
        session: &mut ClientSession,
        entry: &Prepared,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let command = entry.upsert().map_err(|error| StorageError::Unstorable(error.to_string()))?;
        let reply = self.cache.run_raw_command(command).session(session).await?;
        let kind = entry.summary.key.kind().as_str();
        if let Ok(before) = reply.get_document("value") {
            let status = fields::integer(before, "http_status").ok().flatten().unwrap_or(0);
            let code = fields::text(before, "error_code").ok().flatten().map(str::to_owned);
            counts.entry(kind, status, code, -1);
        }
        let code = entry.summary.error_code.map(|code| code.as_str().to_owned());
        counts.entry(kind, i32::from(entry.http_status()), code, 1);
        Ok(())
    }
}

/// Matches the job while the lease holds.
///
/// # Errors
/// [`StorageError::LeaseLost`] for a job of another authority.
pub(super) fn held(lease: &Lease, now: TimestampMs) -> Result<Document, StorageError> {
    let id: ObjectId =
        object_id(lease.job_id).ok_or(StorageError::LeaseLost("the job is of another store"))?;
    let started_at = TimestampMs(lease.token);
    let cutoff = now.0.checked_sub(limits::MONGO_SILENCE_MS_MAX);
    let mut filter = doc! {"_id": id, "status": STARTED, "started_at": to_date(started_at)};
    let Some(cutoff) = cutoff else { return Ok(filter) };
    let beating = doc! {"last_heartbeat": {"$gt": to_date(TimestampMs(cutoff))}};
    if started_at.0 > cutoff {
        filter.insert("$or", vec![doc! {"last_heartbeat": Bson::Null}, beating]);
    } else {
        filter.extend(beating);
    }
    Ok(filter)
}

fn is_for(entry: &Prepared, job: &StoredJob) -> bool {
    entry.summary.key == job.key && entry.summary.revision == job.revision
}

fn finished(job: &StoredJob) -> Event {
    Event::Finished { key: job.key.clone(), priority: job.priority }
}

fn has_children(key: &ArtifactKey) -> bool {
    key.kind().children().next().is_some()
}

/// Whether the plan after this artifact follows from its names alone: it lists nothing, and no child has a level
/// whose names it does not have.
fn needs_no_state(key: &ArtifactKey) -> bool {
    let lists = matches!(key.kind(), StepKind::DatasetConfigNames | StepKind::ConfigSplitNames);
    !lists
        && key.kind().children().all(|child| match child.level() {
            Level::Dataset => true,
            Level::Config => key.config().is_some(),
            Level::Split => key.split().is_some(),
        })
}

/// Takes the waiting documents of the job that ends out of the state: they are its next run.
fn take_rerun(view: &mut View, job: &StoredJob) -> Vec<ObjectId> {
    let is_same = |key: &ArtifactKey, revision: &Revision| *key == job.key && *revision == job.revision;
    let (again, others) = std::mem::take(&mut view.state.jobs)
        .into_iter()
        .partition(|other| is_same(&other.key, &other.revision));
    view.state.jobs = others;
    let again: Vec<outpost_model::Job> = again;
    again.iter().filter_map(|job| view.jobs.remove(&job.id)).flatten().map(|job| job.id).collect()
}

/// Waiting documents of children that the plan leaves as they are.
fn waiting_children(view: &View, parent: StepKind, tasks: &[Task]) -> Vec<ObjectId> {
    let is_child = |kind: StepKind| kind.spec().parents.contains(&parent);
    let deleted = |id| tasks.contains(&Task::DeleteJob(id));
    let kept = view.state.jobs.iter().filter(|job| is_child(job.key.kind()) && !deleted(job.id));
    let documents = kept.filter_map(|job| view.jobs.get(&job.id)).flatten();
    documents.filter(|job| !job.is_started).map(|job| job.id).collect()
}
