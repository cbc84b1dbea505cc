//! What operators ask for: ending the work on a dataset, computing one artifact again.

use super::*;

fn compute(key: ArtifactKey, priority: Priority) -> Event {
    Event::Compute { key, priority }
}

#[test]
fn a_cancelled_dataset_loses_its_jobs_and_keeps_its_entries() {
    let state = DatasetState {
        entries: vec![entry(root(), &["a"])],
        jobs: vec![waiting(1, splits_of("a")), started(2, root())],
        ..empty()
    };
    assert_eq!(plan_for(&state, &Event::Cancel), [Task::DeleteJob(JobId(1)), Task::DeleteJob(JobId(2))]);
    assert_eq!(plan_for(&DatasetState::default(), &Event::Cancel), []);
}

#[test]
fn one_artifact_is_computed_again_beside_what_is_stored() {
    let state =
        DatasetState { entries: vec![entry(root(), &["a"]), entry(splits_of("a"), &["train"])], ..empty() };
    let tasks = plan_for(&state, &compute(first_rows("a", "train"), Priority::High));
    let [Task::CreateJob(job)] = &tasks[..] else { panic!("{tasks:?}") };
    assert_eq!(
        (&job.key, job.priority, &job.revision),
        (&first_rows("a", "train"), Priority::High, &revision("r1"))
    );
}

#[test]
fn what_no_listing_names_is_not_computed() {
    let state = DatasetState { entries: vec![entry(root(), &["a"])], ..empty() };
    for key in [splits_of("b"), first_rows("a", "train")] {
        assert_eq!(plan_for(&state, &compute(key, Priority::High)), []);
    }
    assert_eq!(plan_for(&DatasetState::default(), &compute(root(), Priority::High)), []);
}

#[test]
fn a_live_job_serves_or_is_raised_or_runs_again() {
    let with = |job: Job| DatasetState { jobs: vec![job], ..empty() };
    let normal = compute(root(), Priority::Normal);
    assert_eq!(plan_for(&with(waiting(1, root())), &normal), []);
    assert_eq!(plan_for(&with(started(1, root())), &normal), [Task::Rerun(JobId(1))]);
    let raised = plan_for(&with(waiting(1, root())), &compute(root(), Priority::High));
    assert_eq!(raised[0], Task::DeleteJob(JobId(1)));
    assert_eq!(created(&raised), [root()]);
}

#[test]
fn nothing_is_computed_for_a_dataset_that_is_not_known_to_be_public() {
    for visibility in [Some(Visibility::Gated), Some(Visibility::Private), None] {
        let state = DatasetState { visibility, ..empty() };
        assert_eq!(plan_for(&state, &compute(root(), Priority::High)), []);
        assert_eq!(plan_for(&state, &Event::Backfill { retry_errors: true }), []);
    }
}
