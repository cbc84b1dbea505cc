//! A simple authority: plain lists and loops, nothing stored, nothing indexed.
//!
//! Owns the rules of the queue in the most readable form, to compare real stores with. Planning is shared with them:
//! it has tests of its own.

use std::collections::BTreeMap;

use outpost_model::job::backoff_ms;
use outpost_model::planning::{self, DatasetState, EntrySummary, Event, Task};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Entry, Job, JobId, JobState, NewJob, Queue, TimestampMs, limits,
};

use crate::authority::{ReleaseReason, Released};

/// A job of the model; its id is the order of creation.
#[derive(Debug, Clone)]
pub(super) struct ModelJob {
    pub(super) job: Job,
    interruptions: u32,
}

/// What a claim of the model gives: the job and its token.
pub(super) type ModelClaim = (Job, u64);

/// The call was refused because the lease is lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeaseLost;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) datasets: BTreeMap<DatasetName, DatasetRecord>,
    pub(super) entries: BTreeMap<ArtifactKey, Entry>,
    pub(super) jobs: Vec<ModelJob>,
    next_id: u64,
    next_token: u64,
}

impl Model {
    pub(super) fn state(&self, dataset: &DatasetName) -> DatasetState {
        let of_dataset = |key: &ArtifactKey| key.dataset() == dataset;
        let record = self.datasets.get(dataset);
        DatasetState {
            revision: record.map(|record| record.revision.clone()),
            visibility: record.map(|record| record.visibility),
            entries: self.entries.values().filter(|entry| of_dataset(&entry.key)).map(summary).collect(),
            jobs: self.jobs.iter().map(|live| live.job.clone()).filter(|job| of_dataset(&job.key)).collect(),
        }
    }

    pub(super) fn submit(&mut self, dataset: &DatasetName, event: &Event, now: TimestampMs) {
        let tasks = planning::plan(dataset, &self.state(dataset), event);
        self.apply(dataset, tasks, now);
    }

    /// Claims the next job. Among jobs that are equally next, which is up to a store, the one of `chosen` is taken.
    pub(super) fn claim(
        &mut self,
        queues: &[Queue],
        now: TimestampMs,
        chosen: Option<&ArtifactKey>,
    ) -> Option<ModelClaim> {
        let running = |job: &Job| {
            let namespace = job.key.dataset().namespace();
            let same = |other: &&ModelJob| {
                other.job.is_started() && other.job.key.dataset().namespace() == namespace
            };
            self.jobs.iter().filter(same).count()
        };
        let claimable = |job: &Job| match job.state {
            JobState::Waiting { not_before } => not_before <= now && queues.contains(&job.key.kind().queue()),
            JobState::Started { .. } => false,
        };
        let order = |live: &ModelJob| {
            let suspect = live.interruptions > limits::JOB_INTERRUPTIONS_UNSUSPECTED_MAX;
            let job = &live.job;
            (
                suspect,
                std::cmp::Reverse((!suspect).then_some(job.priority)),
                running(job),
                job.created_at,
                Some(&job.key) != chosen,
                job.id,
            )
        };
        let candidates = self.jobs.iter().filter(|live| claimable(&live.job));
        let next = candidates.min_by_key(|live| order(live))?.job.id;
        Some(self.start(next, now, false))
    }

    pub(super) fn heartbeat(&mut self, claim: &ModelClaim, now: TimestampMs) -> Result<(), LeaseLost> {
        let live = self.held(claim, now)?;
        if let JobState::Started { lease_expires_at, .. } = &mut live.job.state {
            *lease_expires_at = now.plus_ms(limits::LEASE_MS);
        }
        Ok(())
    }

    /// Finishes with the entry, or with nothing.
    pub(super) fn finish(
        &mut self,
        claim: &ModelClaim,
        entry: Option<Entry>,
        now: TimestampMs,
    ) -> Result<(), LeaseLost> {
        let job = self.held(claim, now)?.job.clone();
        if let Some(mut entry) = entry {
            let before = self.entries.get(&entry.key).filter(|stored| stored.revision == entry.revision);
            entry.failed_runs = before.map_or(0, |stored| stored.failed_runs) + u32::from(!entry.is_ok());
            self.entries.insert(entry.key.clone(), entry);
        }
        self.jobs.retain(|live| live.job.id != job.id);
        let dataset = job.key.dataset().clone();
        let event = Event::Finished { key: job.key.clone(), priority: job.priority };
        let tasks = planning::plan(&dataset, &self.state(&dataset), &event);
        if matches!(job.state, JobState::Started { rerun: true, .. }) {
            let state = JobState::Waiting { not_before: now };
            let job = Job { created_at: now, attempts: 0, state, ..job };
            self.jobs.push(ModelJob { job, interruptions: 0 });
        }
        self.apply(&dataset, tasks, now);
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        claim: &ModelClaim,
        reason: ReleaseReason,
        now: TimestampMs,
    ) -> Result<Released, LeaseLost> {
        let job = &mut self.held(claim, now)?.job;
        if reason == ReleaseReason::Drained {
            wait(job);
            return Ok(Released::Requeued { attempts: job.attempts });
        }
        job.attempts = (job.attempts + 1).min(limits::JOB_ATTEMPTS_MAX);
        if job.attempts == limits::JOB_ATTEMPTS_MAX {
            return Ok(Released::Exhausted);
        }
        job.created_at = now.plus_ms(backoff_ms(job.attempts));
        wait(job);
        Ok(Released::Requeued { attempts: job.attempts })
    }

    pub(super) fn expire_leases(&mut self, now: TimestampMs) -> Vec<ModelClaim> {
        let mut claims = Vec::new();
        for index in 0..self.jobs.len() {
            let job = &mut self.jobs[index].job;
            let JobState::Started { lease_expires_at, rerun, .. } = job.state else { continue };
            if lease_expires_at > now {
                continue;
            }
            job.attempts = (job.attempts + 1).min(limits::JOB_ATTEMPTS_MAX);
            if job.attempts < limits::JOB_ATTEMPTS_MAX {
                job.created_at = now.plus_ms(backoff_ms(job.attempts));
                wait(job);
            } else {
                let id = job.id;
                claims.push(self.start(id, now, rerun));
            }
        }
        claims
    }

    /// The process that held the queue alone ended: its jobs wait again, and one that was running at too many ends
    /// is treated as if its lease had run out.
    pub(super) fn end_process(&mut self) {
        for live in &mut self.jobs {
            let JobState::Started { lease_expires_at, .. } = &mut live.job.state else { continue };
            live.interruptions += 1;
            if live.interruptions > limits::JOB_INTERRUPTIONS_MAX {
                *lease_expires_at = TimestampMs(0);
            } else {
                wait(&mut live.job);
            }
        }
    }

    fn held(&mut self, (job, token): &ModelClaim, now: TimestampMs) -> Result<&mut ModelJob, LeaseLost> {
        let id = job.id;
        let is_held = |live: &&mut ModelJob| {
            let JobState::Started { token: current, lease_expires_at, .. } = live.job.state else {
                return false;
            };
            live.job.id == id && current == *token && now < lease_expires_at
        };
        self.jobs.iter_mut().find(is_held).ok_or(LeaseLost)
    }

    fn start(&mut self, id: JobId, now: TimestampMs, rerun: bool) -> ModelClaim {
        self.next_token += 1;
        let token = self.next_token;
        let live = self.jobs.iter_mut().find(|live| live.job.id == id).expect("the caller found it");
        let lease_expires_at = now.plus_ms(limits::LEASE_MS);
        live.job.state = JobState::Started { token, started_at: now, lease_expires_at, rerun };
        (live.job.clone(), token)
    }

    fn apply(&mut self, dataset: &DatasetName, tasks: Vec<Task>, now: TimestampMs) {
        for task in tasks {
            match task {
                Task::SetDataset { revision, visibility } => {
                    let dataset = dataset.clone();
                    let record =
                        DatasetRecord { dataset: dataset.clone(), revision, visibility, checked_at: now };
                    self.datasets.insert(dataset, record);
                }
                Task::DropDataset => {
                    self.datasets.remove(dataset);
                }
                Task::DeleteEntry(key) => {
                    self.entries.remove(&key);
                }
                Task::DeleteJob(id) => self.jobs.retain(|live| live.job.id != id),
                Task::Rerun(id) => {
                    let live = self.jobs.iter_mut().find(|live| live.job.id == id);
                    if let Some(JobState::Started { rerun, .. }) = live.map(|live| &mut live.job.state) {
                        *rerun = true;
                    }
                }
                Task::CreateJob(new) => self.create(new, now),
            }
        }
    }

    fn create(&mut self, new: NewJob, now: TimestampMs) {
        assert!(self.jobs.iter().all(|live| live.job.key != new.key), "planned a second job for {}", new.key);
        self.next_id += 1;
        let NewJob { key, revision, priority, difficulty } = new;
        let id = JobId(self.next_id.into());
        let state = JobState::Waiting { not_before: now };
        let job = Job { id, key, revision, priority, difficulty, created_at: now, attempts: 0, state };
        self.jobs.push(ModelJob { job, interruptions: 0 });
    }
}

/// Back in the queue, as old as the time from which it may run.
fn wait(job: &mut Job) {
    job.state = JobState::Waiting { not_before: job.created_at };
}

fn summary(entry: &Entry) -> EntrySummary {
    EntrySummary {
        key: entry.key.clone(),
        error_code: entry.error_code,
        revision: entry.revision.clone(),
        names: entry.names.clone(),
        job_runner_version: entry.job_runner_version,
        failed_runs: entry.failed_runs,
    }
}
