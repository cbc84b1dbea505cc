//! Budgets of datasets: who uses too much waits, and only they.

use outpost_model::{Queue, TimestampMs, limits};

use super::{Calls, Subject, T0, at_revision, dataset, success, usual_result};
use crate::authority::{Authority, Claim};

/// The longest run that a lease allows without a heartbeat.
pub(super) const RUN_MS: u64 = limits::LEASE_MS - 1;

/// Runs jobs of the only dataset, each for `run_ms`, until they took longer than its budget or none can be claimed.
pub(super) async fn run_until_blocked(
    authority: &std::sync::Arc<dyn Authority>,
    run_ms: u64,
) -> (Option<Claim>, TimestampMs) {
    let mut now = T0;
    let names: Vec<String> = (0..200).map(|number| format!("config{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut in_flight = Vec::new();
    for _ in 0..150 {
        // Several at a time: one alone could not use two hours of work in one.
        while in_flight.len() < 8 {
            let Some(claim) = authority.claim_at(now).await else { break };
            in_flight.push(claim);
        }
        let Some(_) = in_flight.first() else { return (None, now) };
        now = now.plus_ms(run_ms);
        for claim in in_flight.drain(..) {
            let is_root = claim.job.key.config().is_none() && claim.job.key.kind().spec().parents.is_empty();
            let result = if is_root { success(&claim, &names, "") } else { usual_result(&claim) };
            authority.store_at(&claim, result, now).await.unwrap();
        }
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

pub async fn short_runs_cost_nothing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let (claim, _) = run_until_blocked(&authority, limits::BUDGET_RUN_S_MIN * 1_000 - 1).await;
    assert!(claim.is_some() || authority.state_of("u/d").await.jobs.is_empty());
}
