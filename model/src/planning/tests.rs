//! Planning as behaviour: state and event in, tasks out.

use super::*;
use crate::job::JobState;
use crate::limits;
use crate::time::TimestampMs;

mod backfill;
mod children;
mod operators;
mod revision;
mod whole;

fn dataset() -> DatasetName {
    DatasetName::new("u/d").unwrap()
}

fn revision(name: &str) -> Revision {
    Revision::new(name).unwrap()
}

fn key(kind: StepKind, config: Option<&str>, split: Option<&str>) -> ArtifactKey {
    let config = config.map(|config| ConfigName::new(config).unwrap());
    let split = split.map(|split| SplitName::new(split).unwrap());
    ArtifactKey::new(kind, dataset(), config, split).unwrap()
}

fn root() -> ArtifactKey {
    key(StepKind::ROOT, None, None)
}

fn splits_of(config: &str) -> ArtifactKey {
    key(StepKind::ConfigSplitNames, Some(config), None)
}

fn first_rows(config: &str, split: &str) -> ArtifactKey {
    key(StepKind::SplitFirstRows, Some(config), Some(split))
}

/// A dataset at revision `r1` that nothing was computed for.
fn empty() -> DatasetState {
    DatasetState {
        revision: Some(revision("r1")),
        visibility: Some(Visibility::Public),
        ..DatasetState::default()
    }
}

/// An up-to-date success.
fn entry(key: ArtifactKey, names: &[&str]) -> EntrySummary {
    EntrySummary {
        job_runner_version: key.kind().spec().version,
        key,
        error_code: None,
        revision: revision("r1"),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        failed_runs: 0,
    }
}

fn failed(key: ArtifactKey, error_code: ErrorCode, failed_runs: u32) -> EntrySummary {
    EntrySummary { error_code: Some(error_code), failed_runs, ..entry(key, &[]) }
}

fn waiting(id: u128, key: ArtifactKey) -> Job {
    Job {
        id: JobId(id),
        difficulty: key.kind().spec().difficulty,
        key,
        revision: revision("r1"),
        priority: Priority::Normal,
        created_at: TimestampMs(1),
        attempts: 0,
        state: JobState::Waiting { not_before: TimestampMs(1) },
    }
}

fn started(id: u128, key: ArtifactKey) -> Job {
    let lease_expires_at = TimestampMs(1 + limits::LEASE_MS);
    let state = JobState::Started { token: 1, started_at: TimestampMs(1), lease_expires_at, rerun: false };
    Job { state, ..waiting(id, key) }
}

fn plan_for(state: &DatasetState, event: &Event) -> Vec<Task> {
    let tasks = plan(&dataset(), state, event);
    assert_eq!(tasks, plan(&dataset(), state, event), "the same input gives the same tasks");
    tasks
}

fn finished(key: ArtifactKey) -> Event {
    Event::Finished { key, priority: Priority::Normal }
}

/// The keys of the jobs that a plan creates, in its order.
fn created(tasks: &[Task]) -> Vec<ArtifactKey> {
    tasks
        .iter()
        .filter_map(|task| if let Task::CreateJob(job) = task { Some(job.key.clone()) } else { None })
        .collect()
}

fn count(tasks: &[Task], is_wanted: impl Fn(&Task) -> bool) -> usize {
    tasks.iter().filter(|task| is_wanted(task)).count()
}
