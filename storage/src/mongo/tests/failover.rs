//! The primary of the set is lost while workers work: what readers saw stays, no work is lost, and work goes on.
//!
//! The end of a job may be lost with the server that took it; the job is then back, and its next run ends later than the
//! one that was told to have ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outpost_model::{ArtifactKey, Queue, StepKind, TimestampMs, limits};

use super::super::{MongoConfig, MongoFeed, MongoStore};
use super::members::Members;
use crate::authority::{Authority, Claim, Completion};
use crate::contract::{Calls, T0, success};
use crate::error::StorageError;
use crate::mirror::Mirror;
use crate::mirror_store::MirrorStore;
use crate::testing::mongod::Databases;

const DATASETS: usize = 60;
const WORKERS: usize = 3;
/// Finishes before the primary is lost.
const WARM_UP: usize = 60;
const PATIENCE: Duration = Duration::from_secs(120);
/// Without an end of a job for this long, the workers' clock jumps: leases that nobody holds run out.
const STUCK: Duration = Duration::from_secs(2);

/// What the workers share.
#[derive(Default)]
struct Shift {
    clock_ms: AtomicU64,
    runs: AtomicU64,
    ended: AtomicUsize,
    is_over: AtomicBool,
    /// Runs that were told to have ended, by artifact.
    ended_runs: Mutex<BTreeMap<ArtifactKey, Vec<u64>>>,
}

impl Shift {
    fn now(&self) -> TimestampMs {
        T0.plus_ms(self.clock_ms.load(Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

fn result(claim: &Claim, run: u64) -> Completion {
    let names: &[&str] = match claim.job.key.kind() {
        StepKind::DatasetConfigNames => &["default"],
        StepKind::ConfigSplitNames => &["train"],
        _ => &[],
    };
    Completion::Store(Box::new(success(claim, names, &format!("run {run:08}"))))
}

/// Runs jobs; calls that fail are made again.
async fn work(store: MongoStore, shift: Arc<Shift>) {
    while !shift.is_over() {
        let Ok(Some(claim)) = store.claim(&Queue::ALL, shift.now()).await else {
            store.wait_for_work(&Queue::ALL).await;
            continue;
        };
        let run = shift.runs.fetch_add(1, Ordering::Relaxed);
        while !shift.is_over() {
            match store.finish(&claim.lease, result(&claim, run), shift.now()).await {
                Ok(_) => {
                    let mut ended_runs = shift.ended_runs.lock().unwrap();
                    ended_runs.entry(claim.job.key.clone()).or_default().push(run);
                    break;
                }
                Err(StorageError::LeaseLost(_)) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        shift.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The run that a body is of.
fn run_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    text.split("run ").nth(1).and_then(|rest| rest.get(..8)).unwrap().parse().unwrap()
}

/// Reads what the mirror has, over and over: nothing may fail, go away or be taken back. Returns the reads made.
async fn read(mirror: MirrorStore, shift: Arc<Shift>) -> usize {
    let (mut seen, mut reads) = (BTreeMap::new(), 0);
    while !shift.is_over() {
        let known: Vec<ArtifactKey> = shift.ended_runs.lock().unwrap().keys().cloned().collect();
        for key in known {
            let found = mirror.get(&key).unwrap().map(|entry| run_of(&entry.body));
            let before = found.and_then(|run| seen.insert(key.clone(), run)).or(seen.get(&key).copied());
            assert!(found >= before, "{key}: run {before:?} was seen, then {found:?}");
            reads += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reads
}

/// The queue empty, whatever it takes.
async fn until_empty(store: &MongoStore, shift: &Shift) {
    let deadline = Instant::now() + PATIENCE;
    let (mut ended, mut since) = (0, Instant::now());
    loop {
        let live = store.stats().await.map(|stats| stats.jobs.iter().map(|(_, w, s)| w + s).sum::<u64>());
        if matches!(live, Ok(0)) {
            return;
        }
        assert!(Instant::now() < deadline, "jobs are left: {live:?}");
        let now_ended = shift.ended.load(Ordering::Relaxed);
        if now_ended != ended {
            (ended, since) = (now_ended, Instant::now());
        } else if since.elapsed() > STUCK {
            shift.clock_ms.fetch_add(limits::LEASE_MS + 1, Ordering::Relaxed);
            since = Instant::now();
            if let Ok(exhausted) = store.expire_leases(shift.now()).await {
                assert_eq!(exhausted, [], "a job used up its attempts");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A set under load, whose primary is lost by `lose` in the middle.
async fn survives(mut members: Members, lose: impl AsyncFnOnce(&mut Members)) {
    let databases = Databases::random();
    let config = MongoConfig {
        cache_database: databases.cache,
        queue_database: databases.queue,
        ..MongoConfig::new(&members.url())
    };
    let store = MongoStore::open(&config).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mirror = MirrorStore::open(directory.path()).unwrap();
    let feed = MongoFeed::start(&config, mirror.clone()).await.unwrap();
    let authority: Arc<dyn Authority> = Arc::new(store.clone());
    for number in 0..DATASETS {
        authority.publish(&format!("n{}/d{number}", number % 7), "r1").await;
    }
    let shift = Arc::new(Shift::default());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(tokio::spawn(work(MongoStore::open(&config).await.unwrap(), shift.clone())));
    }
    let reader = tokio::spawn(read(mirror.clone(), shift.clone()));
    let deadline = Instant::now() + PATIENCE;
    while shift.ended.load(Ordering::Relaxed) < WARM_UP {
        assert!(Instant::now() < deadline, "the workers do not work");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lose(&mut members).await;
    until_empty(&store, &shift).await;
    let position = store.position().await.unwrap();
    while mirror.position().covers(&position) != Some(true) {
        assert!(Instant::now() < deadline + PATIENCE, "the feed does not resume: {:?}", feed.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shift.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    assert!(reader.await.unwrap() > 0);
    check(&store, &mirror, &shift).await;
    feed.stop().await;
}

async fn check(store: &MongoStore, mirror: &MirrorStore, shift: &Shift) {
    let stored: u64 = store.stats().await.unwrap().entries.iter().map(|(.., count)| count).sum();
    assert_eq!(stored, u64::try_from(DATASETS * 7).unwrap());
    let ended_runs = shift.ended_runs.lock().unwrap().clone();
    for (key, runs) in ended_runs {
        let entry = store.entry(&key).await.unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        let (last, number) = (runs.iter().max().unwrap(), run_of(&entry.body));
        assert!(number >= *last, "{key}: run {last} was told to have ended, {number} is there");
        assert_eq!(mirror.get(&key).unwrap().unwrap().body, entry.body, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_takes_nothing_back_and_loses_no_work() {
    let Some(members) = Members::start(1).await else { return };
    survives(members, async |members| {
        members.kill(0);
        members.launch(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_after_a_step_down_and_nothing_seen_is_taken_back() {
    let Some(members) = Members::start(3).await else { return };
    survives(members, async |members| {
        members.step_down().await;
    })
    .await;
}
