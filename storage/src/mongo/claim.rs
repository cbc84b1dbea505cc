//! Claiming: which waiting job is next, and taking it in one atomic operation.
//!
//! Owns the order (worker-and-store.md section 2.2): priority, then the namespace with the least running work, then
//! age; jobs of one age in any order. What runs is read before, so two claims at the same time may each see the other's
//! namespace as idle; a job itself is taken by one of them only. A job whose document does not fit the model is put back,
//! remembered and passed over.

use std::sync::{Mutex, PoisonError};

use mongodb::bson::{Bson, Document, doc};
use outpost_model::graph::STEPS;
use outpost_model::{Lease, Priority, Queue, TimestampMs, limits};

use super::documents::fields::to_date;
use super::documents::job::{STARTED, StoredJob, WAITING, job_id};
use super::errors::is_duplicate_key;
use super::leases::beat;
use super::lookahead::{Ahead, Empty, Look, Namespaces, by_age};
use super::metrics::Counts;
use super::transaction::pause;
use super::write::later_than_last_run;
use super::{Inner, names};
use crate::authority::{Claim, DifficultyRange};
use crate::error::StorageError;

/// Jobs that were put back because their documents do not fit.
#[derive(Default)]
pub(super) struct MisfitJobs(Mutex<Vec<Bson>>);

impl MisfitJobs {
    fn all(&self) -> Vec<Bson> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, id: Bson) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= limits::MONGO_MISFIT_JOBS_MAX {
            ids.remove(0);
        }
        ids.push(id);
    }
}

/// What a worker takes.
struct Wanted<'a> {
    queues: &'a [Queue],
    difficulty: DifficultyRange,
}

impl Wanted<'_> {
    fn look(&self, priority: Priority, namespaces: Namespaces) -> Empty {
        Empty { priority, queues: self.queues.to_vec(), difficulty: self.difficulty, namespaces }
    }
}

impl Inner {
    /// See [`crate::Authority::claim_within`].
    pub(super) async fn claim(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Option<Claim>, StorageError> {
        if queues.is_empty() {
            return Ok(None);
        }
        let wanted = Wanted { queues, difficulty };
        for number in 0..limits::MONGO_CLAIM_ATTEMPTS_MAX {
            match self.take_next(&wanted, now).await {
                Ok(Some(before)) => match StoredJob::read(&before) {
                    Ok(job) => return self.claimed(job, now).await.map(Some),
                    Err(misfit) => self.put_back(&before, &misfit).await?,
                },
                Ok(None) => return Ok(None),
                // Another document of the same unicity id was started in the meantime.
                Err(error) if is_duplicate_key(&error) => {
                    self.lookahead.forget();
                    tokio::time::sleep(pause(number)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Starts the next job and returns its document as it was before.
    async fn take_next(
        &self,
        wanted: &Wanted<'_>,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let base = self.claimable(wanted, now).await?;
        if let Some(recent) = self.lookahead.recent() {
            let taken = self.take_from(wanted, &base, &recent, now).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        let ahead = self.look_ahead(Look::Bounded).await?;
        let taken = self.take_from(wanted, &base, &ahead, now).await?;
        if taken.is_some() || ahead.is_full() {
            return Ok(taken);
        }
        let ahead = self.look_ahead(Look::Full).await?;
        self.take_from(wanted, &base, &ahead, now).await
    }

    async fn take_from(
        &self,
        wanted: &Wanted<'_>,
        base: &Document,
        ahead: &Ahead,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        for priority in Priority::ALL {
            let Some(floor) = ahead.floor(priority, now) else { continue };
            let mut filter = base.clone();
            filter.insert("priority", priority.as_str());
            filter.insert("created_at", doc! {"$gte": to_date(floor), "$lte": to_date(now)});
            for namespaces in ahead.namespaces_in_turn() {
                let look = wanted.look(priority, namespaces);
                if ahead.is_empty(&look) {
                    continue;
                }
                filter.insert("namespace", look.namespaces.filter());
                if matches!(look.namespaces, Namespaces::Of(_)) {
                    filter.insert("unicity_id", doc! {"$nin": ahead.unicity_ids()});
                }
                let taken = self.take(filter.clone(), now).await?;
                if taken.is_some() {
                    return Ok(taken);
                }
                self.lookahead.found_nothing(ahead, look);
            }
        }
        Ok(None)
    }

    /// Starts the oldest job that matches. Its lease counts from now; the token is greater than that of its last run.
    ///
    /// Sent as a command, which the driver neither tries again nor has acknowledged by a majority: both together cost
    /// the server as much as the claim itself. A claim whose answer is lost is a lease that runs out; one that a new
    /// primary does not know is refused when it ends, as any lost lease.
    async fn take(
        &self,
        filter: Document,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let start = doc! {"$set": {
            "status": STARTED,
            "started_at": later_than_last_run(now),
            "last_heartbeat": to_date(beat(now)),
        }};
        let claim = doc! {
            "findAndModify": names::JOBS,
            "query": filter,
            "sort": {"created_at": 1},
            "hint": by_age(),
            "update": [start],
            "writeConcern": {"w": 1},
        };
        let mut reply = self.queue.run_command(claim).await?;
        match reply.remove("value") {
            Some(Bson::Document(before)) => Ok(Some(before)),
            _ => Ok(None),
        }
    }

    /// Matches what may be claimed at all, of any priority and age.
    async fn claimable(
        &self,
        wanted: &Wanted<'_>,
        now: TimestampMs,
    ) -> Result<Document, mongodb::error::Error> {
        let Wanted { queues, difficulty } = wanted;
        let kinds: Vec<&str> =
            STEPS.iter().filter(|spec| queues.contains(&spec.kind.queue())).map(|spec| spec.name).collect();
        let mut filter = doc! {"status": WAITING, "type": {"$in": kinds}};
        let mut costs = Document::new();
        if let Some(above) = difficulty.above {
            costs.insert("$gt", i32::from(above));
        }
        if let Some(up_to) = difficulty.up_to {
            costs.insert("$lte", i32::from(up_to));
        }
        if !costs.is_empty() {
            filter.insert("difficulty", costs);
        }
        let blocked = self.blocked_datasets(now).await?;
        if !blocked.is_empty() {
            filter.insert("dataset", doc! {"$nin": blocked});
        }
        let misfits = self.misfits.all();
        if !misfits.is_empty() {
            filter.insert("_id", doc! {"$nin": misfits});
        }
        Ok(filter)
    }

    /// The claim of a job that was just started, given as it was before.
    async fn claimed(&self, before: StoredJob, now: TimestampMs) -> Result<Claim, StorageError> {
        // A job that never ran has no failed runs.
        let attempts = match before.started_at {
            None => 0,
            Some(_) => {
                let attempts = self.attempts_of(&[before.id], None).await?;
                attempts.get(&job_id(before.id)).copied().unwrap_or(0)
            }
        };
        let mut counts = Counts::default();
        counts.job(before.key.kind(), WAITING, -1);
        counts.job(before.key.kind(), STARTED, 1);
        self.metrics.add(counts);
        self.lookahead.started(&before);
        let job = started(before, now).into_job(attempts, false);
        let lease = lease_of(&job).ok_or(StorageError::LeaseLost("the job was not started"))?;
        self.running().insert(job.id, (lease.token, job.key.dataset().clone()));
        Ok(Claim { job, lease })
    }

    async fn put_back(
        &self,
        before: &Document,
        misfit: &super::documents::Misfit,
    ) -> Result<(), StorageError> {
        let id = before.get("_id").cloned().unwrap_or(Bson::Null);
        tracing::error!(job.id = %id, %misfit, "a job does not fit and is passed over until this process ends");
        self.misfits.add(id.clone());
        let back = doc! {"$set": {"status": WAITING}};
        self.jobs().update_one(doc! {"_id": id, "status": STARTED}, back).await?;
        Ok(())
    }
}

/// A job as it is after a start at `now`.
pub(super) fn started(before: StoredJob, now: TimestampMs) -> StoredJob {
    let after_last = before.started_at.map_or(now, |last| last.plus_ms(1));
    StoredJob {
        is_started: true,
        started_at: Some(now.max(after_last)),
        last_heartbeat: Some(beat(now)),
        ..before
    }
}

/// The lease of a started job.
pub(super) fn lease_of(job: &outpost_model::Job) -> Option<Lease> {
    match job.state {
        outpost_model::JobState::Started { token, .. } => Some(Lease { job_id: job.id, token }),
        outpost_model::JobState::Waiting { .. } => None,
    }
}
