//! Random histories: a store and the simple model are given the same calls and must agree on everything.
//!
//! The seed of a failing history is printed; `OUTPOST_SEED=<seed>` runs that one alone, `OUTPOST_SEEDS=<count>` more
//! of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::{
    ArtifactKey, DatasetName, Entry, ErrorCode, Job, JobId, JobState, Priority, Queue, StepKind, TimestampMs,
    Visibility, limits,
};

use super::model::{Model, ModelClaim};
use super::{Calls, Reopened, Subject, T0, dataset, failure, revision, root, success};
use crate::authority::{Authority, Claim, Completion, ReleaseReason};
use crate::error::StorageError;

const SEEDS: u64 = 300;
const STEPS_PER_SEED: usize = 60;
/// Calls between two comparisons of the whole state; every answer is compared.
const STEPS_PER_COMPARISON: usize = 6;
/// One store runs many histories, each with namespaces of its own, so that also the leftovers of others are there.
const DATASETS: usize = 3;

pub async fn stores_agree_with_a_simple_model(subject: &mut dyn Subject) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("OUTPOST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OUTPOST_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let announced = Announced(seed);
        let history = History::new(seed);
        history.run(subject).await;
        drop(announced);
    }
}

/// Prints the seed when its history fails.
struct Announced(u64);

impl Drop for Announced {
    #[expect(clippy::print_stdout, reason = "the seed must reach whoever reads the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the history of seed {} failed; run it alone with OUTPOST_SEED={}", self.0, self.0);
        }
    }
}

struct History {
    random: fastrand::Rng,
    names: Vec<String>,
    now: TimestampMs,
    model: Model,
    /// Claims that were given out, by both sides; some of them stale.
    claims: Vec<(Claim, ModelClaim)>,
}

impl History {
    fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        // Two datasets share a namespace.
        let names = (0..DATASETS).map(|number| format!("s{seed}n{}/d{number}", number / 2)).collect();
        // Time goes on from one history to the next: no history is as long as the step between them.
        let now = T0.plus_ms(seed * 100 * STEPS_PER_SEED as u64 * limits::LEASE_MS);
        Self { random, names, now, model: Model::default(), claims: Vec::new() }
    }

    async fn run(mut self, subject: &mut dyn Subject) {
        for step in 0..STEPS_PER_SEED {
            if step == STEPS_PER_SEED / 2 && self.random.u8(..4) == 0 {
                self.reopen(subject).await;
            }
            self.step(&subject.authority()).await;
            if step % STEPS_PER_COMPARISON == 0 {
                self.compare(&subject.authority(), step).await;
            }
        }
        self.compare(&subject.authority(), STEPS_PER_SEED).await;
        self.compare_entries(subject).await;
        for name in &self.names {
            subject.authority().submit(&dataset(name), &Event::Removed, self.now).await.unwrap();
        }
    }

    async fn reopen(&mut self, subject: &mut dyn Subject) {
        if subject.reopen().await == Reopened::LeasesEnded {
            self.model.end_process();
        }
    }

    async fn step(&mut self, authority: &Arc<dyn Authority>) {
        // Two calls of one millisecond would leave the order of a token and of a start to the store.
        self.now = self.now.plus_ms(self.random.u64(1..2_000));
        match self.random.u8(..20) {
            0..4 => self.submit(authority).await,
            4..10 => self.claim(authority).await,
            10..16 => self.finish(authority).await,
            16 => self.heartbeat(authority).await,
            17..19 => self.release(authority).await,
            _ => self.expire(authority).await,
        }
    }

    async fn submit(&mut self, authority: &Arc<dyn Authority>) {
        let name = dataset(&self.names[self.random.usize(..self.names.len())]);
        let event = match self.random.u8(..12) {
            0 => Event::Removed,
            10 => Event::Cancel,
            11 => self.compute(&name),
            1..4 => Event::Backfill { retry_errors: self.random.bool() },
            _ => Event::Revision {
                revision: revision(if self.random.u8(..5) == 0 { "r2" } else { "r1" }),
                visibility: if self.random.u8(..10) == 0 { Visibility::Gated } else { Visibility::Public },
                priority: [Priority::Low, Priority::Normal, Priority::High][self.random.usize(..3)],
                force: self.random.u8(..10) == 0,
            },
        };
        authority.submit(&name, &event, self.now).await.unwrap();
        self.model.submit(&name, &event, self.now);
    }

    /// One artifact again, most often one that is stored.
    fn compute(&mut self, name: &DatasetName) -> Event {
        let stored: Vec<&ArtifactKey> =
            self.model.entries.keys().filter(|key| key.dataset() == name).collect();
        let key = match stored.len() {
            0 => root(name.as_str()),
            count => stored[self.random.usize(..count)].clone(),
        };
        let priority = [Priority::Low, Priority::Normal, Priority::High][self.random.usize(..3)];
        Event::Compute { key, priority }
    }

    async fn claim(&mut self, authority: &Arc<dyn Authority>) {
        let queues: &[Queue] =
            [&Queue::ALL[..], &[Queue::Datasets], &[Queue::Splits]][self.random.usize(..3)];
        let real = authority.claim(queues, self.now).await.unwrap();
        let chosen = real.as_ref().map(|claim| &claim.job.key);
        let expected = self.model.claim(queues, self.now, chosen);
        assert_eq!(
            real.as_ref().map(|claim| plain(&claim.job)),
            expected.as_ref().map(|(job, _)| plain(job)),
            "claims differ"
        );
        self.claims.extend(real.zip(expected));
    }

    async fn finish(&mut self, authority: &Arc<dyn Authority>) {
        let Some((real, expected)) = self.pick_claim() else { return };
        let entry = (self.random.u8(..10) > 0).then(|| self.result(&real));
        let completion = match &entry {
            Some(entry) => Completion::Store(Box::new(entry.clone())),
            None => Completion::Nothing,
        };
        let got = authority.finish(&real.lease, completion, self.now).await.map(|_| ());
        assert_same_refusal(&got, &self.model.finish(&expected, entry, self.now));
    }

    async fn heartbeat(&mut self, authority: &Arc<dyn Authority>) {
        let Some((real, expected)) = self.pick_claim() else { return };
        let got = authority.heartbeat(&real.lease, self.now).await;
        assert_same_refusal(&got, &self.model.heartbeat(&expected, self.now));
    }

    async fn release(&mut self, authority: &Arc<dyn Authority>) {
        let Some((real, expected)) = self.pick_claim() else { return };
        let reason = if self.random.bool() { ReleaseReason::Failed } else { ReleaseReason::Drained };
        let got = authority.release(&real.lease, reason, self.now).await;
        assert_same_refusal(&got, &self.model.release(&expected, reason, self.now));
    }

    async fn expire(&mut self, authority: &Arc<dyn Authority>) {
        self.now = self.now.plus_ms(self.random.u64(0..2 * limits::LEASE_MS));
        let by_key = |job: &Job| job.key.clone();
        let mut real = authority.expire_leases(self.now).await.unwrap();
        let mut expected = self.model.expire_leases(self.now);
        real.sort_by_key(|claim| by_key(&claim.job));
        expected.sort_by_key(|(job, _)| by_key(job));
        let plain_real: Vec<_> = real.iter().map(|claim| plain(&claim.job)).collect();
        let plain_expected: Vec<_> = expected.iter().map(|(job, _)| plain(job)).collect();
        assert_eq!(plain_real, plain_expected, "exhausted jobs differ");
        self.claims.extend(real.into_iter().zip(expected));
    }

    /// A claim that was given out, most often the latest.
    fn pick_claim(&mut self) -> Option<(Claim, ModelClaim)> {
        let last = self.claims.len().checked_sub(1)?;
        let index = if self.random.bool() { last } else { self.random.usize(..=last) };
        Some(self.claims[index].clone())
    }

    fn result(&mut self, claim: &Claim) -> Entry {
        let codes = [ErrorCode::HfHubError, ErrorCode::StreamingRowsError, ErrorCode::EmptyDatasetError];
        if self.random.u8(..5) == 0 {
            return failure(claim, codes[self.random.usize(..codes.len())]);
        }
        let all: &[&str] = match claim.job.key.kind() {
            StepKind::DatasetConfigNames => &["a", "b", "c"],
            StepKind::ConfigSplitNames => &["train", "test"],
            _ => &[],
        };
        let names: Vec<&str> = all.iter().copied().filter(|_| self.random.u8(..3) > 0).collect();
        let body = "b".repeat(self.random.usize(..20)) + &self.random.u64(..).to_string().repeat(300);
        let version = claim.job.key.kind().spec().version - u32::from(self.random.u8(..5) == 0);
        Entry { job_runner_version: version, ..success(claim, &names, &body) }
    }

    async fn compare(&self, authority: &Arc<dyn Authority>, step: usize) {
        for name in &self.names {
            let real = authority.state_of(name).await;
            let mut expected = self.model.state(&dataset(name));
            expected.entries.sort_by(|a, b| a.key.cmp(&b.key));
            assert_eq!(real.revision, expected.revision, "{name} after step {step}");
            assert_eq!(real.entries, expected.entries, "{name} after step {step}");
            assert_eq!(by_key(&real.jobs), by_key(&expected.jobs), "{name} after step {step}");
        }
    }

    async fn compare_entries(&self, subject: &dyn Subject) {
        let (authority, mirror) = (subject.authority(), subject.mirror().await);
        for (key, entry) in &self.model.entries {
            assert_eq!(authority.entry(key).await.unwrap().as_ref(), Some(entry));
            assert_eq!(mirror.get(key).unwrap().map(|read| read.version), Some(entry.version()));
        }
        for name in &self.names {
            let name = dataset(name);
            assert_eq!(authority.dataset(&name).await.unwrap().as_ref(), self.model.datasets.get(&name));
        }
    }
}

/// A job without what the two sides number on their own.
fn plain(job: &Job) -> Job {
    let mut job = Job { id: JobId(0), ..job.clone() };
    if let JobState::Started { token, .. } = &mut job.state {
        *token = 0;
    }
    job
}

fn by_key(jobs: &[Job]) -> BTreeMap<ArtifactKey, Job> {
    jobs.iter().map(|job| (job.key.clone(), plain(job))).collect()
}

/// Both sides accept with the same answer, or both refuse.
fn assert_same_refusal<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    real: &Result<T, StorageError>,
    expected: &Result<T, E>,
) {
    match (real, expected) {
        (Ok(real), Ok(expected)) => assert_eq!(real, expected),
        (Err(StorageError::LeaseLost(_)), Err(_)) => {}
        _ => panic!("the store answered {real:?}, the model {expected:?}"),
    }
}
