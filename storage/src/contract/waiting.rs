//! Waiting for work. These cases use the real time, because waiting does.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outpost_model::job::backoff_ms;
use outpost_model::{Priority, Queue, TimestampMs};

use super::{Calls, Subject, at_revision, dataset, usual_result};
use crate::authority::{Authority, ReleaseReason};

/// How long a wake-up may take before a case gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    TimestampMs(u64::try_from(since.as_millis()).unwrap())
}

/// Claims and waits until there is a job, as a worker does.
async fn next_job(authority: &Arc<dyn Authority>, queues: &[Queue]) -> crate::authority::Claim {
    let wait = async {
        loop {
            if let Some(claim) = authority.claim(queues, now()).await.unwrap() {
                return claim;
            }
            authority.wait_for_work(queues).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the worker wakes up")
}

async fn submit(authority: &Arc<dyn Authority>, name: &str) {
    authority.submit(&dataset(name), &at_revision("r1", Priority::Normal), now()).await.unwrap();
}

fn worker(
    authority: &Arc<dyn Authority>,
    queues: &'static [Queue],
) -> tokio::task::JoinHandle<crate::authority::Claim> {
    let authority = authority.clone();
    tokio::spawn(async move { next_job(&authority, queues).await })
}

pub async fn a_worker_wakes_when_a_job_is_created(subject: &mut dyn Subject) {
    let authority = subject.authority();
    assert_eq!(authority.claim(&Queue::ALL, now()).await.unwrap(), None);
    let waiting = worker(&authority, &Queue::ALL);
    tokio::task::yield_now().await;
    submit(&authority, "u/d").await;
    assert_eq!(*waiting.await.unwrap().job.key.dataset(), dataset("u/d"));
}

pub async fn a_ready_job_ends_the_wait_at_once(subject: &mut dyn Subject) {
    let authority = subject.authority();
    assert_eq!(authority.claim(&Queue::ALL, now()).await.unwrap(), None);
    submit(&authority, "u/d").await;
    // The job came between the claim and the wait.
    tokio::time::timeout(PATIENCE, authority.wait_for_work(&[Queue::Datasets])).await.unwrap();
    assert!(authority.claim(&[Queue::Datasets], now()).await.unwrap().is_some());
}

pub async fn a_worker_wakes_when_a_back_off_ends(subject: &mut dyn Subject) {
    let authority = subject.authority();
    submit(&authority, "u/d").await;
    let claim = next_job(&authority, &Queue::ALL).await;
    let released_at = now();
    authority.release(&claim.lease, ReleaseReason::Failed, released_at).await.unwrap();
    let again = next_job(&authority, &Queue::ALL).await;
    assert_eq!(again.job.attempts, 1);
    assert!(now() >= released_at.plus_ms(backoff_ms(1)));
}

pub async fn a_worker_wakes_when_a_child_is_created(subject: &mut dyn Subject) {
    let authority = subject.authority();
    submit(&authority, "u/d").await;
    let waiting = worker(&authority, &[Queue::Splits]);
    // The root and its three children, one of which lists the splits.
    for _ in 0..4 {
        let claim = next_job(&authority, &[Queue::Datasets]).await;
        authority.store_at(&claim, usual_result(&claim), now()).await.unwrap();
    }
    assert_eq!(waiting.await.unwrap().job.key.kind().queue(), Queue::Splits);
}

pub async fn no_wake_up_is_missed(subject: &mut dyn Subject) {
    const JOBS: usize = 200;
    let authority = subject.authority();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move {
                // Each worker takes its share, so that none can leave a wake-up to the others.
                for _ in 0..JOBS / 4 {
                    next_job(&authority, &Queue::ALL).await;
                }
            })
        })
        .collect();
    for number in 0..JOBS {
        submit(&authority, &format!("u{number}/d")).await;
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(authority.claim(&Queue::ALL, now()).await.unwrap(), None);
}
