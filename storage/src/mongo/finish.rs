//! Finishing a job: one transaction with the fence, the result, the children and the job's end, in effect as a whole or
//! not at all, also when the member that took it is lost at once.
//!
//! The root step takes the dataset's guard and is held against its revision. The others need neither: whatever ends
//! their run (a new revision, a removal, a listing without them) deletes the job, as this transaction does, so that only
//! one of the two commits; and two that create the same child meet in the unique index of waiting jobs, after which one
//! of them starts again and finds the child.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use outpost_model::{Lease, Revision, StepKind, TimestampMs, limits};

use super::documents::fields::to_date;
use super::documents::job::{STARTED, StoredJob, object_id};
use super::documents::response::{Prepared, Replaced};
use super::metrics::Counts;
use super::state::unrecorded;
use super::transaction::{Acknowledged, Attempt, Done, Failure};
use super::{Inner, children};
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
        self.lookahead.ended(&job, (jobs_created > 0).then_some(now));
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

    // The end and the job itself are one: whoever loses the end has the job again. Nobody outside is told of it before a
    // majority has it, since readers read what the change stream brought. Waiting costs a fifth of a job.
    const ACKNOWLEDGED: Acknowledged = Acknowledged::ByPrimary;

    async fn attempt(&self, store: &Inner, session: &mut ClientSession) -> Result<Done<Ended>, Failure> {
        let job = store.end_job(session, self.lease, self.now).await?;
        if self.entry.is_some_and(|entry| !is_for(entry, &job)) {
            return Err(StorageError::LeaseLost("the result is for another artifact or revision").into());
        }
        if job.key.kind() == StepKind::ROOT {
            let revision = store.guarded_revision(session, &job).await?;
            if revision.as_ref() != Some(&job.revision) {
                return Err(StorageError::LeaseLost("the dataset's revision changed").into());
            }
        }
        let mut counts = Counts::default();
        counts.job(job.key.kind(), STARTED, -1);
        let replaced = match self.entry {
            Some(entry) => store.store_entry(session, entry, &mut counts).await?,
            None => None,
        };
        let stored = self.entry.map(|entry| &entry.summary);
        let (jobs_created, requeued) = match children::sufficient_state(&job, stored, replaced.as_ref()) {
            Some(state) => store.ensure_children(session, &job, &state, self.now, &mut counts).await?,
            None => store.plan_children(session, &job, self.now, &mut counts).await?,
        };
        Ok(Done::Commit(Ended { job, jobs_created, requeued, counts }))
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
        // By its id alone, which the server need not plan for. Whether the lease holds is seen from what was deleted; when
        // not, the transaction ends without effect.
        let deleted = self.jobs().find_one_and_delete(doc! {"_id": id_of(lease)?}).session(session).await?;
        let lost = StorageError::LeaseLost("it ran out, was given to another run, or the job is gone");
        let Some(document) = deleted else { return Err(lost.into()) };
        let job = StoredJob::read(&document).map_err(StorageError::from)?;
        if is_held(&job, lease, now) { Ok(job) } else { Err(lost.into()) }
    }

    /// The revision of the job's dataset, recorded or derived. Takes the dataset's guard.
    async fn guarded_revision(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
    ) -> Result<Option<Revision>, Failure> {
        let dataset = job.key.dataset();
        if let Some(record) = self.guard(session, dataset).await? {
            return Ok(Some(record.revision));
        }
        // Only dataset-viewer knows the dataset. The job that ends was one of those that say its revision.
        let derived = self.derived_revision(dataset, Some(session)).await?;
        let revision = derived.or_else(|| (job.key.kind() == StepKind::ROOT).then(|| job.revision.clone()));
        Ok(revision.map(|revision| unrecorded(dataset, revision).revision))
    }

    /// Stores an entry over what was there, which it returns.
    async fn store_entry(
        &self,
        session: &mut ClientSession,
        entry: &Prepared,
        counts: &mut Counts,
    ) -> Result<Option<Replaced>, Failure> {
        let command = entry.upsert().map_err(|error| StorageError::Unstorable(error.to_string()))?;
        let reply = self.cache.run_raw_command(command).session(session).await?;
        let kind = entry.summary.key.kind();
        let replaced = reply.get_document("value").ok().map(|before| Replaced::read(kind, before));
        if let Some(before) = &replaced {
            counts.entry(kind.as_str(), before.http_status, before.error_code.clone(), -1);
        }
        let code = entry.summary.error_code.map(|code| code.as_str().to_owned());
        counts.entry(kind.as_str(), i32::from(entry.http_status()), code, 1);
        Ok(replaced)
    }
}

/// Matches the job while the lease holds.
///
/// # Errors
/// [`StorageError::LeaseLost`] for a job of another authority.
pub(super) fn held(lease: &Lease, now: TimestampMs) -> Result<Document, StorageError> {
    let started_at = TimestampMs(lease.token);
    let mut filter = doc! {"_id": id_of(lease)?, "status": STARTED, "started_at": to_date(started_at)};
    let Some(cutoff) = now.0.checked_sub(limits::MONGO_SILENCE_MS_MAX) else { return Ok(filter) };
    let beating = doc! {"last_heartbeat": {"$gt": to_date(TimestampMs(cutoff))}};
    if started_at.0 > cutoff {
        filter.insert("$or", vec![doc! {"last_heartbeat": Bson::Null}, beating]);
    } else {
        filter.extend(beating);
    }
    Ok(filter)
}

/// What [`held`] matches.
fn is_held(job: &StoredJob, lease: &Lease, now: TimestampMs) -> bool {
    let started_at = TimestampMs(lease.token);
    if !job.is_started || job.started_at != Some(started_at) {
        return false;
    }
    let Some(cutoff) = now.0.checked_sub(limits::MONGO_SILENCE_MS_MAX) else { return true };
    job.last_heartbeat.unwrap_or(started_at).0 > cutoff
}

fn id_of(lease: &Lease) -> Result<ObjectId, StorageError> {
    object_id(lease.job_id).ok_or(StorageError::LeaseLost("the job is of another store"))
}

fn is_for(entry: &Prepared, job: &StoredJob) -> bool {
    entry.summary.key == job.key && entry.summary.revision == job.revision
}
