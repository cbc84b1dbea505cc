//! Revisions and removals.

use super::*;

fn at(name: &str, visibility: Visibility, force: bool) -> Event {
    Event::Revision { revision: revision(name), visibility, priority: Priority::Normal, force }
}

fn set(name: &str, visibility: Visibility) -> Task {
    Task::SetDataset { revision: revision(name), visibility }
}

fn busy() -> DatasetState {
    DatasetState {
        entries: vec![entry(root(), &["default"]), entry(splits_of("default"), &["train"])],
        jobs: vec![started(1, first_rows("default", "train")), waiting(2, splits_of("other"))],
        ..empty()
    }
}

#[test]
fn a_new_dataset_starts_with_the_root() {
    let tasks = plan_for(&DatasetState::default(), &at("r1", Visibility::Public, false));
    let job = NewJob {
        key: root(),
        revision: revision("r1"),
        priority: Priority::Normal,
        difficulty: StepKind::ROOT.spec().difficulty,
    };
    assert_eq!(tasks, [set("r1", Visibility::Public), Task::CreateJob(job)]);
}

#[test]
fn the_known_revision_changes_nothing_but_the_record() {
    let current = DatasetState { entries: vec![entry(root(), &[])], ..empty() };
    let coming = DatasetState { jobs: vec![waiting(1, root())], ..empty() };
    let running = DatasetState { jobs: vec![started(1, root())], ..empty() };
    for state in [current, coming, running] {
        let tasks = plan_for(&state, &at("r1", Visibility::Public, false));
        assert_eq!(tasks, [set("r1", Visibility::Public)]);
    }
}

#[test]
fn a_known_revision_without_its_root_starts_over() {
    let without = DatasetState { entries: vec![entry(splits_of("default"), &[])], ..empty() };
    let mut outdated = entry(root(), &[]);
    outdated.job_runner_version = 0;
    let outdated = DatasetState { entries: vec![outdated], ..empty() };
    for state in [without, outdated] {
        let tasks = plan_for(&state, &at("r1", Visibility::Public, false));
        assert_eq!(created(&tasks), [root()]);
        assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteEntry(_))), state.entries.len());
    }
}

#[test]
fn a_new_revision_drops_everything_of_the_old_one() {
    let tasks = plan_for(&busy(), &at("r2", Visibility::Public, false));
    for task in [
        Task::DeleteJob(JobId(1)),
        Task::DeleteJob(JobId(2)),
        Task::DeleteEntry(root()),
        Task::DeleteEntry(splits_of("default")),
        set("r2", Visibility::Public),
    ] {
        assert!(tasks.contains(&task), "{task:?}");
    }
    assert_eq!(created(&tasks), [root()]);
    assert_eq!(tasks.len(), 6);
    // The root's job is created last: by then the old one of the same key is gone.
    let Some(Task::CreateJob(job)) = tasks.last() else { panic!("{tasks:?}") };
    assert_eq!(job.revision, revision("r2"));
}

#[test]
fn force_starts_over_at_the_known_revision() {
    let state = DatasetState { jobs: vec![started(9, root())], ..busy() };
    let tasks = plan_for(&state, &at("r1", Visibility::Public, true));
    assert!(tasks.contains(&Task::DeleteJob(JobId(9))));
    assert_eq!(created(&tasks), [root()]);
}

#[test]
fn only_public_datasets_are_computed() {
    for visibility in [Visibility::Gated, Visibility::Private] {
        for name in ["r1", "r2"] {
            let tasks = plan_for(&busy(), &at(name, visibility, true));
            assert_eq!(created(&tasks), []);
            assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteJob(_))), 2);
            assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteEntry(_))), 2);
            assert_eq!(tasks.last(), Some(&set(name, visibility)));
        }
    }
}

#[test]
fn a_dataset_that_turns_public_is_computed() {
    // While it was private its record was kept and nothing else.
    let tasks = plan_for(&empty(), &at("r1", Visibility::Public, false));
    assert_eq!(created(&tasks), [root()]);
}

#[test]
fn removal_takes_jobs_entries_and_record() {
    let tasks = plan_for(&busy(), &Event::Removed);
    assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteJob(_))), 2);
    assert_eq!(count(&tasks, |task| matches!(task, Task::DeleteEntry(_))), 2);
    assert_eq!(tasks.last(), Some(&Task::DropDataset));
    assert_eq!(tasks.len(), 5);
}

#[test]
fn removing_what_is_not_known_is_nothing() {
    assert_eq!(plan_for(&DatasetState::default(), &Event::Removed), []);
}

#[test]
fn the_priority_is_the_events() {
    let event = Event::Revision {
        revision: revision("r1"),
        visibility: Visibility::Public,
        priority: Priority::High,
        force: false,
    };
    let tasks = plan_for(&DatasetState::default(), &event);
    assert!(matches!(tasks.last(), Some(Task::CreateJob(job)) if job.priority == Priority::High));
}

#[test]
fn a_root_job_that_waits_with_a_lower_priority_is_replaced() {
    let mut backfill = waiting(7, root());
    backfill.priority = Priority::Low;
    let state = DatasetState { jobs: vec![backfill], ..empty() };
    let tasks = plan_for(&state, &at("r1", Visibility::Public, false));
    assert_eq!(tasks[..2], [set("r1", Visibility::Public), Task::DeleteJob(JobId(7))]);
    assert!(
        matches!(&tasks[2..], [Task::CreateJob(job)] if job.key == root() && job.priority == Priority::Normal)
    );
}
