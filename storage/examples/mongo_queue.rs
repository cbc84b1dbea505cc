//! Measures claim + finish per second through one mongod: `mongo_queue [jobs] [claimers]`.
//!
//! Publishes datasets, then lets claimers, each with a store and connections of its own as a worker process has, run
//! every job with a small result until the jobs asked for are done. Only that second part is timed. The server is
//! `TEST_MONGODB_URL`, else a mongod that is started for it.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a failed call ends the measurement")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use outpost_model::planning::Event;
use outpost_model::{DatasetName, Entry, Priority, Queue, Revision, StepKind, TimestampMs, Visibility};
use outpost_storage::testing::mongod::{self, Databases};
use outpost_storage::{Authority, Claim, Completion, MongoConfig, MongoStore};

/// Steps of a dataset with one config and one split.
const JOBS_PER_DATASET: usize = 7;
/// Datasets per namespace.
const DATASETS_PER_NAMESPACE: usize = 10;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let jobs = arguments.next().unwrap_or(10_000);
    let claimers = arguments.next().unwrap_or(8);
    let server = mongod::shared().await.expect("a mongod");
    let databases = Databases::random();
    let config = MongoConfig {
        url: server.url().to_owned(),
        cache_database: databases.cache.clone(),
        queue_database: databases.queue.clone(),
    };
    let store = MongoStore::open(&config).await.unwrap();
    publish(&store, jobs.div_ceil(JOBS_PER_DATASET)).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut stores = Vec::new();
    for _ in 0..claimers {
        stores.push(MongoStore::open(&config).await.unwrap());
    }
    let begun = Instant::now();
    let tasks: Vec<_> =
        stores.into_iter().map(|store| tokio::spawn(run(store, done.clone(), jobs))).collect();
    let (mut claiming, mut finishing) = (Duration::ZERO, Duration::ZERO);
    for task in tasks {
        let (claims, finishes) = task.await.unwrap();
        claiming += claims;
        finishing += finishes;
    }
    let elapsed = begun.elapsed();
    report(done.load(Ordering::Relaxed), claimers, elapsed, claiming, finishing);
    drop(store);
    databases.drop_both(&server.client().await).await;
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    TimestampMs(u64::try_from(since.as_millis()).unwrap())
}

async fn publish(store: &MongoStore, datasets: usize) {
    let revision = Revision::new("r1").unwrap();
    let event = Event::Revision {
        revision,
        visibility: Visibility::Public,
        priority: Priority::Normal,
        force: false,
    };
    for number in 0..datasets {
        let name = format!("n{}/d{number}", number / DATASETS_PER_NAMESPACE);
        store.submit(&DatasetName::new(&name).unwrap(), &event, now()).await.unwrap();
    }
}

/// Runs jobs until enough are done; returns the time spent in claims and in finishes.
async fn run(store: MongoStore, done: Arc<AtomicUsize>, jobs: usize) -> (Duration, Duration) {
    let (mut claiming, mut finishing) = (Duration::ZERO, Duration::ZERO);
    while done.load(Ordering::Relaxed) < jobs {
        let begun = Instant::now();
        let claim = store.claim(&Queue::ALL, now()).await.unwrap();
        claiming += begun.elapsed();
        let Some(claim) = claim else {
            store.wait_for_work(&Queue::ALL).await;
            continue;
        };
        let begun = Instant::now();
        store.finish(&claim.lease, Completion::Store(Box::new(result(&claim))), now()).await.unwrap();
        finishing += begun.elapsed();
        done.fetch_add(1, Ordering::Relaxed);
    }
    (claiming, finishing)
}

fn result(claim: &Claim) -> Entry {
    let dataset = claim.job.key.dataset();
    let (body, names) = match claim.job.key.kind() {
        StepKind::DatasetConfigNames => {
            (format!(r#"{{"config_names":[{{"dataset":"{dataset}","config":"default"}}]}}"#), vec!["default"])
        }
        StepKind::ConfigSplitNames => {
            let split = format!(r#"{{"dataset":"{dataset}","config":"default","split":"train"}}"#);
            (format!(r#"{{"splits":[{split}]}}"#), vec!["train"])
        }
        kind => {
            (format!(r#"{{"dataset":"{dataset}","of":"{kind}","text":"{}"}}"#, "x".repeat(1_000)), Vec::new())
        }
    };
    Entry {
        key: claim.job.key.clone(),
        http_status: 200,
        error_code: None,
        revision: claim.job.revision.clone(),
        body: body.into(),
        details: None,
        names: names.into_iter().map(str::to_owned).collect(),
        progress: Some(1.0),
        job_runner_version: claim.job.key.kind().spec().version,
        failed_runs: 0,
        updated_at: now(),
        duration_ms: 1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(done: usize, claimers: usize, elapsed: Duration, claiming: Duration, finishing: Duration) {
    let per_second = done as f64 / elapsed.as_secs_f64();
    let mean_ms = |total: Duration| total.as_secs_f64() * 1_000.0 / done as f64;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{done} jobs, {claimers} claimers, {:.1} s: {per_second:.0} jobs per second",
        elapsed.as_secs_f64()
    );
    println!("claim {:.2} ms, finish {:.2} ms (mean)", mean_ms(claiming), mean_ms(finishing));
    println!("load average {}", load.trim());
}
