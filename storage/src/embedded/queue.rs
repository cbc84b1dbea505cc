//! The queue's index in memory: which job is next, whose lease ends, what runs per namespace.
//!
//! Owns the order of claims: priority, then the namespace with the least running work, then age; a job that was running
//! at several ends of the process goes last, so that one that brings the node down does not hold up the others. The engine's jobs
//! are the truth; the index is rebuilt from them at open and changed after each commit. It refuses nothing and
//! cannot fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use outpost_model::{
    ArtifactKey, DatasetName, Job, JobId, JobState, Lease, Priority, Queue, StepKind, TimestampMs,
};

use super::lane::Lane;
use super::records::LiveJob;
use crate::authority::DifficultyRange;
use crate::error::StorageError;

/// Every live job, indexed.
#[derive(Default)]
pub(super) struct QueueIndex {
    jobs: BTreeMap<JobId, LiveJob>,
    by_key: HashMap<ArtifactKey, JobId>,
    by_dataset: HashMap<DatasetName, BTreeSet<JobId>>,
    /// Claimable jobs.
    lanes: [[Lane; LANES]; Queue::ALL.len()],
    /// Jobs that wait for their `not_before`.
    delayed: [BTreeSet<(TimestampMs, JobId)>; Queue::ALL.len()],
    /// Started jobs by the end of their lease.
    leases: BTreeSet<(TimestampMs, JobId)>,
    running: HashMap<Arc<str>, u64>,
    /// Datasets over their budget, and until when; some ends may have passed.
    blocked: HashMap<DatasetName, TimestampMs>,
    counts: BTreeMap<StepKind, (u64, u64)>,
    /// The latest time that a caller gave.
    clock: TimestampMs,
}

/// What waiting workers need to know of one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct QueueHint {
    /// Whether a job can be claimed.
    pub(super) ready: bool,
    /// When the next waiting job becomes claimable.
    pub(super) next_due: Option<TimestampMs>,
}

/// Lanes of a queue, the most urgent last: one for suspects, one per priority.
const LANES: usize = 4;

fn lane_slot(live: &LiveJob) -> usize {
    if live.is_suspect() {
        return 0;
    }
    match live.job.priority {
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

/// The queue's index in arrays.
pub(super) fn queue_slot(queue: Queue) -> usize {
    match queue {
        Queue::Datasets => 0,
        Queue::Splits => 1,
    }
}

impl QueueIndex {
    pub(super) fn get(&self, id: JobId) -> Option<&LiveJob> {
        self.jobs.get(&id)
    }

    /// The live job of an artifact.
    pub(super) fn job_of(&self, key: &ArtifactKey) -> Option<JobId> {
        self.by_key.get(key).copied()
    }

    /// The live jobs of a dataset, oldest first.
    pub(super) fn jobs_of(&self, dataset: &DatasetName) -> Vec<Job> {
        let ids = self.by_dataset.get(dataset).into_iter().flatten();
        ids.filter_map(|id| self.jobs.get(id)).map(|live| live.job.clone()).collect()
    }

    /// Live jobs in the order of their creation, those after `after` only.
    pub(super) fn jobs_after(&self, after: Option<JobId>) -> impl Iterator<Item = &Job> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.jobs.range((from, Bound::Unbounded)).map(|(_, live)| &live.job)
    }

    /// As [`QueueIndex::jobs_after`], of one dataset.
    pub(super) fn dataset_jobs_after(
        &self,
        dataset: &DatasetName,
        after: Option<JobId>,
    ) -> impl Iterator<Item = &Job> {
        let ids = self.by_dataset.get(dataset).into_iter().flatten();
        let later = ids.filter(move |id| after.is_none_or(|after| **id > after));
        later.filter_map(|id| self.jobs.get(id)).map(|live| &live.job)
    }

    /// Jobs per step: (waiting, started).
    pub(super) fn counts(&self) -> impl Iterator<Item = (StepKind, u64, u64)> {
        self.counts.iter().map(|(kind, (waiting, started))| (*kind, *waiting, *started))
    }

    /// The job that `lease` holds.
    ///
    /// # Errors
    /// [`StorageError::LeaseLost`] with the reason.
    pub(super) fn held(&self, lease: &Lease, now: TimestampMs) -> Result<&LiveJob, StorageError> {
        let live = self.jobs.get(&lease.job_id).ok_or(StorageError::LeaseLost("the job is gone"))?;
        match live.job.state {
            JobState::Started { token, lease_expires_at, .. } if token == lease.token => {
                if now < lease_expires_at { Ok(live) } else { Err(StorageError::LeaseLost("it ran out")) }
            }
            _ => Err(StorageError::LeaseLost("the job was given to another run")),
        }
    }

    /// Takes the caller's time: jobs whose `not_before` has passed become claimable.
    pub(super) fn advance(&mut self, now: TimestampMs) {
        self.clock = self.clock.max(now);
        for slot in 0..self.delayed.len() {
            while let Some(&(due, id)) = self.delayed[slot].first() {
                if due > self.clock {
                    break;
                }
                self.delayed[slot].pop_first();
                if let Some(live) = self.jobs.get(&id).cloned() {
                    self.enter_lane(&live);
                }
            }
        }
    }

    /// The job to claim next from these queues, of those in the range.
    pub(super) fn next(&self, queues: &[Queue], difficulty: DifficultyRange) -> Option<&LiveJob> {
        let slots = || queues.iter().map(|queue| queue_slot(*queue));
        let in_range = |id| self.jobs.get(&id).is_some_and(|live| difficulty.contains(live.job.difficulty));
        let first = |lane: &Lane| match difficulty {
            DifficultyRange::ALL => lane.first().cloned(),
            _ => lane.first_of(in_range),
        };
        let turn = (0..LANES)
            .rev()
            .find_map(|lane| slots().filter_map(|slot| first(&self.lanes[slot][lane])).min())?;
        self.jobs.get(&turn.job)
    }

    /// Makes the jobs of a dataset wait until then, also those to come. Returns the datasets whose blockage has ended.
    pub(super) fn block(&mut self, dataset: &DatasetName, until: TimestampMs) -> Vec<DatasetName> {
        let ids = self.by_dataset.get(dataset).cloned().unwrap_or_default();
        let jobs: Vec<LiveJob> = ids.iter().filter_map(|id| self.jobs.get(id)).cloned().collect();
        ids.iter().for_each(|id| self.remove(*id));
        let clock = self.clock;
        let ended = self.blocked.extract_if(|_, until| *until <= clock).map(|(ended, _)| ended).collect();
        self.blocked.insert(dataset.clone(), until);
        jobs.into_iter().for_each(|live| self.put(live));
        ended
    }

    pub(super) fn is_blocked(&self, dataset: &DatasetName, now: TimestampMs) -> bool {
        self.blocked.get(dataset).is_some_and(|until| *until > now)
    }

    /// The datasets that are blocked.
    pub(super) fn blocked(&self, now: TimestampMs) -> impl Iterator<Item = &DatasetName> {
        self.blocked.iter().filter(move |(_, until)| **until > now).map(|(dataset, _)| dataset)
    }

    /// When a waiting job may be claimed: the end of its back-off, or of its dataset's blockage.
    fn due(&self, job: &Job, not_before: TimestampMs) -> TimestampMs {
        let blocked_until = self.blocked.get(job.key.dataset()).copied().unwrap_or_default();
        not_before.max(blocked_until)
    }

    /// Started jobs whose lease has run out, at most `limit`.
    pub(super) fn expired(&self, now: TimestampMs, limit: usize) -> Vec<JobId> {
        let ended = self.leases.iter().take_while(|(expires_at, _)| *expires_at <= now);
        ended.take(limit).map(|(_, id)| *id).collect()
    }

    pub(super) fn hint(&self, queue: Queue) -> QueueHint {
        let slot = queue_slot(queue);
        QueueHint {
            ready: self.lanes[slot].iter().any(|lane| lane.first().is_some()),
            next_due: self.delayed[slot].first().map(|(due, _)| *due),
        }
    }

    /// Inserts a job or replaces it by its new state.
    pub(super) fn put(&mut self, live: LiveJob) {
        self.remove(live.job.id);
        let job = &live.job;
        self.by_key.insert(job.key.clone(), job.id);
        self.by_dataset.entry(job.key.dataset().clone()).or_default().insert(job.id);
        let (waiting, started) = self.counts.entry(job.key.kind()).or_default();
        match job.state {
            JobState::Waiting { not_before } => {
                *waiting += 1;
                let due = self.due(job, not_before);
                if due <= self.clock {
                    self.enter_lane(&live);
                } else {
                    self.delayed[queue_slot(job.key.kind().queue())].insert((due, job.id));
                }
            }
            JobState::Started { lease_expires_at, .. } => {
                *started += 1;
                self.leases.insert((lease_expires_at, job.id));
                self.change_running(job.key.dataset().namespace(), 1);
            }
        }
        self.jobs.insert(job.id, live);
    }

    /// Removes a job, if it is there.
    pub(super) fn remove(&mut self, id: JobId) {
        let Some(live) = self.jobs.remove(&id) else { return };
        let job = &live.job;
        if self.by_key.get(&job.key) == Some(&id) {
            self.by_key.remove(&job.key);
        }
        if let Some(ids) = self.by_dataset.get_mut(job.key.dataset()) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_dataset.remove(job.key.dataset());
            }
        }
        let (waiting, started) = self.counts.entry(job.key.kind()).or_default();
        match job.state {
            JobState::Waiting { not_before } => {
                *waiting -= 1;
                let slot = queue_slot(job.key.kind().queue());
                let due = self.due(job, not_before);
                if !self.delayed[slot].remove(&(due, id)) {
                    self.lanes[slot][lane_slot(&live)].leave(
                        job.key.dataset().namespace(),
                        job.created_at,
                        id,
                    );
                }
            }
            JobState::Started { lease_expires_at, .. } => {
                *started -= 1;
                self.leases.remove(&(lease_expires_at, id));
                self.change_running(job.key.dataset().namespace(), -1);
            }
        }
    }

    fn enter_lane(&mut self, live: &LiveJob) {
        let job = &live.job;
        let namespace = job.key.dataset().namespace();
        let running = self.running.get(namespace).copied().unwrap_or(0);
        let lane = &mut self.lanes[queue_slot(job.key.kind().queue())][lane_slot(live)];
        lane.enter(namespace, running, job.created_at, job.id);
    }

    fn change_running(&mut self, namespace: &str, by: i64) {
        let before = self.running.get(namespace).copied().unwrap_or(0);
        let after = before.saturating_add_signed(by);
        if after == 0 {
            self.running.remove(namespace);
        } else {
            self.running.insert(namespace.into(), after);
        }
        for lane in self.lanes.iter_mut().flatten() {
            lane.reorder(namespace, after);
        }
    }
}
