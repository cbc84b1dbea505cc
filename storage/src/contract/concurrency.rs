//! Many callers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use outpost_model::planning::Event;
use outpost_model::{ArtifactKey, Entry, ErrorCode, Queue, TimestampMs, limits};

use super::{Calls, Subject, T0, dataset, failure, root, success, usual_result};
use crate::authority::{Authority, ReleaseReason};
use crate::error::StorageError;
use crate::mirror::MirrorEntry;

const DATASETS: usize = 30;
const STEPS: usize = 7;

async fn publish_all(authority: &Arc<dyn Authority>) {
    let submitting: Vec<_> = (0..DATASETS)
        .map(|number| {
            let authority = authority.clone();
            tokio::spawn(async move { authority.publish(&format!("u{}/d{number}", number % 3), "r1").await })
        })
        .collect();
    for task in submitting {
        task.await.unwrap();
    }
}

async fn assert_everything_is_computed(authority: &Arc<dyn Authority>) {
    let backfill = Event::Backfill { retry_errors: true };
    for number in 0..DATASETS {
        let name = format!("u{}/d{number}", number % 3);
        let state = authority.state_of(&name).await;
        assert_eq!(state.entries.len(), STEPS, "{name}");
        assert!(state.jobs.is_empty(), "{name}");
        let submitted = authority.submit(&dataset(&name), &backfill, T0).await.unwrap();
        assert_eq!(submitted.jobs_created, 0, "{name}");
    }
}

/// What runs now, and how often each artifact was stored.
#[derive(Default)]
struct Watched {
    running: BTreeSet<ArtifactKey>,
    stored: BTreeMap<ArtifactKey, u32>,
}

pub async fn many_workers_do_each_job_once(subject: &mut dyn Subject) {
    let authority = subject.authority();
    publish_all(&authority).await;
    let watched = Arc::new(Mutex::new(Watched::default()));
    let requeued = Arc::new(Mutex::new(0u32));
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (authority, watched, requeued) = (authority.clone(), watched.clone(), requeued.clone());
            tokio::spawn(async move {
                while !is_idle(&authority).await {
                    let Some(claim) = authority.claim_at(T0).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let key = claim.job.key.clone();
                    assert!(watched.lock().unwrap().running.insert(key.clone()), "{key} runs twice at once");
                    tokio::task::yield_now().await;
                    let entry = usual_result(&claim);
                    watched.lock().unwrap().running.remove(&key);
                    let finished = authority.store(&claim, entry).await;
                    *requeued.lock().unwrap() += u32::from(finished.requeued);
                    *watched.lock().unwrap().stored.entry(key).or_default() += 1;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_everything_is_computed(&authority).await;
    let watched = watched.lock().unwrap();
    // Steps with one parent are triggered once; only those that gather from several parents run again.
    for (key, runs) in &watched.stored {
        if key.kind().spec().parents.len() < 2 {
            assert_eq!(*runs, 1, "{key}");
        }
    }
}

async fn is_idle(authority: &Arc<dyn Authority>) -> bool {
    let jobs = authority.stats().await.unwrap().jobs;
    jobs.iter().all(|(_, waiting, started)| waiting + started == 0)
}

pub async fn workers_that_die_lose_nothing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    publish_all(&authority).await;
    let clock = Arc::new(Mutex::new(T0));
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let (authority, clock) = (authority.clone(), clock.clone());
            let mut random = fastrand::Rng::with_seed(number);
            tokio::spawn(async move {
                while !is_idle(&authority).await {
                    let now = tick(&clock, 10);
                    let Some(claim) = authority.claim(&Queue::ALL, now).await.unwrap() else {
                        // Nothing to claim: time passes, dead runs lose their leases, back-offs end.
                        let now = tick(&clock, limits::LEASE_MS);
                        for claim in authority.expire_leases(now).await.unwrap() {
                            finish_if_held(&authority, &claim, now).await;
                        }
                        continue;
                    };
                    match random.u8(..10) {
                        0..2 => {}
                        2 => {
                            let now = tick(&clock, 1);
                            let released = authority.release(&claim.lease, ReleaseReason::Failed, now).await;
                            assert!(matches!(released, Ok(_) | Err(StorageError::LeaseLost(_))));
                        }
                        _ => finish_if_held(&authority, &claim, tick(&clock, 1)).await,
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_everything_is_computed(&authority).await;
}

fn tick(clock: &Mutex<TimestampMs>, by_ms: u64) -> TimestampMs {
    let mut clock = clock.lock().unwrap();
    *clock = clock.plus_ms(by_ms);
    *clock
}

async fn finish_if_held(authority: &Arc<dyn Authority>, claim: &crate::authority::Claim, now: TimestampMs) {
    match authority.store_at(claim, usual_result(claim), now).await {
        Ok(_) | Err(StorageError::LeaseLost(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

pub async fn racing_submissions_create_one_job(subject: &mut dyn Subject) {
    let authority = subject.authority();
    let racing: Vec<_> = (0..32)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move { authority.publish("u/d", "r1").await.jobs_created })
        })
        .collect();
    let mut created = 0;
    for task in racing {
        created += task.await.unwrap();
    }
    assert_eq!(created, 1);
    assert_eq!(authority.state_of("u/d").await.jobs.len(), 1);
}

/// Bodies hardly compress and span many chunks, so that a mixture of two versions would show.
pub async fn readers_see_whole_entries_while_they_are_replaced(subject: &mut dyn Subject) {
    let (authority, mirror) = (subject.authority(), subject.mirror().await);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (mirror, done) = (mirror.clone(), done.clone());
            tokio::task::spawn_blocking(move || {
                let mut seen = BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    if let Some(read) = mirror.get(&root("u/d")).unwrap() {
                        assert_eq!(version_of(&read), read.version);
                        seen.insert(read.version);
                    }
                }
                seen.len()
            })
        })
        .collect();
    authority.publish("u/d", "r1").await;
    for number in 0..200 {
        let claim = authority.claim_now().await;
        let mut random = fastrand::Rng::with_seed(number);
        let size = random.usize(20_000..60_000);
        let note: String = (0..size).map(|_| random.alphanumeric()).collect();
        let entry =
            Entry { body: success(&claim, &[], &note).body, ..failure(&claim, ErrorCode::HfHubError) };
        authority.store(&claim, entry).await;
        authority.publish("u/d", &format!("r{}", number + 2)).await;
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 1, "the reader saw no replacement");
    }
}

/// The version that an entry with the content that was read has.
fn version_of(read: &MirrorEntry) -> [u8; 32] {
    let entry = Entry {
        key: root("u/d"),
        http_status: read.http_status,
        error_code: read.error_code,
        revision: read.revision.clone(),
        body: read.body.clone(),
        details: None,
        names: Vec::new(),
        progress: None,
        job_runner_version: 0,
        failed_runs: 0,
        updated_at: T0,
        duration_ms: 0,
    };
    entry.version()
}
