//! What follows the end of a step.

use super::*;

/// Configs `a` with two splits and `b` with one; nothing else is computed.
fn listed() -> DatasetState {
    DatasetState {
        entries: vec![
            entry(root(), &["a", "b"]),
            entry(splits_of("a"), &["train", "test"]),
            entry(splits_of("b"), &["train"]),
        ],
        ..empty()
    }
}

#[test]
fn the_root_is_followed_by_each_config_and_the_dataset_steps() {
    let state = DatasetState { entries: vec![entry(root(), &["a", "b"])], ..empty() };
    let tasks = plan_for(&state, &finished(root()));
    let expected = [
        splits_of("a"),
        splits_of("b"),
        key(StepKind::DatasetSplitNames, None, None),
        key(StepKind::DatasetIsValid, None, None),
    ];
    assert_eq!(created(&tasks), expected);
    assert_eq!(tasks.len(), expected.len());
}

#[test]
fn a_config_is_followed_by_its_own_splits_only() {
    let tasks = plan_for(&listed(), &finished(splits_of("a")));
    let expected = [
        key(StepKind::DatasetSplitNames, None, None),
        first_rows("a", "train"),
        first_rows("a", "test"),
        key(StepKind::ConfigIsValid, Some("a"), None),
    ];
    assert_eq!(created(&tasks), expected);
}

#[test]
fn a_split_is_followed_by_itself_then_its_config_then_the_dataset() {
    let valid = |config, split| key(StepKind::SplitIsValid, config, split);
    let tasks = plan_for(&listed(), &finished(first_rows("a", "test")));
    assert_eq!(created(&tasks), [valid(Some("a"), Some("test"))]);
    let tasks = plan_for(&listed(), &finished(valid(Some("a"), Some("test"))));
    assert_eq!(created(&tasks), [key(StepKind::ConfigIsValid, Some("a"), None)]);
    let tasks = plan_for(&listed(), &finished(key(StepKind::ConfigIsValid, Some("a"), None)));
    assert_eq!(created(&tasks), [key(StepKind::DatasetIsValid, None, None)]);
    let tasks = plan_for(&listed(), &finished(key(StepKind::DatasetIsValid, None, None)));
    assert_eq!(tasks, []);
}

#[test]
fn children_inherit_priority_and_revision() {
    let event = Event::Finished { key: splits_of("b"), priority: Priority::High };
    let state = DatasetState { revision: Some(revision("r7")), ..listed() };
    let tasks = plan_for(&state, &event);
    assert!(!tasks.is_empty());
    for task in tasks {
        let Task::CreateJob(job) = task else { panic!("{task:?}") };
        assert_eq!((job.priority, job.revision), (Priority::High, revision("r7")));
        assert_eq!(job.difficulty, job.key.kind().spec().difficulty);
    }
}

#[test]
fn a_failed_listing_has_only_children_of_its_own_or_a_higher_level() {
    let state = DatasetState { entries: vec![failed(root(), ErrorCode::EmptyDatasetError, 1)], ..empty() };
    let tasks = plan_for(&state, &finished(root()));
    let dataset_steps =
        [key(StepKind::DatasetSplitNames, None, None), key(StepKind::DatasetIsValid, None, None)];
    assert_eq!(created(&tasks), dataset_steps);
    // A run that stored nothing is planned for in the same way.
    assert_eq!(created(&plan_for(&empty(), &finished(root()))), dataset_steps);
}

#[test]
fn a_waiting_child_serves() {
    let child = key(StepKind::DatasetSplitNames, None, None);
    let state = DatasetState { jobs: vec![waiting(1, child.clone())], ..listed() };
    let tasks = plan_for(&state, &finished(splits_of("b")));
    assert!(!created(&tasks).contains(&child));
    assert_eq!(count(&tasks, |task| matches!(task, Task::Rerun(_) | Task::DeleteJob(_))), 0);
}

#[test]
fn a_running_child_runs_once_more() {
    let child = key(StepKind::DatasetSplitNames, None, None);
    let state = DatasetState { jobs: vec![started(5, child.clone())], ..listed() };
    let tasks = plan_for(&state, &finished(splits_of("b")));
    assert!(!created(&tasks).contains(&child));
    assert_eq!(count(&tasks, |task| *task == Task::Rerun(JobId(5))), 1);
}

#[test]
fn configs_that_are_no_longer_listed_go_with_their_jobs() {
    let mut state = listed();
    state.entries[0].names = vec!["b".to_owned()];
    state.entries.push(entry(first_rows("a", "train"), &[]));
    state.jobs = vec![
        started(1, key(StepKind::SplitIsValid, Some("a"), Some("train"))),
        waiting(2, first_rows("b", "train")),
        waiting(3, key(StepKind::DatasetIsValid, None, None)),
    ];
    let tasks = plan_for(&state, &finished(root()));
    let deleted: Vec<_> = tasks
        .iter()
        .filter(|task| matches!(task, Task::DeleteEntry(_) | Task::DeleteJob(_)))
        .cloned()
        .collect();
    let expected = [
        Task::DeleteJob(JobId(1)),
        Task::DeleteEntry(splits_of("a")),
        Task::DeleteEntry(first_rows("a", "train")),
    ];
    assert_eq!(deleted, expected);
    assert!(!created(&tasks).contains(&splits_of("a")));
}

#[test]
fn splits_that_are_no_longer_listed_go_in_their_config_only() {
    let mut state = listed();
    state.entries[1].names = vec!["test".to_owned()];
    state.entries.extend(
        [first_rows("a", "train"), first_rows("a", "test"), first_rows("b", "train")]
            .map(|key| entry(key, &[])),
    );
    let tasks = plan_for(&state, &finished(splits_of("a")));
    let deleted: Vec<_> = tasks.iter().filter(|task| matches!(task, Task::DeleteEntry(_))).collect();
    assert_eq!(deleted, [&Task::DeleteEntry(first_rows("a", "train"))]);
}

/// A listing that fails after it succeeded keeps what was computed from it until it succeeds again.
#[test]
fn a_listing_that_fails_deletes_nothing() {
    let mut state = listed();
    state.entries[0] = failed(root(), ErrorCode::HfHubError, 1);
    let tasks = plan_for(&state, &finished(root()));
    assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteEntry(_) | Task::DeleteJob(_))), 0);
}

#[test]
fn the_end_of_a_step_of_an_unknown_dataset_plans_nothing() {
    let state = DatasetState { revision: None, ..listed() };
    assert_eq!(plan_for(&state, &finished(root())), []);
}

/// Listings come from workers that read untrusted data: a name that breaks the rules is skipped.
#[test]
fn invalid_names_in_a_listing_are_skipped() {
    let state = DatasetState { entries: vec![entry(root(), &["a/b", "", "ok"])], ..empty() };
    let tasks = plan_for(&state, &finished(root()));
    assert!(created(&tasks).contains(&splits_of("ok")));
    assert_eq!(created(&tasks).iter().filter(|key| key.config().is_some()).count(), 1);
}

#[test]
fn a_name_listed_twice_gets_one_job() {
    let state = DatasetState { entries: vec![entry(root(), &["a", "a"])], ..empty() };
    let tasks = plan_for(&state, &finished(root()));
    assert_eq!(created(&tasks).iter().filter(|key| **key == splits_of("a")).count(), 1);
    let state = DatasetState {
        entries: vec![entry(root(), &["a", "a"]), entry(splits_of("a"), &["train", "train"])],
        ..empty()
    };
    let tasks = plan_for(&state, &finished(splits_of("a")));
    assert_eq!(created(&tasks).iter().filter(|key| **key == first_rows("a", "train")).count(), 1);
    let tasks = plan_for(&state, &Event::Backfill { retry_errors: false });
    assert_eq!(created(&tasks).iter().filter(|key| **key == first_rows("a", "train")).count(), 1);
}
