//! The runtime against a scripted authority and scripted steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use outpost_model::{Entry, ErrorCode, JobId, Queue};
use outpost_storage::ReleaseReason;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fake::{Call, FakeAuthority, ManualClock, Script, job_with_id};
use crate::outcome::StepResult;

/// A pool of one worker over a scripted authority.
struct Rig {
    authority: Arc<FakeAuthority>,
    clock: Arc<ManualClock>,
    reports: Arc<Reports>,
    config: WorkerConfig,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct Reports {
    ended: Mutex<Vec<JobReport>>,
    abandoned: AtomicUsize,
    failed_calls: AtomicUsize,
}

impl Observer for Reports {
    fn job_ended(&self, report: &JobReport) {
        self.ended.lock().unwrap().push(report.clone());
    }

    fn authority_failed(&self, _: &'static str) {
        self.failed_calls.fetch_add(1, Ordering::Relaxed);
    }

    fn run_abandoned(&self, _: &outpost_model::ArtifactKey) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reports {
    fn outcomes(&self) -> Vec<JobOutcome> {
        self.ended.lock().unwrap().iter().map(|report| report.outcome).collect()
    }
}

impl Rig {
    fn new() -> Self {
        let reports = Arc::new(Reports::default());
        let mut config = WorkerConfig::new(vec![WorkerGroup { queues: vec![Queue::Splits], workers: 1 }]);
        config.observer = reports.clone();
        config.authority_retry_min_ms = 1;
        config.authority_retry_max_ms = 2;
        let clock = Arc::new(ManualClock::default());
        Self { authority: FakeAuthority::new(3), clock, reports, config, shutdown: CancellationToken::new() }
    }

    fn start<F>(&self, script: F) -> WorkerHandle
    where
        F: Fn(&Job, &RunContext) -> StepOutcome + Send + Sync + 'static,
    {
        let steps = Arc::new(Script(script));
        let (authority, clock) = (self.authority.clone(), self.clock.clone());
        WorkerPool::start(self.config.clone(), authority, steps, clock, &self.shutdown)
    }

    async fn stop(&self, handle: WorkerHandle) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), handle.join()).await.expect("the pool ends");
    }
}

fn success() -> StepOutcome {
    StepOutcome::Store(Box::new(StepResult::success(b"{}".to_vec())))
}

fn transient() -> StepOutcome {
    StepOutcome::Transient(Box::new(StepResult::error(ErrorCode::HfHubError, "The Hub failed.", None)))
}

fn stored(calls: &[Call]) -> Option<&Entry> {
    calls.iter().find_map(|call| match call {
        Call::Stored(entry) => Some(&**entry),
        _ => None,
    })
}

fn stored_code(calls: &[Call]) -> Option<ErrorCode> {
    stored(calls).and_then(|entry| entry.error_code)
}

fn releases(calls: &[Call]) -> Vec<ReleaseReason> {
    let reason = |call: &Call| match call {
        Call::Released(reason) => Some(*reason),
        _ => None,
    };
    calls.iter().filter_map(reason).collect()
}

#[tokio::test]
async fn a_claimed_job_is_run_and_its_entry_stored() {
    let rig = Rig::new();
    let clock = rig.clock.clone();
    let handle = rig.start(move |_, context| {
        clock.advance_ms(7);
        context.guard.count_bytes(42);
        success()
    });
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    let entry = stored(&calls).unwrap();
    assert_eq!((entry.http_status, entry.job_runner_version, entry.duration_ms), (200, 4, 7));
    assert_eq!(entry.key, job_with_id(1).key);
    let reports = rig.reports.ended.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].bytes_read, reports[0].jobs_created), (42, 2));
    assert_eq!(reports[0].outcome, JobOutcome::Stored { error_code: None });
}

#[tokio::test]
async fn jobs_that_wait_before_the_start_are_all_run() {
    let mut rig = Rig::new();
    rig.config.groups[0].workers = 3;
    (1..=20).for_each(|id| rig.authority.push(job_with_id(id)));
    let handle = rig.start(|_, _| StepOutcome::Nothing);
    let calls =
        rig.authority.until(|calls| calls.iter().filter(|call| **call == Call::Nothing).count() == 20);
    calls.await;
    rig.stop(handle).await;
    assert_eq!(rig.reports.outcomes(), vec![JobOutcome::Nothing; 20]);
}

#[tokio::test]
async fn the_lease_is_renewed_while_the_job_runs() {
    let mut rig = Rig::new();
    rig.config.heartbeat_ms = 1;
    let (end, ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    let handle = rig.start(move |_, _| {
        ended.lock().unwrap().recv().unwrap();
        success()
    });
    rig.authority.push(job_with_id(1));
    rig.authority.until(|calls| calls.iter().filter(|call| **call == Call::Renewed).count() > 2).await;
    end.send(()).unwrap();
    rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
}

#[tokio::test]
async fn a_lost_lease_cancels_the_run_and_drops_its_result() {
    let mut rig = Rig::new();
    rig.config.heartbeat_ms = 1;
    let authority = rig.authority.clone();
    let (tell, told) = mpsc::channel();
    let handle = rig.start(move |_, context| {
        authority.lose_leases();
        while !context.guard.must_stop() {
            std::thread::yield_now();
        }
        tell.send(()).unwrap();
        success()
    });
    rig.authority.push(job_with_id(1));
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    rig.stop(handle).await;
    assert_eq!(stored(&rig.authority.calls()), None);
    assert_eq!(rig.reports.outcomes(), vec![JobOutcome::LeaseLost]);
}

#[tokio::test]
async fn a_panic_is_repeated_and_then_stored_as_a_crash() {
    let rig = Rig::new();
    let handle = rig.start(|_, _| panic!("scripted panic"));
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls), vec![ReleaseReason::Failed; 3]);
    assert_eq!(stored_code(&calls), Some(ErrorCode::JobManagerCrashedError));
    let crashed = ErrorCode::JobManagerCrashedError;
    let requeued = |attempts| JobOutcome::Requeued { error_code: crashed, attempts };
    let last = JobOutcome::Stored { error_code: Some(crashed) };
    assert_eq!(rig.reports.outcomes(), vec![requeued(1), requeued(2), last]);
}

#[tokio::test]
async fn a_run_past_its_deadline_is_cancelled_repeated_and_then_stored_as_too_long() {
    let mut rig = Rig::new();
    rig.config.job_duration_ms_max = 5;
    let handle = rig.start(|_, context| {
        while !context.guard.must_stop() {
            std::thread::yield_now();
        }
        success()
    });
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls), vec![ReleaseReason::Failed; 3]);
    assert_eq!(stored_code(&calls), Some(ErrorCode::JobManagerExceededMaximumDurationError));
}

#[tokio::test]
async fn a_run_that_ignores_its_deadline_is_left_to_itself_and_the_worker_goes_on() {
    let mut rig = Rig::new();
    rig.config.job_duration_ms_max = 50;
    rig.config.cancel_grace_ms = 1;
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let handle = rig.start(move |job, _| {
        if job.id.0 == 1 {
            let _ = ended.lock().unwrap().recv();
        }
        success()
    });
    rig.authority.push(job_with_id(1));
    rig.authority.until(|calls| releases(calls).len() == 1).await;
    rig.authority.push(job_with_id(2));
    rig.authority.until(|calls| calls.contains(&Call::Claimed(JobId(2)))).await;
    assert!(rig.reports.abandoned.load(Ordering::Relaxed) >= 1);
    drop(end);
    rig.stop(handle).await;
}

#[tokio::test]
async fn a_transient_failure_is_repeated_until_it_passes() {
    let rig = Rig::new();
    let runs = AtomicUsize::new(0);
    let handle = rig
        .start(move |_, _| if runs.fetch_add(1, Ordering::Relaxed) == 0 { transient() } else { success() });
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls), vec![ReleaseReason::Failed]);
    assert_eq!(stored(&calls).unwrap().http_status, 200);
}

#[tokio::test]
async fn a_transient_failure_that_stays_is_stored_under_its_code() {
    let rig = Rig::new();
    let handle = rig.start(|_, _| transient());
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls).len(), 3);
    assert_eq!(stored_code(&calls), Some(ErrorCode::HfHubError));
}

#[tokio::test]
async fn a_running_job_ends_within_the_drain_time_and_nothing_more_is_claimed() {
    let rig = Rig::new();
    let (end, ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    let handle = rig.start(move |_, _| {
        ended.lock().unwrap().recv().unwrap();
        success()
    });
    rig.authority.push(job_with_id(1));
    rig.authority.push(job_with_id(2));
    rig.authority.until(|calls| !calls.is_empty()).await;
    rig.shutdown.cancel();
    end.send(()).unwrap();
    rig.stop(handle).await;
    assert!(stored(&rig.authority.calls()).is_some());
    assert_eq!(rig.authority.waiting(), 1);
}

#[tokio::test]
async fn a_job_that_outlasts_the_drain_time_is_given_back_and_does_not_hold_the_shutdown() {
    let mut rig = Rig::new();
    rig.config.drain_ms = 1;
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let handle = rig.start(move |_, _| {
        let _ = ended.lock().unwrap().recv();
        success()
    });
    rig.authority.push(job_with_id(1));
    rig.authority.until(|calls| !calls.is_empty()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&rig.authority.calls()), vec![ReleaseReason::Drained]);
    assert_eq!(rig.reports.outcomes(), vec![JobOutcome::Drained]);
    drop(end);
}

#[tokio::test]
async fn failing_calls_to_the_authority_are_repeated_and_lose_no_job() {
    let rig = Rig::new();
    for call in ["claim", "finish", "release", "expire_leases"] {
        rig.authority.fail(call, 4);
    }
    let runs = AtomicUsize::new(0);
    let handle = rig
        .start(move |_, _| if runs.fetch_add(1, Ordering::Relaxed) == 0 { transient() } else { success() });
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls), vec![ReleaseReason::Failed]);
    assert!(rig.reports.failed_calls.load(Ordering::Relaxed) >= 12);
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_counts_as_a_failed_run() {
    let mut rig = Rig::new();
    rig.config.authority_attempts_max = 2;
    rig.authority.fail("finish", 2);
    let handle = rig.start(|_, _| success());
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(releases(&calls), vec![ReleaseReason::Failed]);
    assert_eq!(rig.reports.outcomes(), vec![JobOutcome::Unsettled, JobOutcome::Stored { error_code: None }]);
}

#[tokio::test]
async fn a_result_that_the_store_refuses_is_replaced_by_an_error_that_says_why() {
    let rig = Rig::new();
    rig.authority.fail("finish, unstorable", 1);
    let handle = rig.start(|_, _| success());
    rig.authority.push(job_with_id(1));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    let entry = stored(&calls).unwrap();
    assert_eq!(entry.error_code, Some(ErrorCode::UnexpectedError));
    assert!(String::from_utf8_lossy(&entry.body).contains("scripted refusal"));
    assert!(releases(&calls).is_empty());
}

#[tokio::test]
async fn a_job_whose_leases_all_ran_out_is_stored_as_a_crash() {
    let rig = Rig::new();
    rig.authority.push_expired(job_with_id(5));
    let handle = rig.start(|_, _| success());
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert_eq!(stored_code(&calls), Some(ErrorCode::JobManagerCrashedError));
}

struct Trail(Mutex<Vec<Breakpoint>>);

#[async_trait::async_trait]
impl Breakpoints for Trail {
    async fn reached(&self, breakpoint: Breakpoint, _: &Job) {
        self.0.lock().unwrap().push(breakpoint);
    }
}

#[tokio::test]
async fn breakpoints_are_reached_in_order() {
    let mut rig = Rig::new();
    let trail = Arc::new(Trail(Mutex::default()));
    rig.config.breakpoints = Some(trail.clone());
    let handle = rig.start(|_, _| success());
    rig.authority.push(job_with_id(1));
    rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    use Breakpoint::{Claimed, Committed, Computed};
    assert_eq!(*trail.0.lock().unwrap(), [Claimed, Computed, Committed]);
}

/// Panics at the first claim, outside of the run.
struct Defect(AtomicUsize);

#[async_trait::async_trait]
impl Breakpoints for Defect {
    async fn reached(&self, _: Breakpoint, _: &Job) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "scripted defect");
    }
}

#[tokio::test]
async fn a_worker_that_ends_by_a_defect_is_started_again() {
    let mut rig = Rig::new();
    rig.config.breakpoints = Some(Arc::new(Defect(AtomicUsize::new(0))));
    let handle = rig.start(|_, _| success());
    rig.authority.push(job_with_id(1));
    rig.authority.push(job_with_id(2));
    let calls = rig.authority.until(|calls| stored(calls).is_some()).await;
    rig.stop(handle).await;
    assert!(calls.starts_with(&[Call::Claimed(JobId(1)), Call::Claimed(JobId(2))]), "{calls:?}");
}

struct Large;

impl MemoryGauge for Large {
    fn resident_bytes(&self) -> Option<u64> {
        Some(u64::MAX)
    }
}

#[tokio::test]
async fn a_large_process_still_runs_its_jobs_one_after_the_other() {
    let mut rig = Rig::new();
    rig.config.groups[0].workers = 4;
    rig.config.memory = Arc::new(Large);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let handle = rig.start(move |_, _| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        StepOutcome::Nothing
    });
    (1..=10).for_each(|id| rig.authority.push(job_with_id(id)));
    rig.authority.until(|calls| calls.iter().filter(|call| **call == Call::Nothing).count() == 10).await;
    rig.stop(handle).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
