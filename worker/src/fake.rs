//! A scripted authority, scripted steps and a clock that stands where it is put.
//!
//! The authority keeps a queue in memory, writes down each call that changes something, and fails on demand. Tests
//! wait for conditions over what it wrote down.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use outpost_model::planning::{DatasetState, Event};
use outpost_model::{
    ArtifactKey, ConfigName, DatasetName, DatasetRecord, Entry, Epoch, Job, JobId, JobState, Lease, Position,
    Priority, Queue, Revision, SplitName, StepKind, TimestampMs, WebhookId,
};
use outpost_storage::{
    Authority, Claim, Completion, DifficultyRange, Finished, QueueStats, ReleaseReason, Released,
    StorageError, Submitted,
};
use tokio::sync::{Notify, watch};

use crate::outcome::StepOutcome;
use crate::runtime::{Clock, RunContext, StepRunner};

/// A call that changed something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Claimed(JobId),
    Renewed,
    Stored(Box<Entry>),
    Nothing,
    Released(ReleaseReason),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    attempts: HashMap<JobId, u32>,
    expired: Vec<Claim>,
    failures: HashMap<&'static str, u32>,
    leases_lost: bool,
    calls: Vec<Call>,
    entries: HashMap<ArtifactKey, Entry>,
}

pub(crate) struct FakeAuthority {
    state: Mutex<State>,
    attempts_max: u32,
    work: Notify,
    changed: watch::Sender<()>,
}

impl FakeAuthority {
    pub(crate) fn new(attempts_max: u32) -> Arc<Self> {
        let (changed, _) = watch::channel(());
        Arc::new(Self { state: Mutex::default(), attempts_max, work: Notify::new(), changed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn push(&self, job: Job) {
        self.state().waiting.push_back(job);
        self.work.notify_waiters();
    }

    pub(crate) fn push_expired(&self, job: Job) {
        let lease = Lease { job_id: job.id, token: 9 };
        self.state().expired.push(Claim { job, lease });
    }

    pub(crate) fn put(&self, entry: Entry) {
        self.state().entries.insert(entry.key.clone(), entry);
    }

    /// Makes the next `times` calls of `name` fail.
    pub(crate) fn fail(&self, name: &'static str, times: u32) {
        self.state().failures.insert(name, times);
    }

    pub(crate) fn lose_leases(&self) {
        self.state().leases_lost = true;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// The calls once they satisfy `condition`, which must be soon.
    pub(crate) async fn until(&self, condition: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut changed = self.changed.subscribe();
        let satisfied = async {
            loop {
                let calls = self.calls();
                if condition(&calls) {
                    return calls;
                }
                changed.changed().await.unwrap();
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(20), satisfied).await;
        result.unwrap_or_else(|_| panic!("condition not met by {:?}", self.calls()))
    }

    fn note(&self, call: Call) {
        self.state().calls.push(call);
        self.changed.send_replace(());
    }

    fn check(&self, name: &'static str) -> Result<(), StorageError> {
        let mut state = self.state();
        if let Some(times) = state.failures.get_mut(name).filter(|times| **times > 0) {
            *times -= 1;
            return Err(StorageError::Engine("scripted failure".into()));
        }
        if state.leases_lost && name != "claim" && name != "expire_leases" {
            return Err(StorageError::LeaseLost("scripted loss"));
        }
        Ok(())
    }
}

fn position() -> Position {
    Position { epoch: Epoch(1), seq: 1 }
}

#[async_trait]
impl Authority for FakeAuthority {
    async fn position(&self) -> Result<Position, StorageError> {
        Ok(position())
    }

    async fn webhook_taken(&self, _: &WebhookId) -> Result<bool, StorageError> {
        Ok(false)
    }

    async fn mark_webhook_taken(&self, _: &WebhookId, _: TimestampMs) -> Result<(), StorageError> {
        Ok(())
    }

    async fn submit(&self, _: &DatasetName, _: &Event, _: TimestampMs) -> Result<Submitted, StorageError> {
        Ok(Submitted { position: position(), jobs_created: 0 })
    }

    async fn state(&self, _: &DatasetName) -> Result<DatasetState, StorageError> {
        Ok(DatasetState::default())
    }

    async fn dataset(&self, _: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        Ok(None)
    }

    async fn datasets(&self, _: Option<&DatasetName>, _: usize) -> Result<Vec<DatasetRecord>, StorageError> {
        Ok(Vec::new())
    }

    async fn entry(&self, key: &ArtifactKey) -> Result<Option<Entry>, StorageError> {
        self.check("entry")?;
        Ok(self.state().entries.get(key).cloned())
    }

    async fn claim_within(
        &self,
        queues: &[Queue],
        _: DifficultyRange,
        _: TimestampMs,
    ) -> Result<Option<Claim>, StorageError> {
        self.check("claim")?;
        let job = {
            let mut state = self.state();
            let index = state.waiting.iter().position(|job| queues.contains(&job.key.kind().queue()));
            index.and_then(|index| state.waiting.remove(index))
        };
        Ok(job.map(|job| {
            self.note(Call::Claimed(job.id));
            let lease = Lease { job_id: job.id, token: 1 };
            Claim { job, lease }
        }))
    }

    async fn heartbeat(&self, _: &Lease, _: TimestampMs) -> Result<(), StorageError> {
        self.check("heartbeat")?;
        self.note(Call::Renewed);
        Ok(())
    }

    async fn finish(
        &self,
        _: &Lease,
        completion: Completion,
        _: TimestampMs,
    ) -> Result<Finished, StorageError> {
        self.check("finish")?;
        if self.check("finish, unstorable").is_err() {
            return Err(StorageError::Unstorable("scripted refusal".into()));
        }
        self.note(match completion {
            Completion::Store(entry) => Call::Stored(entry),
            Completion::Nothing => Call::Nothing,
        });
        Ok(Finished { position: position(), jobs_created: 2, requeued: false })
    }

    async fn release(
        &self,
        lease: &Lease,
        reason: ReleaseReason,
        _: TimestampMs,
    ) -> Result<Released, StorageError> {
        self.check("release")?;
        let attempts = {
            let mut state = self.state();
            let attempts = state.attempts.entry(lease.job_id).or_default();
            if reason == ReleaseReason::Failed {
                *attempts += 1;
            }
            *attempts
        };
        self.note(Call::Released(reason));
        if attempts >= self.attempts_max {
            return Ok(Released::Exhausted);
        }
        self.push(job_with_id(lease.job_id.0));
        Ok(Released::Requeued { attempts })
    }

    async fn expire_leases(&self, _: TimestampMs) -> Result<Vec<Claim>, StorageError> {
        self.check("expire_leases")?;
        Ok(std::mem::take(&mut self.state().expired))
    }

    async fn wait_for_work(&self, _: &[Queue]) {
        self.work.notified().await;
    }

    async fn stats(&self) -> Result<QueueStats, StorageError> {
        Ok(QueueStats::default())
    }
}

/// A waiting first-rows job.
pub(crate) fn job_with_id(id: u128) -> Job {
    Job { id: JobId(id), ..job(key(StepKind::SplitFirstRows, Some("default"), Some("train"))) }
}

/// A waiting job.
pub(crate) fn job(key: ArtifactKey) -> Job {
    Job {
        id: JobId(1),
        difficulty: key.kind().spec().difficulty,
        key,
        revision: Revision::new("abc").unwrap(),
        priority: Priority::Normal,
        created_at: TimestampMs(1),
        attempts: 0,
        state: JobState::Waiting { not_before: TimestampMs(0) },
    }
}

/// A key of the dataset `user/data`.
pub(crate) fn key(kind: StepKind, config: Option<&str>, split: Option<&str>) -> ArtifactKey {
    let dataset = DatasetName::new("user/data").unwrap();
    let config = config.map(|name| ConfigName::new(name).unwrap());
    let split = split.map(|name| SplitName::new(name).unwrap());
    ArtifactKey::new(kind, dataset, config, split).unwrap()
}

/// Steps that do what a closure says.
pub(crate) struct Script<F>(pub(crate) F);

impl<F> StepRunner for Script<F>
where
    F: Fn(&Job, &RunContext) -> StepOutcome + Send + Sync + 'static,
{
    fn run(&self, job: &Job, context: &RunContext) -> StepOutcome {
        (self.0)(job, context)
    }
}

/// A clock that is set by hand.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimestampMs {
        TimestampMs(self.0.load(Ordering::Relaxed))
    }
}
