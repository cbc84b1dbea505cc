//! The queue: one live job per key, the order of claims, children.

use outpost_model::planning::Event;
use outpost_model::{ErrorCode, Priority, Queue, StepKind};

use super::{
    Calls, Subject, T0, assert_unchanged, at_revision, dataset, failure, key, keys_of, root, success,
    usual_result,
};
use crate::authority::{Completion, DifficultyRange};

pub async fn a_key_has_at_most_one_live_job(subject: &mut dyn Subject) {
    let authority = subject.authority();
    assert_eq!(authority.publish("u/d", "r1").await.jobs_created, 1);
    assert_eq!(authority.publish("u/d", "r1").await.jobs_created, 0);
    authority.claim_now().await;
    assert_eq!(authority.publish("u/d", "r1").await.jobs_created, 0);
    let backfill = Event::Backfill { retry_errors: true };
    assert_eq!(authority.submit(&dataset("u/d"), &backfill, T0).await.unwrap().jobs_created, 0);
    assert_eq!(authority.state_of("u/d").await.jobs.len(), 1);
}

pub async fn a_claim_is_exclusive(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    assert!(claim.job.is_started());
    assert_eq!(claim.lease.job_id, claim.job.id);
    assert_eq!(authority.claim_at(T0).await, None);
}

pub async fn higher_priorities_go_first(subject: &mut dyn Subject) {
    let authority = subject.authority();
    for (name, priority) in [("a/d", Priority::Low), ("b/d", Priority::High), ("c/d", Priority::Normal)] {
        authority.submit(&dataset(name), &at_revision("r1", priority), T0).await.unwrap();
    }
    // The namespace of the high job is busy, which does not matter between priorities.
    let mut order = Vec::new();
    while let Some(claim) = authority.claim_at(T0).await {
        order.push(claim.job.priority);
    }
    assert_eq!(order, [Priority::High, Priority::Normal, Priority::Low]);
}

pub async fn the_namespace_with_the_least_running_work_goes_first(subject: &mut dyn Subject) {
    let authority = subject.authority();
    for (offset, name) in ["a/1", "a/2", "a/3", "b/1", "b/2", "c"].into_iter().enumerate() {
        let now = T0.plus_ms(offset as u64);
        authority.submit(&dataset(name), &at_revision("r1", Priority::Normal), now).await.unwrap();
    }
    let now = T0.plus_ms(10);
    let mut claims = Vec::new();
    while let Some(claim) = authority.claim_at(now).await {
        claims.push(claim);
    }
    let order: Vec<&str> = claims.iter().map(|claim| claim.job.key.dataset().as_str()).collect();
    assert_eq!(order, ["a/1", "b/1", "c", "a/2", "b/2", "a/3"]);
    // Work that ended no longer counts: `b` has none running, `a` still has two.
    for name in ["b/1", "b/2", "a/1"] {
        let claim = claims.iter().find(|claim| *claim.job.key.dataset() == dataset(name)).unwrap();
        authority.submit(claim.job.key.dataset(), &Event::Removed, now).await.unwrap();
    }
    for (offset, name) in ["a/4", "b/4"].into_iter().enumerate() {
        let now = now.plus_ms(offset as u64);
        authority.submit(&dataset(name), &at_revision("r1", Priority::Normal), now).await.unwrap();
    }
    let next = authority.claim_at(now.plus_ms(5)).await.unwrap();
    assert_eq!(*next.job.key.dataset(), dataset("b/4"));
}

pub async fn age_decides_within_a_namespace(subject: &mut dyn Subject) {
    let authority = subject.authority();
    for (offset, name) in [(2, "u/second"), (1, "u/first"), (3, "u/third")] {
        let now = T0.plus_ms(offset);
        authority.submit(&dataset(name), &at_revision("r1", Priority::Normal), now).await.unwrap();
    }
    for name in ["u/first", "u/second", "u/third"] {
        let claim = authority.claim_at(T0.plus_ms(5)).await.unwrap();
        assert_eq!(*claim.job.key.dataset(), dataset(name));
    }
}

pub async fn workers_take_only_from_their_queues(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    assert_eq!(authority.claim(&[Queue::Splits], T0).await.unwrap(), None);
    assert_eq!(authority.claim(&[], T0).await.unwrap(), None);
    while let Some(claim) = authority.claim(&[Queue::Datasets], T0).await.unwrap() {
        assert_eq!(claim.job.key.kind().queue(), Queue::Datasets);
        authority.store(&claim, usual_result(&claim)).await;
    }
    let mut kinds = Vec::new();
    while let Some(claim) = authority.claim(&[Queue::Splits], T0).await.unwrap() {
        kinds.push(claim.job.key.kind());
        authority.store(&claim, usual_result(&claim)).await;
    }
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| kind.queue() == Queue::Splits), "{kinds:?}");
}

pub async fn workers_take_only_what_is_difficult_enough(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let within = |above, up_to| DifficultyRange { above, up_to };
    let [light, heavy] =
        [StepKind::DatasetSplitNames, StepKind::ConfigSplitNames].map(|kind| kind.spec().difficulty);
    let nothing = authority.claim_within(&Queue::ALL, within(Some(heavy), None), T0).await.unwrap();
    assert_eq!(nothing, None);
    let claim =
        authority.claim_within(&Queue::ALL, within(Some(light), Some(heavy)), T0).await.unwrap().unwrap();
    assert_eq!(claim.job.difficulty, heavy);
    while let Some(claim) = authority.claim_within(&Queue::ALL, within(None, Some(light)), T0).await.unwrap()
    {
        assert_eq!(claim.job.difficulty, light);
    }
    assert_eq!(authority.claim_at(T0).await, None);
}

pub async fn ten_thousand_jobs_of_one_namespace_do_not_delay_another(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("big/d", "r1").await;
    let claim = authority.claim_now().await;
    let names: Vec<String> = (0..10_000).map(|number| format!("config{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let finished = authority.store(&claim, success(&claim, &names, "{}")).await;
    assert!(finished.jobs_created >= 10_000);
    let later = T0.plus_ms(1_000);
    let running = authority.claim_at(later).await.unwrap();
    assert_eq!(running.job.key.dataset().namespace(), "big");
    authority.submit(&dataset("small/d"), &at_revision("r1", Priority::Normal), later).await.unwrap();
    let next = authority.claim_at(later).await.unwrap();
    assert_eq!(next.job.key.dataset().namespace(), "small");
}

pub async fn children_are_created_with_the_result(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let finished = authority.store(&claim, success(&claim, &["a", "b"], "{}")).await;
    let state = authority.state_of("u/d").await;
    assert_eq!(finished.jobs_created, state.jobs.len());
    assert!(!finished.requeued);
    let expected = [
        key(StepKind::ConfigSplitNames, "u/d", Some("a"), None),
        key(StepKind::ConfigSplitNames, "u/d", Some("b"), None),
        key(StepKind::DatasetSplitNames, "u/d", None, None),
        key(StepKind::DatasetIsValid, "u/d", None, None),
    ];
    assert_eq!(keys_of(&state.jobs), expected.iter().collect::<Vec<_>>());
    assert_eq!(state.entries.len(), 1);
    assert_eq!(state.entries[0].names, ["a", "b"]);
}

pub async fn children_inherit_the_priority(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.submit(&dataset("u/d"), &at_revision("r1", Priority::High), T0).await.unwrap();
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let jobs = authority.state_of("u/d").await.jobs;
    assert!(!jobs.is_empty() && jobs.iter().all(|job| job.priority == Priority::High), "{jobs:?}");
}

pub async fn a_run_without_result_still_plans_its_children(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let before = authority.position().await.unwrap();
    let finished = authority.finish(&claim.lease, Completion::Nothing, T0).await.unwrap();
    assert_eq!(authority.entry(&root("u/d")).await.unwrap(), None);
    assert_eq!(finished.position.covers(&before), Some(true));
    assert_unchanged(subject, before).await;
    assert!(finished.jobs_created > 0);
    let jobs = authority.state_of("u/d").await.jobs;
    assert!(jobs.iter().all(|job| job.key != root("u/d")));
}

pub async fn a_waiting_child_is_not_created_twice(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, success(&claim, &["a", "b"], "{}")).await;
    let child = key(StepKind::DatasetSplitNames, "u/d", None, None);
    loop {
        let claim = authority.claim_now().await;
        if claim.job.key.kind() == StepKind::ConfigSplitNames {
            authority.store(&claim, success(&claim, &[], "{}")).await;
            break;
        }
        authority.finish(&claim.lease, Completion::Nothing, T0).await.unwrap();
    }
    let jobs = authority.state_of("u/d").await.jobs;
    assert_eq!(jobs.iter().filter(|job| job.key == child).count(), 1);
}

pub async fn a_running_child_runs_again_when_its_parent_ends(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let mut claims = Vec::new();
    while let Some(claim) = authority.claim_at(T0).await {
        claims.push(claim);
    }
    let of = |kind| claims.iter().find(|claim| claim.job.key.kind() == kind).unwrap();
    let (parent, child) = (of(StepKind::ConfigSplitNames), of(StepKind::DatasetSplitNames));
    authority.store(parent, usual_result(parent)).await;
    let finished = authority.store(child, usual_result(child)).await;
    assert!(finished.requeued);
    assert!(authority.entry(&child.job.key).await.unwrap().is_some());
    let again = loop {
        let claim = authority.claim_now().await;
        if claim.job.key == child.job.key {
            break claim;
        }
    };
    assert_eq!(again.job.attempts, 0);
    let finished = authority.store(&again, usual_result(&again)).await;
    assert!(!finished.requeued);
    assert!(authority.state_of("u/d").await.jobs.iter().all(|job| job.key != child.job.key));
}

pub async fn a_failed_parent_still_has_children(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let finished = authority.store(&claim, failure(&claim, ErrorCode::EmptyDatasetError)).await;
    assert_eq!(finished.jobs_created, 2);
    let jobs = authority.state_of("u/d").await.jobs;
    assert!(jobs.iter().any(|job| job.key.kind() == StepKind::DatasetSplitNames));
}

pub async fn backfill_creates_only_what_is_missing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.drain().await;
    let backfill = Event::Backfill { retry_errors: true };
    let before = authority.position().await.unwrap();
    let submitted = authority.submit(&dataset("u/d"), &backfill, T0).await.unwrap();
    assert_eq!((submitted.jobs_created, submitted.position.covers(&before)), (0, Some(true)));
    let unknown = authority.submit(&dataset("u/unknown"), &backfill, T0).await.unwrap();
    assert_eq!((unknown.jobs_created, unknown.position.covers(&before)), (0, Some(true)));
    assert_unchanged(subject, before).await;
}
