//! Heartbeats, giving runs back, taking back those whose lease ran out.
//!
//! Owns attempts and back-off. A job's lease ends [`limits::MONGO_SILENCE_MS_MAX`] after `last_heartbeat`, or after its
//! start while there is none: dataset-viewer's own rule for stuck jobs (worker-and-store.md section 2.3), whose workers
//! say so each minute. Our leases are shorter, [`limits::LEASE_MS`]: a claim and each heartbeat of ours store the time
//! after which only that much is left of dataset-viewer's. One rule is thus right for both, and either may take back
//! what the other's lost workers left.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::Hint;
use outpost_model::job::backoff_ms;
use outpost_model::{Lease, TimestampMs, limits};

use super::Inner;
use super::claim::{lease_of, started};
use super::documents::fields::to_date;
use super::documents::job::{STARTED, StoredJob, WAITING, job_id, unicity_id};
use super::finish::held;
use super::metrics::Counts;
use super::state::known_kinds;
use super::transaction::{Attempt, Done, Failure};
use super::write::later_than_last_run;
use crate::authority::{Claim, ReleaseReason, Released};
use crate::error::StorageError;

struct Releasing<'a> {
    lease: &'a Lease,
    reason: ReleaseReason,
    now: TimestampMs,
}

struct Expiring {
    id: ObjectId,
    now: TimestampMs,
}

/// What became of an expired lease.
enum Expired {
    /// It was renewed, ended or taken back by another in the meantime.
    Gone,
    Requeued,
    Claimed(Box<Claim>),
}

impl Inner {
    /// See [`crate::Authority::heartbeat`].
    pub(super) async fn heartbeat(&self, lease: &Lease, now: TimestampMs) -> Result<(), StorageError> {
        let beat = doc! {"$set": {"last_heartbeat": to_date(beat(now))}};
        let jobs = self.jobs();
        let update = jobs.update_one(held(lease, now)?, beat).hint(Hint::Keys(doc! {"_id": 1}));
        let result = update.await?;
        if result.matched_count == 1 {
            return Ok(());
        }
        // Another run of the job may be ours too.
        self.running().retain(|id, (token, _)| *id != lease.job_id || *token != lease.token);
        Err(StorageError::LeaseLost("it ran out, was given to another run, or the job is gone"))
    }

    /// See [`crate::Authority::release`].
    pub(super) async fn release(
        &self,
        lease: &Lease,
        reason: ReleaseReason,
        now: TimestampMs,
    ) -> Result<Released, StorageError> {
        let (released, counts) = self.transact(&Releasing { lease, reason, now }).await?.output;
        self.metrics.add(counts);
        self.lookahead.forget();
        if matches!(released, Released::Requeued { .. }) {
            self.running().remove(&lease.job_id);
            self.work.notify_waiters();
        }
        Ok(released)
    }

    /// See [`crate::Authority::expire_leases`].
    pub(super) async fn expire_leases(&self, now: TimestampMs) -> Result<Vec<Claim>, StorageError> {
        let Some(filter) = expired(now) else { return Ok(Vec::new()) };
        let limit = i64::try_from(limits::EXPIRED_LEASES_PER_CALL_MAX).unwrap_or(i64::MAX);
        let jobs = self.jobs();
        let mut cursor = jobs.find(filter).projection(doc! {"_id": 1}).limit(limit).await?;
        let mut ids = Vec::new();
        while cursor.advance().await? {
            ids.extend(cursor.deserialize_current()?.get_object_id("_id").ok());
        }
        let mut claims = Vec::new();
        if !ids.is_empty() {
            self.lookahead.forget();
        }
        for id in ids {
            let (expired, counts) = self.transact(&Expiring { id, now }).await?.output;
            self.metrics.add(counts);
            match expired {
                Expired::Gone => {}
                Expired::Requeued => self.work.notify_waiters(),
                Expired::Claimed(claim) => {
                    let dataset = claim.job.key.dataset().clone();
                    self.running().insert(claim.job.id, (claim.lease.token, dataset));
                    claims.push(*claim);
                }
            }
        }
        Ok(claims)
    }

    /// Counts a failed run and returns how many there are now.
    async fn count_attempt(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
        now: TimestampMs,
    ) -> Result<u32, Failure> {
        let attempts = self.attempts_of(&[job.id], Some(&mut *session)).await?;
        let before = attempts.get(&job_id(job.id)).copied().unwrap_or(0);
        let attempts = (before + 1).min(limits::JOB_ATTEMPTS_MAX);
        let set = doc! {"$set": {"attempts": attempts, "updated_at": to_date(now)}};
        self.attempts().update_one(doc! {"_id": job.id}, set).upsert(true).session(session).await?;
        Ok(attempts)
    }

    /// Puts a started job back into the queue, as old as `created_at` says. What was to run again after it need not:
    /// it has not run.
    async fn wait(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
        created_at: TimestampMs,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let set = doc! {"status": WAITING, "created_at": to_date(created_at), "last_heartbeat": Bson::Null};
        let back = doc! {"$set": set};
        let again = doc! {
            "unicity_id": unicity_id(&job.key, &job.revision), "status": WAITING, "_id": {"$ne": job.id},
        };
        // First, since only one of them may wait.
        let deleted = self.jobs().delete_many(again).session(&mut *session).await?;
        self.jobs().update_one(doc! {"_id": job.id}, back).session(session).await?;
        counts.job(job.key.kind(), STARTED, -1);
        counts.job(job.key.kind(), WAITING, 1 - i64::try_from(deleted.deleted_count).unwrap_or(0));
        Ok(())
    }
}

#[async_trait]
impl Attempt for Releasing<'_> {
    type Output = (Released, Counts);

    async fn attempt(
        &self,
        store: &Inner,
        session: &mut ClientSession,
    ) -> Result<Done<Self::Output>, Failure> {
        let found = store.jobs().find_one(held(self.lease, self.now)?).session(&mut *session).await?;
        let lost = StorageError::LeaseLost("it ran out, was given to another run, or the job is gone");
        let job = StoredJob::read(&found.ok_or(lost)?).map_err(StorageError::from)?;
        store.guard(session, job.key.dataset()).await?;
        let mut counts = Counts::default();
        let (attempts, created_at) = match self.reason {
            ReleaseReason::Drained => {
                let attempts = store.attempts_of(&[job.id], Some(&mut *session)).await?;
                (attempts.get(&job_id(job.id)).copied().unwrap_or(0), job.created_at)
            }
            ReleaseReason::Failed => {
                let attempts = store.count_attempt(session, &job, self.now).await?;
                if attempts == limits::JOB_ATTEMPTS_MAX {
                    return Ok(Done::Commit((Released::Exhausted, counts)));
                }
                (attempts, self.now.plus_ms(backoff_ms(attempts)))
            }
        };
        store.wait(session, &job, created_at, &mut counts).await?;
        Ok(Done::Commit((Released::Requeued { attempts }, counts)))
    }
}

#[async_trait]
impl Attempt for Expiring {
    type Output = (Expired, Counts);

    async fn attempt(
        &self,
        store: &Inner,
        session: &mut ClientSession,
    ) -> Result<Done<Self::Output>, Failure> {
        let mut counts = Counts::default();
        let Some(mut filter) = expired(self.now) else { return Ok(Done::Nothing((Expired::Gone, counts))) };
        filter.insert("_id", self.id);
        let Some(found) = store.jobs().find_one(filter).session(&mut *session).await? else {
            return Ok(Done::Nothing((Expired::Gone, counts)));
        };
        let Ok(job) = StoredJob::read(&found) else {
            return Ok(Done::Nothing((Expired::Gone, counts)));
        };
        store.guard(session, job.key.dataset()).await?;
        let attempts = store.count_attempt(session, &job, self.now).await?;
        if attempts < limits::JOB_ATTEMPTS_MAX {
            let due = self.now.plus_ms(backoff_ms(attempts));
            store.wait(session, &job, due, &mut counts).await?;
            return Ok(Done::Commit((Expired::Requeued, counts)));
        }
        let beat = to_date(beat(self.now));
        let set = doc! {"started_at": later_than_last_run(self.now), "last_heartbeat": beat};
        store
            .jobs()
            .update_one(doc! {"_id": job.id}, vec![doc! {"$set": set}])
            .session(&mut *session)
            .await?;
        let again = doc! {"unicity_id": unicity_id(&job.key, &job.revision), "status": WAITING};
        let rerun = store.jobs().find_one(again).session(&mut *session).await?.is_some();
        let job = started(job, self.now).into_job(attempts, rerun);
        let lease = lease_of(&job).ok_or(StorageError::LeaseLost("the job was not started"))?;
        Ok(Done::Commit((Expired::Claimed(Box::new(Claim { job, lease })), counts)))
    }
}

/// What a heartbeat of ours at `now` stores: our lease is what dataset-viewer's has left after that time.
pub(super) fn beat(now: TimestampMs) -> TimestampMs {
    TimestampMs((now.0 + limits::LEASE_MS).saturating_sub(limits::MONGO_SILENCE_MS_MAX))
}

/// When a worker gave the sign of life that is stored as `stored`; `None` for that of a claim. A time before the start
/// is one of ours. In a run of ours that is older than the difference the two cannot be told apart any more, and the
/// stored time is given, which is early.
pub(super) fn heard(stored: TimestampMs, started_at: Option<TimestampMs>) -> Option<TimestampMs> {
    let Some(started_at) = started_at.filter(|started_at| stored < *started_at) else { return Some(stored) };
    let heard = stored.plus_ms(limits::MONGO_SILENCE_MS_MAX - limits::LEASE_MS);
    (heard > started_at).then_some(heard)
}

/// Matches jobs whose lease has run out; `None` when none can have.
fn expired(now: TimestampMs) -> Option<Document> {
    let cutoff = to_date(TimestampMs(now.0.checked_sub(limits::MONGO_SILENCE_MS_MAX)?));
    let silent = doc! {"last_heartbeat": Bson::Null, "started_at": {"$lte": cutoff}};
    Some(doc! {
        "status": STARTED,
        "type": {"$in": known_kinds()},
        "$or": [{"last_heartbeat": {"$lte": cutoff}}, silent],
    })
}
