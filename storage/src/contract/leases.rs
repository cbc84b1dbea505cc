//! Leases: heartbeats, fencing, expiry, attempts and back-off.

use outpost_model::job::backoff_ms;
use outpost_model::{ErrorCode, JobState, Lease, StepKind, limits};

use super::{
    Calls, Subject, T0, assert_lease_lost, assert_unchanged, failure, key, revision, root, success,
    usual_result,
};
use crate::authority::{Completion, ReleaseReason, Released};

pub async fn a_heartbeat_renews_the_lease(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let almost = T0.plus_ms(limits::LEASE_MS - 1);
    authority.heartbeat(&claim.lease, almost).await.unwrap();
    let beyond = T0.plus_ms(limits::LEASE_MS + 1);
    assert!(authority.expire_leases(beyond).await.unwrap().is_empty());
    authority.store_at(&claim, usual_result(&claim), beyond).await.unwrap();
    assert!(authority.entry(&root("u/d")).await.unwrap().is_some());
}

pub async fn a_lease_that_ran_out_is_refused(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let ended = T0.plus_ms(limits::LEASE_MS);
    assert_lease_lost(&authority.heartbeat(&claim.lease, ended).await);
    assert_lease_lost(&authority.store_at(&claim, usual_result(&claim), ended).await);
    assert_lease_lost(&authority.finish(&claim.lease, Completion::Nothing, ended).await);
    assert_lease_lost(&authority.release(&claim.lease, ReleaseReason::Failed, ended).await);
    assert_eq!(authority.entry(&root("u/d")).await.unwrap(), None);
}

pub async fn an_expired_run_waits_with_an_attempt_counted(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.claim_now().await;
    let ended = T0.plus_ms(limits::LEASE_MS);
    assert!(authority.expire_leases(ended).await.unwrap().is_empty());
    let job = authority.state_of("u/d").await.jobs.remove(0);
    assert_eq!((job.attempts, job.is_started()), (1, false));
    let due = ended.plus_ms(backoff_ms(1));
    assert_eq!(job.state, JobState::Waiting { not_before: due });
    assert_eq!(authority.claim_at(due.plus_ms(0)).await.map(|claim| claim.job.attempts), Some(1));
}

pub async fn a_taken_over_run_is_fenced_off(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let stale = authority.claim_now().await;
    let ended = T0.plus_ms(limits::LEASE_MS);
    authority.expire_leases(ended).await.unwrap();
    let later = ended.plus_ms(backoff_ms(1));
    let current = authority.claim_at(later).await.unwrap();
    assert_eq!(current.job.id, stale.job.id);
    assert_ne!(current.lease.token, stale.lease.token);
    assert_lease_lost(&authority.store_at(&stale, success(&stale, &[], "stale"), later).await);
    assert_lease_lost(&authority.heartbeat(&stale.lease, later).await);
    assert_lease_lost(&authority.release(&stale.lease, ReleaseReason::Drained, later).await);
    let guessed = Lease { token: current.lease.token + 1, ..current.lease };
    assert_lease_lost(&authority.heartbeat(&guessed, later).await);
    let result = success(&current, &[], "current");
    authority.store_at(&current, result.clone(), later).await.unwrap();
    assert_eq!(authority.entry(&root("u/d")).await.unwrap().unwrap().body, result.body);
}

pub async fn the_last_expiry_hands_the_job_to_the_caller(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let mut now = T0;
    for attempt in 1..limits::JOB_ATTEMPTS_MAX {
        authority.claim_at(now).await.unwrap();
        now = now.plus_ms(limits::LEASE_MS);
        assert!(authority.expire_leases(now).await.unwrap().is_empty(), "attempt {attempt}");
        now = now.plus_ms(backoff_ms(attempt));
    }
    let last = authority.claim_at(now).await.unwrap();
    now = now.plus_ms(limits::LEASE_MS);
    let exhausted = authority.expire_leases(now).await.unwrap();
    assert_eq!(exhausted.len(), 1);
    assert_eq!(exhausted[0].job.attempts, limits::JOB_ATTEMPTS_MAX);
    assert_lease_lost(&authority.heartbeat(&last.lease, now).await);
    let verdict = failure(&exhausted[0], ErrorCode::JobManagerCrashedError);
    authority.store_at(&exhausted[0], verdict, now).await.unwrap();
    let entry = authority.entry(&root("u/d")).await.unwrap().unwrap();
    assert_eq!(entry.error_code, Some(ErrorCode::JobManagerCrashedError));
    assert!(authority.state_of("u/d").await.jobs.iter().all(|job| job.key != root("u/d")));
}

pub async fn a_verdict_that_was_never_stored_is_asked_for_again(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let mut now = T0;
    let mut returned = Vec::new();
    while returned.len() < 2 {
        authority.claim_at(now).await;
        now = now.plus_ms(limits::LEASE_MS);
        returned.extend(authority.expire_leases(now).await.unwrap());
        now = now.plus_ms(limits::RETRY_BACKOFF_MAX_MS.min(limits::LEASE_MS - 1));
    }
    assert_ne!(returned[0].lease.token, returned[1].lease.token);
    assert_eq!(returned[1].job.attempts, limits::JOB_ATTEMPTS_MAX);
}

pub async fn a_failed_run_backs_off(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let released = authority.release(&claim.lease, ReleaseReason::Failed, T0).await.unwrap();
    assert_eq!(released, Released::Requeued { attempts: 1 });
    assert_eq!(authority.claim_at(T0.plus_ms(backoff_ms(1) - 1)).await, None);
    let claim = authority.claim_at(T0.plus_ms(backoff_ms(1))).await.unwrap();
    assert_eq!(claim.job.attempts, 1);
}

pub async fn the_last_failure_leaves_the_lease_to_its_holder(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let mut now = T0;
    let last = loop {
        let claim = authority.claim_at(now).await.unwrap();
        match authority.release(&claim.lease, ReleaseReason::Failed, now).await.unwrap() {
            Released::Requeued { attempts } => now = now.plus_ms(backoff_ms(attempts)),
            Released::Exhausted => break claim,
        }
        assert!(claim.job.attempts < limits::JOB_ATTEMPTS_MAX);
    };
    assert_eq!(last.job.attempts, limits::JOB_ATTEMPTS_MAX - 1);
    assert_eq!(authority.claim_at(now).await, None);
    authority.heartbeat(&last.lease, now).await.unwrap();
    let verdict = failure(&last, ErrorCode::JobManagerExceededMaximumDurationError);
    authority.store_at(&last, verdict, now).await.unwrap();
    assert!(authority.entry(&root("u/d")).await.unwrap().is_some());
}

pub async fn a_drained_run_counts_as_nothing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    for _ in 0..=limits::JOB_ATTEMPTS_MAX {
        let claim = authority.claim_now().await;
        let released = authority.release(&claim.lease, ReleaseReason::Drained, T0).await.unwrap();
        assert_eq!(released, Released::Requeued { attempts: 0 });
        assert_lease_lost(&authority.heartbeat(&claim.lease, T0).await);
    }
    assert_eq!(authority.claim_now().await.job.attempts, 0);
}

pub async fn a_running_lease_is_left_alone(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.publish("u/e", "r1").await;
    let (ended, running) = (authority.claim_now().await, authority.claim_now().await);
    authority.heartbeat(&running.lease, T0.plus_ms(10)).await.unwrap();
    let now = T0.plus_ms(limits::LEASE_MS);
    assert!(authority.expire_leases(now).await.unwrap().is_empty());
    authority.heartbeat(&running.lease, now).await.unwrap();
    assert_lease_lost(&authority.heartbeat(&ended.lease, now).await);
}

pub async fn a_result_for_another_artifact_is_refused(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let mut other = usual_result(&claim);
    other.key = key(StepKind::DatasetSplitNames, "u/d", None, None);
    assert_lease_lost(&authority.store_at(&claim, other, T0).await);
    let mut other = usual_result(&claim);
    other.revision = revision("r2");
    assert_lease_lost(&authority.store_at(&claim, other, T0).await);
    assert!(authority.state_of("u/d").await.entries.is_empty());
    authority.store(&claim, usual_result(&claim)).await;
}

pub async fn a_lease_is_good_for_one_result(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, usual_result(&claim)).await;
    let before = authority.position().await.unwrap();
    assert_lease_lost(&authority.store_at(&claim, success(&claim, &[], "again"), T0).await);
    assert_unchanged(subject, before).await;
}

pub async fn acknowledged_jobs_survive_a_restart(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, success(&claim, &["a", "b", "c"], "{}")).await;
    let claim = authority.claim_now().await;
    authority.release(&claim.lease, ReleaseReason::Failed, T0).await.unwrap();
    let before = authority.state_of("u/d").await;
    drop(authority);
    subject.reopen().await;
    let after = subject.authority().state_of("u/d").await;
    assert_eq!(after, before);
    let next = subject.authority().claim_at(T0).await.unwrap();
    assert_ne!(next.lease, claim.lease);
}
