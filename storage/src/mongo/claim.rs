//! Claiming: which waiting job is next, and taking it in one atomic operation.
//!
//! Owns the order (worker-and-store.md section 2.2): priority, then the namespace with the least running work, then
//! age; jobs of one age in any order. What runs is read before, so two claims at the same time may each see the other's
//! namespace as idle; a job itself is taken by one of them only. A job whose document does not fit the model is put
//! back, remembered and passed over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use outpost_model::graph::STEPS;
use outpost_model::{Lease, Priority, Queue, TimestampMs, limits};

use super::Inner;
use super::documents::fields::to_date;
use super::documents::job::{STARTED, StoredJob, WAITING, job_id};
use super::errors::is_duplicate_key;
use super::metrics::Counts;
use super::state::find;
use super::transaction::pause;
use super::write::later_than_last_run;
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

/// What runs now.
struct Running {
    /// Namespaces by how many jobs of theirs run.
    by_count: BTreeMap<u64, Vec<String>>,
    namespaces: Vec<String>,
    unicity_ids: Vec<String>,
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
        for number in 0..limits::MONGO_CLAIM_ATTEMPTS_MAX {
            match self.take_next(queues, difficulty, now).await {
                Ok(Some(before)) => match StoredJob::read(&before) {
                    Ok(job) => return self.claimed(job, now).await.map(Some),
                    Err(misfit) => self.put_back(&before, &misfit).await?,
                },
                Ok(None) => return Ok(None),
                // Another document of the same unicity id was started in the meantime.
                Err(error) if is_duplicate_key(&error) => tokio::time::sleep(pause(number)).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Starts the next job and returns its document as it was before.
    async fn take_next(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let running = self.what_runs().await?;
        let base = self.claimable(queues, difficulty, now).await?;
        for priority in Priority::ALL {
            let mut filter = base.clone();
            filter.insert("priority", priority.as_str());
            // Most jobs are of normal priority: asking first would be one question more.
            if priority != Priority::Normal && !self.any(filter.clone()).await? {
                continue;
            }
            let taken = self.take_of_priority(&filter, &running, now).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    async fn take_of_priority(
        &self,
        filter: &Document,
        running: &Running,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let mut idle = filter.clone();
        if !running.namespaces.is_empty() {
            idle.insert("namespace", doc! {"$nin": running.namespaces.clone()});
        }
        let taken = self.take(idle, now).await?;
        if taken.is_some() || running.namespaces.is_empty() {
            return Ok(taken);
        }
        let mut busy = filter.clone();
        busy.insert("unicity_id", doc! {"$nin": running.unicity_ids.clone()});
        for namespaces in running.by_count.values() {
            busy.insert("namespace", doc! {"$in": namespaces.clone()});
            let taken = self.take(busy.clone(), now).await?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Starts the oldest job that matches. Its lease counts from now; the token is greater than that of its last run.
    async fn take(
        &self,
        filter: Document,
        now: TimestampMs,
    ) -> Result<Option<Document>, mongodb::error::Error> {
        let start = vec![doc! {"$set": {
            "status": STARTED,
            "started_at": later_than_last_run(now),
            "last_heartbeat": Bson::Null,
        }}];
        let jobs = self.jobs();
        let update = jobs.find_one_and_update(filter, start).sort(doc! {"created_at": 1});
        update.return_document(ReturnDocument::Before).await
    }

    async fn any(&self, filter: Document) -> Result<bool, mongodb::error::Error> {
        Ok(self.jobs().find_one(filter).projection(doc! {"_id": 1}).await?.is_some())
    }

    async fn what_runs(&self) -> Result<Running, mongodb::error::Error> {
        let projection = doc! {"_id": 0, "namespace": 1, "unicity_id": 1};
        let started = find(&self.jobs(), doc! {"status": STARTED}, Some(projection), None).await?;
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for job in &started {
            *counts.entry(job.get_str("namespace").unwrap_or_default()).or_default() += 1;
        }
        let mut by_count: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (namespace, count) in &counts {
            by_count.entry(*count).or_default().push((*namespace).to_owned());
        }
        Ok(Running {
            namespaces: counts.keys().map(|namespace| (*namespace).to_owned()).collect(),
            by_count,
            unicity_ids: started
                .iter()
                .filter_map(|job| job.get_str("unicity_id").ok())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Matches what may be claimed at all, of any priority.
    async fn claimable(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Document, mongodb::error::Error> {
        let kinds: Vec<&str> =
            STEPS.iter().filter(|spec| queues.contains(&spec.kind.queue())).map(|spec| spec.name).collect();
        let mut filter =
            doc! {"status": WAITING, "type": {"$in": kinds}, "created_at": {"$lte": to_date(now)}};
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
        let job = started(before, now).into_job(attempts, false);
        self.running().insert(job.id, job.key.dataset().clone());
        let lease = lease_of(&job).ok_or(StorageError::LeaseLost("the job was not started"))?;
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
    StoredJob { is_started: true, started_at: Some(now.max(after_last)), last_heartbeat: None, ..before }
}

/// The lease of a started job.
pub(super) fn lease_of(job: &outpost_model::Job) -> Option<Lease> {
    match job.state {
        outpost_model::JobState::Started { token, .. } => Some(Lease { job_id: job.id, token }),
        outpost_model::JobState::Waiting { .. } => None,
    }
}
