//! kill -9 of workers and of the primary at random moments, over one MongoDB, while webhooks come in.
//!
//! No acknowledged dataset is lost, no job is in the queue twice, no crash becomes an answer, and at the end every answer
//! equals, byte for byte, that of a node that was never disturbed. Jobs of killed workers come back when their lease
//! has run out, so a run takes more than a minute. `OUTPOST_WORKERS`, `OUTPOST_DATASETS`, `OUTPOST_KILLS` and
//! `OUTPOST_KILL_EVERY_MS` set its size, `OUTPOST_SEED` the moments; bench/kill_workers.sh runs the full bar.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_harness::{NodeProcess, wait_until};
use outpost_storage::testing::mongodb::Database;
use outpost_storage::testing::mongodb::bson::{Document, doc};
use outpost_storage::testing::mongodb::options::ReadConcern;
use reqwest::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, webhook};
use crate::random::{Random, from_environment};
use crate::support::{BOUND, Setting, get, start, sum_of};

/// Between two looks for a job that is in the queue twice.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SPLITS: [&str; 2] = ["test", "train"];

struct Size {
    workers: usize,
    datasets: usize,
    kills: usize,
    kill_every: Duration,
    seed: u64,
}

impl Size {
    fn of_environment() -> Self {
        let count = |name, default| from_environment(name, default) as usize;
        Self {
            workers: count("OUTPOST_WORKERS", 3),
            datasets: count("OUTPOST_DATASETS", 60),
            kills: count("OUTPOST_KILLS", 12),
            kill_every: Duration::from_millis(from_environment("OUTPOST_KILL_EVERY_MS", 500)),
            seed: from_environment("OUTPOST_SEED", 7),
        }
    }

    /// Bound of the waits for all of its work.
    fn bound(&self) -> Duration {
        BOUND + Duration::from_millis(300 * self.datasets as u64)
    }

    fn names(&self) -> Vec<String> {
        (0..self.datasets).map(|index| format!("org{}/d{index}", index % 7)).collect()
    }
}

fn lay_out(setting: &Setting, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        for split in SPLITS {
            let line = |row: usize| match index % 3 {
                0 => format!("{{\"id\":{row},\"of\":\"{name}\",\"half\":{}.5}}\n", row * index),
                _ => format!("{row},{name},{}.5\n", row * index),
            };
            let lines: String = (0..40).map(line).collect();
            match index % 3 {
                0 => setting.write(&format!("{name}/{split}.jsonl"), lines),
                _ => setting.write(&format!("{name}/{split}.csv"), format!("id,of,half\n{lines}")),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_workers_and_of_the_primary_lose_nothing_and_change_nothing() {
    let (size, setting) = (Size::of_environment(), Setting::new());
    let names = size.names();
    println!(
        "OUTPOST_SEED={} OUTPOST_WORKERS={} OUTPOST_DATASETS={}",
        size.seed, size.workers, size.datasets
    );
    lay_out(&setting, &names);
    let Some(cluster) = Cluster::new(setting).await else { return };
    let cluster = Arc::new(cluster);
    let client = cluster.client().await;
    let queue = client.database(&cluster.databases.queue);
    let watch = Watch::start(queue.clone());

    let primary = disturb(&cluster, &size, &names).await;
    let drained = Instant::now();
    wait_until("the queue to be empty", size.bound(), || async {
        let left = queue.collection::<Document>("jobsBlue").count_documents(doc! {}).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    println!("the queue was empty {:?} after the last kill", drained.elapsed());
    let seen = watch.end().await;
    println!("{} looks at the queue, crashed runs seen: {}", seen.looks, seen.crashed);
    assert!(seen.looks > 0 && seen.duplicates.is_empty(), "twice in the queue: {:?}", seen.duplicates);

    let entries = client.database(&cluster.databases.cache).collection::<Document>("cachedResponsesBlue");
    let failed = doc! {"$or": [{"http_status": {"$ne": 200}}, {"failed_runs": {"$ne": 0}}]};
    assert_eq!(entries.find_one(failed).await.unwrap(), None, "a crash became an answer");
    assert_equal_to_undisturbed(&cluster, &size, &names, &primary).await;

    drop(primary);
    Arc::into_inner(cluster).unwrap().end().await;
}

/// Brings in the datasets while workers and the primary are killed; returns the last primary. The workers go on until
/// the test ends.
async fn disturb(cluster: &Arc<Cluster>, size: &Size, names: &[String]) -> Running {
    let mut random = Random(size.seed);
    let mut primary = cluster.primary("one").await;
    let mut workers: Vec<Starting> = (0..size.workers).map(|_| start_worker(cluster)).collect();
    let mut ticks = tokio::time::interval(size.kill_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut slices = names.chunks(names.len().div_ceil(size.kills.max(1)));
    for kill in 0..size.kills {
        // Not a wait for anything: the kill comes at some moment of the work.
        ticks.tick().await;
        for name in slices.next().unwrap_or_default() {
            webhook(&primary, "add", name).await.unwrap();
        }
        if [size.kills / 3, 2 * size.kills / 3].contains(&kill) {
            primary.kill().unwrap();
            primary = cluster.primary("one").await;
        }
        let victim = &mut workers[random.below(size.workers as u64) as usize];
        let killed = std::mem::replace(victim, start_worker(cluster));
        killed.await.unwrap().kill().unwrap();
    }
    let mut running = Vec::new();
    for worker in workers {
        running.push(worker.await.unwrap());
    }
    Running { primary, _workers: running }
}

/// What runs after the last kill.
struct Running {
    primary: NodeProcess,
    _workers: Vec<NodeProcess>,
}

/// A worker that may not be up yet.
type Starting = JoinHandle<NodeProcess>;

fn start_worker(cluster: &Arc<Cluster>) -> Starting {
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move { cluster.worker(&[]).await })
}

type Answers = BTreeMap<String, (StatusCode, Option<String>, Vec<u8>)>;

async fn assert_equal_to_undisturbed(cluster: &Cluster, size: &Size, names: &[String], running: &Running) {
    let data = tempfile::tempdir().unwrap();
    let calm = start(&cluster.setting.hub(), data.path(), &[]).await;
    wait_until("the undisturbed run to end", size.bound(), || async {
        let metrics = get(&calm, "/metrics").await.text().await.unwrap();
        let known = sum_of(&metrics, "outpost_datasets") == Some(names.len() as u64);
        (known && sum_of(&metrics, "queue_jobs_total").unwrap_or(0) == 0).then_some(())
    })
    .await;
    for name in names {
        let expected = answers(&calm, name).await;
        let failed = expected.values().find(|(status, ..)| *status != StatusCode::OK);
        assert!(failed.is_none(), "{name} failed without any kill: {failed:?}");
        // The mirror may be some milliseconds behind the database.
        let mut last = answers(&running.primary, name).await;
        let since = Instant::now();
        while last != expected && since.elapsed() < Duration::from_secs(10) {
            last = answers(&running.primary, name).await;
        }
        assert_eq!(last, expected, "{name}, seed {}", size.seed);
    }
}

/// Status, revision and bytes of every answer about a dataset.
async fn answers(node: &NodeProcess, dataset: &str) -> Answers {
    let mut paths = vec![format!("/splits?dataset={dataset}"), format!("/is-valid?dataset={dataset}")];
    for split in SPLITS {
        for endpoint in ["first-rows", "is-valid", "rows"] {
            paths.push(format!("/{endpoint}?dataset={dataset}&config=default&split={split}"));
        }
    }
    paths.push(format!("/splits?dataset={dataset}&config=default"));
    let mut answers = Answers::new();
    for path in paths {
        let response = get(node, &path).await;
        let revision = response.headers().get("x-revision").map(|value| value.to_str().unwrap().to_owned());
        answers.insert(path, (response.status(), revision, response.bytes().await.unwrap().to_vec()));
    }
    answers
}

/// Looks again and again for jobs that are in the queue twice.
struct Watch {
    stop: CancellationToken,
    looking: JoinHandle<Seen>,
}

#[derive(Default)]
struct Seen {
    looks: u64,
    /// Most jobs at a time that had a run taken back.
    crashed: u64,
    duplicates: Vec<Document>,
}

impl Watch {
    fn start(queue: Database) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let looking = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stopped.is_cancelled() {
                seen.look(&queue).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            seen
        });
        Self { stop, looking }
    }

    async fn end(self) -> Seen {
        self.stop.cancel();
        self.looking.await.unwrap()
    }
}

impl Seen {
    /// A job may wait to run again while it runs, so it is counted once for each status.
    async fn look(&mut self, queue: &Database) {
        let group = doc! {"_id": {"job": "$unicity_id", "status": "$status"}, "count": {"$sum": 1}};
        let twice = doc! {"count": {"$gt": 1}};
        let jobs = queue.collection::<Document>("jobsBlue");
        let stages = [doc! {"$group": group}, doc! {"$match": twice}];
        let mut found = jobs.aggregate(stages).read_concern(ReadConcern::snapshot()).await.unwrap();
        while found.advance().await.unwrap() {
            self.duplicates.push(found.deserialize_current().unwrap());
        }
        let crashed = queue.collection::<Document>("outpostAttempts").count_documents(doc! {}).await.unwrap();
        self.crashed = self.crashed.max(crashed);
        self.looks += 1;
    }
}
