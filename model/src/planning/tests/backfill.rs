//! Maintenance: what is missing, obsolete or due for another try.

use super::*;

fn backfill(state: &DatasetState, retry_errors: bool) -> Vec<ArtifactKey> {
    let tasks = plan_for(state, &Event::Backfill { retry_errors });
    let keys = created(&tasks);
    assert_eq!(tasks.len(), keys.len(), "a backfill only creates jobs: {tasks:?}");
    for task in &tasks {
        let Task::CreateJob(job) = task else { unreachable!("counted above") };
        assert_eq!(job.priority, Priority::Low);
    }
    keys
}

/// Everything of a dataset with one config and one split.
fn complete() -> DatasetState {
    let names = |kind| match kind {
        StepKind::DatasetConfigNames => &["default"][..],
        StepKind::ConfigSplitNames => &["train"],
        _ => &[],
    };
    let key_of = |kind: StepKind| match kind.level() {
        Level::Dataset => key(kind, None, None),
        Level::Config => key(kind, Some("default"), None),
        Level::Split => key(kind, Some("default"), Some("train")),
    };
    let entries = STEPS.iter().map(|step| entry(key_of(step.kind), names(step.kind))).collect();
    DatasetState { entries, ..empty() }
}

#[test]
fn a_complete_dataset_needs_nothing() {
    assert_eq!(backfill(&complete(), true), []);
}

#[test]
fn an_unknown_dataset_needs_nothing() {
    assert_eq!(backfill(&DatasetState::default(), true), []);
}

#[test]
fn an_empty_dataset_starts_with_the_root_alone() {
    // Its end plans the rest.
    assert_eq!(backfill(&empty(), false), [root()]);
}

#[test]
fn each_missing_entry_is_created_and_what_follows_from_it_is_not() {
    for missing in 0..STEPS.len() {
        let mut state = complete();
        let removed = state.entries.remove(missing).key;
        let keys = backfill(&state, false);
        assert_eq!(keys.first(), Some(&removed));
        for key in &keys[1..] {
            assert!(!removed.kind().is_self_or_ancestor_of(key.kind()), "{key} follows from {removed}");
        }
    }
}

#[test]
fn an_older_step_version_and_another_revision_are_computed_again() {
    let split_is_valid = key(StepKind::SplitIsValid, Some("default"), Some("train"));
    let at = complete().entries.iter().position(|entry| entry.key == split_is_valid).unwrap();
    let mut older = complete();
    older.entries[at].job_runner_version -= 1;
    assert_eq!(backfill(&older, false), std::slice::from_ref(&split_is_valid));
    let mut other = complete();
    other.entries[at].revision = revision("r0");
    assert_eq!(backfill(&other, false), [split_is_valid]);
}

#[test]
fn a_newer_step_version_is_left_alone() {
    let mut state = complete();
    state.entries.iter_mut().for_each(|entry| entry.job_runner_version += 1);
    assert_eq!(backfill(&state, true), []);
}

#[test]
fn transient_errors_are_tried_again_up_to_their_limit_and_when_asked() {
    let rows = first_rows("default", "train");
    let with = |code, failed_runs| {
        let mut state = complete();
        state.entries.retain(|entry| entry.key != rows);
        state.entries.push(failed(rows.clone(), code, failed_runs));
        state
    };
    let code = ErrorCode::StreamingRowsError;
    assert_eq!(backfill(&with(code, 1), true), std::slice::from_ref(&rows));
    assert_eq!(backfill(&with(code, code.max_failed_runs() - 1), true), std::slice::from_ref(&rows));
    assert_eq!(backfill(&with(code, code.max_failed_runs()), true), []);
    assert_eq!(backfill(&with(code, 1), false), []);
    assert_eq!(backfill(&with(ErrorCode::TooManyColumnsError, 1), true), []);
}

#[test]
fn what_is_queued_or_will_follow_from_what_is_queued_is_left_alone() {
    for state_of_job in [waiting, started] {
        let mut state = complete();
        state.entries.retain(|entry| entry.key.kind().level() != Level::Split);
        state.jobs.push(state_of_job(1, first_rows("default", "train")));
        assert_eq!(backfill(&state, true), []);
        let state = DatasetState { jobs: vec![state_of_job(1, root())], ..empty() };
        assert_eq!(backfill(&state, true), []);
    }
}

#[test]
fn a_job_of_one_config_does_not_hide_what_another_lacks() {
    let state = DatasetState {
        entries: vec![entry(root(), &["a", "b"]), entry(splits_of("a"), &["train"])],
        jobs: vec![waiting(1, splits_of("b"))],
        ..empty()
    };
    let keys = backfill(&state, false);
    assert!(keys.contains(&first_rows("a", "train")));
    assert!(!keys.contains(&splits_of("b")));
}
