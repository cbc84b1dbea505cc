//! The operations of the authority as they run in the writer.
//!
//! Owns the queue's rules: what may be claimed, finished, given back and taken back. Each operation checks first,
//! plans, and ends in one commit; a refusal leaves everything as it was.

use std::collections::HashSet;

use outpost_model::job::backoff_ms;
use outpost_model::planning::{self, DatasetState, Event, Task};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Job, JobId, JobState, Lease, NewJob, Queue, TimestampMs, limits,
};

use super::budgets;
use super::core::{Change, Core};
use super::entries::PreparedEntry;
use super::records::LiveJob;
use crate::authority::{Claim, DifficultyRange, Finished, ReleaseReason, Released, Submitted};
use crate::error::StorageError;

/// Fencing tokens reserved at a time.
const TOKENS_PER_BLOCK: u64 = 100_000;

/// A [`crate::Completion`] whose entry is ready to be stored.
pub(super) enum PreparedCompletion {
    Store(Box<PreparedEntry>),
    Nothing,
}

/// See [`crate::Authority::submit`].
pub(super) fn submit(
    core: &mut Core,
    dataset: &DatasetName,
    event: &Event,
    now: TimestampMs,
) -> Result<Submitted, StorageError> {
    core.queue.advance(now);
    let (state, damaged) = core.take_state_of(dataset)?;
    let tasks = planning::plan(dataset, &state, event);
    let mut changes: Vec<Change> = damaged.into_iter().map(Change::DeleteEntry).collect();
    let jobs_created = add_tasks(core, &mut changes, dataset, tasks, now);
    commit_and_keep(core, dataset, state, changes)?;
    Ok(Submitted { position: core.position(), jobs_created })
}

/// See [`crate::Authority::claim_within`]. The second value says whether the answer must wait for the disk.
pub(super) fn claim(
    core: &mut Core,
    queues: &[Queue],
    difficulty: DifficultyRange,
    now: TimestampMs,
) -> Result<(Option<Claim>, bool), StorageError> {
    core.queue.advance(now);
    let Some(live) = core.queue.next(queues, difficulty).cloned() else { return Ok((None, false)) };
    let reserved = ensure_token(core)?;
    let (live, claim) = start(core, live, now, false);
    core.commit(vec![Change::PutJob(live)])?;
    Ok((Some(claim), reserved))
}

/// See [`crate::Authority::heartbeat`]. Leases end with the process that holds the store, so their ends are kept in
/// memory only.
pub(super) fn heartbeat(core: &mut Core, lease: &Lease, now: TimestampMs) -> Result<(), StorageError> {
    let mut live = core.queue.held(lease, now)?.clone();
    if let JobState::Started { lease_expires_at, .. } = &mut live.job.state {
        *lease_expires_at = now.plus_ms(limits::LEASE_MS);
    }
    core.queue.put(live);
    Ok(())
}

/// See [`crate::Authority::finish`].
pub(super) fn finish(
    core: &mut Core,
    lease: &Lease,
    completion: PreparedCompletion,
    now: TimestampMs,
) -> Result<Finished, StorageError> {
    core.queue.advance(now);
    let live = core.queue.held(lease, now)?.clone();
    let job = &live.job;
    let dataset = job.key.dataset().clone();
    let (mut state, damaged) = core.take_state_of(&dataset)?;
    if state.revision.as_ref() != Some(&job.revision) {
        return Err(StorageError::LeaseLost("the dataset's revision changed"));
    }
    let mut changes: Vec<Change> = damaged.into_iter().map(Change::DeleteEntry).collect();
    if let PreparedCompletion::Store(mut entry) = completion {
        if entry.key != job.key || entry.revision != job.revision {
            return Err(StorageError::LeaseLost("the result is for another artifact or revision"));
        }
        replace_summary(&mut state, &mut entry);
        changes.retain(|change| !matches!(change, Change::DeleteEntry(key) if *key == entry.key));
        changes.push(Change::PutEntry(entry));
    }
    let requeued = matches!(job.state, JobState::Started { rerun: true, .. });
    state.jobs.retain(|other| other.id != job.id);
    changes.push(if requeued { requeue(job, now) } else { Change::DeleteJob(job.id) });
    let event = Event::Finished { key: job.key.clone(), priority: job.priority };
    let tasks = planning::plan(&dataset, &state, &event);
    let jobs_created = add_tasks(core, &mut changes, &dataset, tasks, now);
    let (job_id, started_at) = (job.id, started_at(job));
    commit_and_keep(core, &dataset, state, changes)?;
    budgets::count_run(core, (job_id, dataset), now.since_ms(started_at), now)?;
    Ok(Finished { position: core.position(), jobs_created, requeued })
}

/// See [`crate::Authority::release`].
pub(super) fn release(
    core: &mut Core,
    lease: &Lease,
    reason: ReleaseReason,
    now: TimestampMs,
) -> Result<Released, StorageError> {
    core.queue.advance(now);
    let mut live = core.queue.held(lease, now)?.clone();
    if reason == ReleaseReason::Failed {
        live.job.attempts = (live.job.attempts + 1).min(limits::JOB_ATTEMPTS_MAX);
        if live.job.attempts == limits::JOB_ATTEMPTS_MAX {
            core.commit(vec![Change::PutJob(live)])?;
            return Ok(Released::Exhausted);
        }
        live.job.created_at = now.plus_ms(backoff_ms(live.job.attempts));
    }
    let attempts = live.job.attempts;
    wait(&mut live.job);
    core.commit(vec![Change::PutJob(live)])?;
    Ok(Released::Requeued { attempts })
}

/// See [`crate::Authority::expire_leases`].
pub(super) fn expire_leases(core: &mut Core, now: TimestampMs) -> Result<Vec<Claim>, StorageError> {
    core.queue.advance(now);
    let mut changes = Vec::new();
    let mut claims = Vec::new();
    for id in core.queue.expired(now, limits::EXPIRED_LEASES_PER_CALL_MAX) {
        let Some(mut live) = core.queue.get(id).cloned() else { continue };
        live.job.attempts = (live.job.attempts + 1).min(limits::JOB_ATTEMPTS_MAX);
        if live.job.attempts < limits::JOB_ATTEMPTS_MAX {
            live.job.created_at = now.plus_ms(backoff_ms(live.job.attempts));
            wait(&mut live.job);
            changes.push(Change::PutJob(live));
        } else {
            ensure_token(core)?;
            let rerun = matches!(live.job.state, JobState::Started { rerun: true, .. });
            let (live, claim) = start(core, live, now, rerun);
            claims.push(claim);
            changes.push(Change::PutJob(live));
        }
    }
    if !changes.is_empty() {
        core.commit(changes)?;
    }
    Ok(claims)
}

/// Commits, and keeps what planning will need of the dataset next time. `state` already holds what was stored.
fn commit_and_keep(
    core: &mut Core,
    dataset: &DatasetName,
    mut state: DatasetState,
    changes: Vec<Change>,
) -> Result<(), StorageError> {
    let deleted = |change: &Change| match change {
        Change::DeleteEntry(key) => Some(key.clone()),
        _ => None,
    };
    let deleted: HashSet<ArtifactKey> = changes.iter().filter_map(deleted).collect();
    if !changes.is_empty() {
        core.commit(changes)?;
    }
    state.entries.retain(|entry| !deleted.contains(&entry.key));
    core.keep_summaries(dataset.clone(), state.entries);
    Ok(())
}

/// Reserves tokens when none is left; says whether it did. Tokens are given out without waiting for the disk, so they
/// are reserved in blocks: after a crash the next block starts behind every token that was ever given out.
fn ensure_token(core: &mut Core) -> Result<bool, StorageError> {
    if core.next_token < core.meta.tokens_reserved {
        return Ok(false);
    }
    let until = core.next_token + TOKENS_PER_BLOCK;
    core.change_meta(|meta| meta.tokens_reserved = until)?;
    Ok(true)
}

fn start(core: &mut Core, mut live: LiveJob, now: TimestampMs, rerun: bool) -> (LiveJob, Claim) {
    let token = core.next_token;
    core.next_token += 1;
    let lease_expires_at = now.plus_ms(limits::LEASE_MS);
    live.job.state = JobState::Started { token, started_at: now, lease_expires_at, rerun };
    let claim = Claim { job: live.job.clone(), lease: Lease { job_id: live.job.id, token } };
    (live, claim)
}

fn started_at(job: &Job) -> TimestampMs {
    match job.state {
        JobState::Started { started_at, .. } => started_at,
        JobState::Waiting { not_before } => not_before,
    }
}

/// A job that must run again starts afresh: its parents changed, so its failures say nothing.
fn requeue(job: &Job, now: TimestampMs) -> Change {
    let state = JobState::Waiting { not_before: now };
    let job = Job { created_at: now, attempts: 0, state, ..job.clone() };
    Change::PutJob(LiveJob { job, interruptions: 0 })
}

/// Sets the entry's `failed_runs` (worker-and-store.md section 3.6) and puts it into the state.
fn replace_summary(state: &mut DatasetState, entry: &mut PreparedEntry) {
    let summary = &mut entry.summary;
    let position = state.entries.iter().position(|stored| stored.key == summary.key);
    let before = position
        .map(|index| &state.entries[index])
        .filter(|stored| stored.revision == summary.revision)
        .map_or(0, |stored| stored.failed_runs);
    summary.failed_runs = before.saturating_add(u32::from(summary.error_code.is_some()));
    match position {
        Some(index) => state.entries[index] = summary.clone(),
        None => state.entries.push(summary.clone()),
    }
}

/// Turns a plan into changes; returns how many jobs it creates.
pub(super) fn add_tasks(
    core: &Core,
    changes: &mut Vec<Change>,
    dataset: &DatasetName,
    tasks: Vec<Task>,
    now: TimestampMs,
) -> usize {
    let mut gone: HashSet<JobId> = changes
        .iter()
        .filter_map(|change| if let Change::DeleteJob(id) = change { Some(*id) } else { None })
        .collect();
    let mut created = HashSet::new();
    let mut next_id = core.meta.next_job;
    for task in tasks {
        match task {
            Task::SetDataset { revision, visibility } => {
                let dataset = dataset.clone();
                let record = DatasetRecord { dataset, revision, visibility, checked_at: now };
                changes.push(Change::PutDataset(record));
            }
            Task::DropDataset => changes.push(Change::DropDataset(dataset.clone())),
            Task::DeleteEntry(key) => changes.push(Change::DeleteEntry(key)),
            Task::DeleteJob(id) => {
                gone.insert(id);
                changes.push(Change::DeleteJob(id));
            }
            Task::Rerun(id) => changes.extend(rerun(core, id)),
            Task::CreateJob(new) => {
                let live = core.queue.job_of(&new.key).is_some_and(|id| !gone.contains(&id));
                if !live && created.insert(new.key.clone()) {
                    changes.push(Change::PutJob(waiting_job(JobId(next_id.into()), new, now)));
                    next_id += 1;
                }
            }
        }
    }
    created.len()
}

fn waiting_job(id: JobId, new: NewJob, now: TimestampMs) -> LiveJob {
    let NewJob { key, revision, priority, difficulty } = new;
    let state = JobState::Waiting { not_before: now };
    let job = Job { id, key, revision, priority, difficulty, created_at: now, attempts: 0, state };
    LiveJob { job, interruptions: 0 }
}

/// Puts a job back into the queue: it is as old as the time from which it may run.
fn wait(job: &mut Job) {
    job.state = JobState::Waiting { not_before: job.created_at };
}

fn rerun(core: &Core, id: JobId) -> Option<Change> {
    let mut live = core.queue.get(id)?.clone();
    let JobState::Started { rerun, .. } = &mut live.job.state else { return None };
    *rerun = true;
    Some(Change::PutJob(live))
}
