//! Budgets of datasets: who uses too much waits, and only they.

use std::sync::Arc;

use outpost_model::{Queue, TimestampMs, limits};

use super::{Calls, Subject, T0, at_revision, dataset, success, usual_result};
use crate::authority::{Authority, Claim};

/// The longest run that a lease allows without a heartbeat.
pub(super) const RUN_MS: u64 = limits::LEASE_MS - 1;

/// Runs jobs of the only dataset side by side, as one alone could not use two hours of work in one; each takes
/// `run_ms`. Returns when they end; `None` when none can be claimed.
async fn run_some(authority: &Arc<dyn Authority>, run_ms: u64, now: TimestampMs) -> Option<TimestampMs> {
    let names: Vec<String> = (0..200).map(|number| format!("config{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut claims = Vec::new();
    while claims.len() < 8
        && let Some(claim) = authority.claim_at(now).await
    {
        claims.push(claim);
    }
    claims.first()?;
    let now = now.plus_ms(run_ms);
    for claim in claims {
        let is_root = claim.job.key.config().is_none() && claim.job.key.kind().spec().parents.is_empty();
        let result = if is_root { success(&claim, &names, "") } else { usual_result(&claim) };
        authority.store_at(&claim, result, now).await.unwrap();
    }
    Some(now)
}

/// Runs jobs of the only dataset, each for `run_ms`, until they took longer than its budget or none can be claimed.
pub(super) async fn run_until_blocked(
    authority: &Arc<dyn Authority>,
    run_ms: u64,
) -> (Option<Claim>, TimestampMs) {
    let mut now = T0;
    for _ in 0..150 {
        let Some(later) = run_some(authority, run_ms, now).await else { return (None, now) };
        now = later;
    }
    (authority.claim_at(now).await, now)
}

pub async fn a_dataset_over_its_budget_waits(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let (claim, now) = run_until_blocked(&authority, RUN_MS).await;
    assert_eq!(claim, None, "more than two hours of work within one");
    let waiting = authority.state_of("u/d").await.jobs;
    assert!(!waiting.is_empty() && waiting.iter().all(|job| !job.is_started()));
    // Its neighbour, even in the same namespace, goes on.
    authority.submit(&dataset("u/e"), &at_revision("r1", outpost_model::Priority::Low), now).await.unwrap();
    let neighbour = authority.claim_at(now).await.unwrap();
    assert_eq!(*neighbour.job.key.dataset(), dataset("u/e"));
    assert_eq!(authority.claim_at(now.plus_ms(limits::BLOCKAGE_MS - RUN_MS)).await, None);
    let later = authority.claim(&Queue::ALL, now.plus_ms(limits::BLOCKAGE_MS)).await.unwrap().unwrap();
    assert_eq!(*later.job.key.dataset(), dataset("u/d"));
}

pub async fn a_blockage_survives_a_restart(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let (claim, now) = run_until_blocked(&authority, RUN_MS).await;
    assert_eq!(claim, None);
    drop(authority);
    subject.reopen().await;
    let authority = subject.authority();
    assert_eq!(authority.claim_at(now.plus_ms(limits::BLOCKAGE_MS - RUN_MS)).await, None);
    let later = authority.claim(&Queue::ALL, now.plus_ms(limits::BLOCKAGE_MS)).await.unwrap().unwrap();
    assert_eq!(*later.job.key.dataset(), dataset("u/d"));
}

pub async fn a_second_blockage_of_a_dataset_survives_a_restart_too(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let (_, now) = run_until_blocked(&authority, RUN_MS).await;
    let mut now = now.plus_ms(limits::BLOCKAGE_MS);
    while let Some(later) = run_some(&authority, RUN_MS, now).await {
        now = later;
    }
    assert!(!authority.state_of("u/d").await.jobs.is_empty(), "blocked, not done");
    drop(authority);
    subject.reopen().await;
    assert_eq!(subject.authority().claim_at(now).await, None);
}

pub async fn what_was_used_survives_a_restart(subject: &mut dyn Subject) {
    subject.authority().publish("u/d", "r1").await;
    let mut now = T0;
    loop {
        let authority = subject.authority();
        let Some(later) = run_some(&authority, RUN_MS, now).await else { break };
        now = later;
        assert!(now.since_ms(T0) < limits::BUDGET_WINDOW_MS, "blocked within the window");
        drop(authority);
        subject.reopen().await;
    }
    let waiting = subject.authority().state_of("u/d").await.jobs;
    assert!(!waiting.is_empty() && waiting.iter().all(|job| !job.is_started()));
}

pub async fn short_runs_cost_nothing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let (claim, _) = run_until_blocked(&authority, limits::BUDGET_RUN_S_MIN * 1_000 - 1).await;
    assert!(claim.is_some() || authority.state_of("u/d").await.jobs.is_empty());
}
