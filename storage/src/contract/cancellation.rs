//! What a removal, a new revision or a shrunken listing takes with it, also from work in flight.

use std::collections::BTreeSet;
use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::{ArtifactKey, Entry, Priority, StepKind, Visibility};

use super::{
    Calls, Subject, T0, assert_lease_lost, assert_unchanged, dataset, key, keys_of, revision, root, success,
    usual_result,
};
use crate::authority::{Authority, Claim};

pub async fn a_removed_dataset_takes_everything_with_it(subject: &mut dyn Subject) {
    let authority = subject.authority();
    // A neighbour whose name the removed one is a prefix of.
    for name in ["u/d", "u/d2"] {
        authority.publish(name, "r1").await;
    }
    authority.drain().await;
    let neighbour = authority.state_of("u/d2").await;
    authority.submit(&dataset("u/d"), &Event::Removed, T0).await.unwrap();
    let state = authority.state_of("u/d").await;
    assert!(state.revision.is_none() && state.entries.is_empty() && state.jobs.is_empty());
    assert_eq!(subject.mirror().await.dataset(&dataset("u/d")).unwrap(), None);
    assert_eq!(subject.mirror().await.get(&root("u/d")).unwrap(), None);
    assert_eq!(authority.state_of("u/d2").await, neighbour);
    let before = authority.position().await.unwrap();
    let again = authority.submit(&dataset("u/d"), &Event::Removed, T0).await.unwrap();
    assert_eq!(again.position.covers(&before), Some(true));
    assert_unchanged(subject, before).await;
}

pub async fn a_result_for_a_removed_dataset_is_refused(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.submit(&dataset("u/d"), &Event::Removed, T0).await.unwrap();
    assert_lease_lost(&authority.heartbeat(&claim.lease, T0).await);
    assert_lease_lost(&authority.store_at(&claim, usual_result(&claim), T0).await);
    assert_eq!(authority.entry(&root("u/d")).await.unwrap(), None);
    // The dataset comes back: the old lease stays void.
    authority.publish("u/d", "r1").await;
    assert_lease_lost(&authority.store_at(&claim, usual_result(&claim), T0).await);
}

pub async fn a_new_revision_ends_the_work_for_the_old_one(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let running = authority.claim_now().await;
    let submitted = authority.publish("u/d", "r2").await;
    assert_eq!(submitted.jobs_created, 1);
    assert_lease_lost(&authority.store_at(&running, usual_result(&running), T0).await);
    let state = authority.state_of("u/d").await;
    assert_eq!(state.revision, Some(revision("r2")));
    assert!(state.entries.is_empty());
    assert_eq!(keys_of(&state.jobs), [&root("u/d")]);
    assert_eq!(state.jobs[0].revision, revision("r2"));
}

pub async fn a_dataset_that_turns_private_keeps_only_its_record(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.drain().await;
    let event = Event::Revision {
        revision: revision("r1"),
        visibility: Visibility::Private,
        priority: Priority::Normal,
        force: false,
    };
    authority.submit(&dataset("u/d"), &event, T0.plus_ms(7)).await.unwrap();
    let state = authority.state_of("u/d").await;
    assert!(state.entries.is_empty() && state.jobs.is_empty());
    let record = subject.mirror().await.dataset(&dataset("u/d")).unwrap().unwrap();
    assert_eq!((record.visibility, record.checked_at), (Visibility::Private, T0.plus_ms(7)));
    assert_eq!(subject.mirror().await.get(&root("u/d")).unwrap(), None);
}

pub async fn a_refresh_starts_over(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let running = authority.claim_now().await;
    let event = Event::Revision {
        revision: revision("r1"),
        visibility: Visibility::Public,
        priority: Priority::High,
        force: true,
    };
    authority.submit(&dataset("u/d"), &event, T0).await.unwrap();
    assert_lease_lost(&authority.heartbeat(&running.lease, T0).await);
    let state = authority.state_of("u/d").await;
    assert!(state.entries.is_empty());
    assert_eq!(keys_of(&state.jobs), [&root("u/d")]);
    let done = authority.drain().await;
    assert_eq!(done[0], root("u/d"));
    assert_eq!(authority.state_of("u/d").await.entries.len(), 7);
}

pub async fn what_a_listing_no_longer_names_is_dropped(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    // An entry of an older step version is computed again at the same revision.
    let old = Entry { job_runner_version: 0, ..success(&claim, &["keep", "drop"], "{}") };
    authority.store(&claim, old).await;
    while let Some(claim) = authority.claim_at(T0).await {
        if claim.job.key.kind() == StepKind::ConfigSplitNames {
            authority.store(&claim, success(&claim, &["train", "test"], "{}")).await;
        }
        if claim.job.key == key(StepKind::SplitFirstRows, "u/d", Some("drop"), Some("train")) {
            drop_config(&authority, claim).await;
            break;
        }
    }
    let state = authority.state_of("u/d").await;
    let configs = |keys: Vec<&ArtifactKey>| -> BTreeSet<String> {
        keys.iter().filter_map(|key| key.config()).map(|config| config.as_str().to_owned()).collect()
    };
    let keep = BTreeSet::from(["keep".to_owned()]);
    assert_eq!(configs(state.entries.iter().map(|entry| &entry.key).collect()), keep);
    assert_eq!(configs(keys_of(&state.jobs)), keep);
}

/// Computes the listing again, without the config that `running` works on.
async fn drop_config(authority: &Arc<dyn Authority>, running: Claim) {
    let backfill = Event::Backfill { retry_errors: false };
    authority.submit(&dataset("u/d"), &backfill, T0).await.unwrap();
    let again = loop {
        let claim = authority.claim_now().await;
        if claim.job.key == root("u/d") {
            break claim;
        }
    };
    authority.store(&again, success(&again, &["keep"], "{}")).await;
    assert_lease_lost(&authority.store_at(&running, usual_result(&running), T0).await);
}

pub async fn a_cancelled_dataset_loses_its_jobs_and_keeps_its_entries(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let running = authority.claim_now().await;
    authority.submit(&dataset("u/d"), &Event::Cancel, T0).await.unwrap();
    assert_lease_lost(&authority.heartbeat(&running.lease, T0).await);
    assert_lease_lost(&authority.store_at(&running, usual_result(&running), T0).await);
    let state = authority.state_of("u/d").await;
    assert_eq!((state.revision, state.jobs.len()), (Some(revision("r1")), 0));
    assert_eq!(state.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&root("u/d")]);
    assert!(authority.claim_at(T0).await.is_none());
    // What was cancelled is still missing, and maintenance says so.
    let backfill = Event::Backfill { retry_errors: false };
    let planned = authority.submit(&dataset("u/d"), &backfill, T0).await.unwrap();
    assert_eq!(planned.jobs_created, 2);
}

pub async fn one_artifact_is_computed_again_beside_the_others(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.drain().await;
    let key = key(StepKind::SplitFirstRows, "u/d", Some("default"), Some("train"));
    let event = Event::Compute { key: key.clone(), priority: Priority::High };
    assert_eq!(authority.submit(&dataset("u/d"), &event, T0).await.unwrap().jobs_created, 1);
    assert_eq!(authority.state_of("u/d").await.entries.len(), 7);
    let again = authority.claim_now().await;
    assert_eq!((&again.job.key, again.job.priority), (&key, Priority::High));
    // Asked for once more while it runs, it runs once more.
    assert_eq!(authority.submit(&dataset("u/d"), &event, T0).await.unwrap().jobs_created, 0);
    assert!(authority.store_at(&again, usual_result(&again), T0).await.unwrap().requeued);
    assert!(authority.drain().await.contains(&key));
}
