//! Measures claim + finish per second through one mongod: `mongo_queue [jobs] [claimers] [datasets per namespace]`.
//!
//! Publishes datasets, then lets claimers, each with a store and connections of its own as a worker process has, run
//! every job with a small result until the jobs asked for are done. Only that second part is timed. The server is
//! `TEST_MONGODB_URL`, else a mongod that is started for it. What a job costs both sides in processor time is printed too,
//! since other work on the machine changes that much less than the rate.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a failed call ends the measurement")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use outpost_model::planning::Event;
use outpost_model::{DatasetName, Entry, Priority, Queue, Revision, StepKind, TimestampMs, Visibility};
use outpost_storage::testing::mongod::{self, Databases};
use outpost_storage::testing::mongodb::Client;
use outpost_storage::testing::mongodb::bson::doc;
use outpost_storage::{Authority, Claim, Completion, MongoConfig, MongoStore};

/// Steps of a dataset with one config and one split.
const JOBS_PER_DATASET: usize = 7;
/// Datasets per namespace, unless told.
const DATASETS_PER_NAMESPACE: usize = 10;
/// Of /proc, whatever the kernel is built with.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let jobs = arguments.next().unwrap_or(10_000);
    let claimers = arguments.next().unwrap_or(8);
    let per_namespace = arguments.next().unwrap_or(DATASETS_PER_NAMESPACE);
    let server = mongod::shared().await.expect("a mongod");
    let databases = Databases::random();
    let config = MongoConfig {
        url: server.url().to_owned(),
        cache_database: databases.cache.clone(),
        queue_database: databases.queue.clone(),
    };
    let store = MongoStore::open(&config).await.unwrap();
    publish(&store, jobs.div_ceil(JOBS_PER_DATASET), per_namespace).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut stores = Vec::new();
    for _ in 0..claimers {
        stores.push(MongoStore::open(&config).await.unwrap());
    }
    let client = server.client().await;
    let before = processor_time(&client).await;
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
    let after = processor_time(&client).await;
    let done = done.load(Ordering::Relaxed);
    report(done, claimers, elapsed, claiming, finishing);
    report_processor(done, (after.0 - before.0, after.1 - before.1));
    drop(store);
    databases.drop_both(&client).await;
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    TimestampMs(u64::try_from(since.as_millis()).unwrap())
}

/// Processor time so far, in seconds: of this process and of a server on this machine.
async fn processor_time(client: &Client) -> (f64, f64) {
    let status = client.database("admin").run_command(doc! {"serverStatus": 1}).await.unwrap();
    let server = status.get_i64("pid").unwrap_or(0);
    (seconds_of("self"), seconds_of(&server.to_string()))
}

fn seconds_of(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

async fn publish(store: &MongoStore, datasets: usize, per_namespace: usize) {
    let revision = Revision::new("r1").unwrap();
    let event = Event::Revision {
        revision,
        visibility: Visibility::Public,
        priority: Priority::Normal,
        force: false,
    };
    for number in 0..datasets {
        let name = format!("n{}/d{number}", number / per_namespace);
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

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report_processor(done: usize, (clients, server): (f64, f64)) {
    let per_job_ms = |seconds: f64| seconds * 1_000.0 / done as f64;
    println!(
        "processor time per job: server {:.2} ms, clients {:.2} ms; two processors are busy with {:.0} jobs per second",
        per_job_ms(server),
        per_job_ms(clients),
        2_000.0 / (per_job_ms(server) + per_job_ms(clients))
    );
}
