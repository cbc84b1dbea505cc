//! Real processes killed with SIGKILL: what was acknowledged is there, and no child is lost.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::{ArtifactKey, DatasetName, TimestampMs};

use super::super::EmbeddedStore;
use crate::authority::Authority;
use crate::contract::{Calls, T0, dataset, usual_result};
use crate::mirror::Mirror;

const DIRECTORY: &str = "OUTPOST_CRASH_DIRECTORY";
const ROUND: &str = "OUTPOST_CRASH_ROUND";
const ROUNDS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut random = fastrand::Rng::with_seed(20);
    for round in 0..ROUNDS {
        let lines = random.usize(1..400);
        let path = directory.path().to_owned();
        let output = tokio::task::spawn_blocking(move || run_and_kill(&path, round, lines)).await.unwrap();
        assert!(output.len() >= lines, "the writer ended early in round {round}");
        output.iter().for_each(|line| acknowledged.read(line));
        acknowledged.check(directory.path()).await;
    }
    assert!(acknowledged.versions.len() > 100);
}

/// Runs the writer, kills it after `lines` acknowledgements, returns everything that it acknowledged.
fn run_and_kill(directory: &Path, round: u64, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "embedded::tests::crash::writer_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        // The last line may be cut by the kill; it was acknowledged only when it is whole.
        let Some(line) = line.ok().and_then(|line| String::from_utf8(line).ok()) else { break };
        if let Some(line) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix(" .")) {
            output.push(line.to_owned());
            if output.len() == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    output
}

/// What the killed writers were told.
#[derive(Default)]
struct Acknowledged {
    versions: HashMap<ArtifactKey, String>,
    datasets: Vec<DatasetName>,
    seq: u64,
    epoch: Option<String>,
}

impl Acknowledged {
    fn read(&mut self, line: &str) {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap().to_owned();
        let (what, position, subject) = (next(), next(), next());
        let (epoch, seq) = position.split_once(':').unwrap();
        assert_eq!(self.epoch.get_or_insert_with(|| epoch.to_owned()), epoch);
        self.seq = self.seq.max(seq.parse().unwrap());
        match what.as_str() {
            "submitted" => self.datasets.push(dataset(&subject)),
            _ => {
                let key = ArtifactKey::from_bytes(subject.replace('|', "\0").as_bytes()).unwrap();
                self.versions.insert(key, next());
            }
        }
    }

    async fn check(&self, directory: &Path) {
        let store = EmbeddedStore::open(directory).unwrap();
        let report = store.open_report();
        assert!(report.set_aside.is_none() && !report.history_lost && report.records_damaged == 0);
        let position = Mirror::position(&store);
        assert_eq!(Some(position.epoch.to_string()), self.epoch);
        assert!(position.seq >= self.seq);
        for (key, version) in &self.versions {
            let read = Mirror::get(&store, key).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!(hex(&read.version), *version, "{key}");
        }
        for dataset in &self.datasets {
            assert!(Mirror::dataset(&store, dataset).unwrap().is_some(), "{dataset}");
            let backfill = Event::Backfill { retry_errors: true };
            let submitted = store.submit(dataset, &backfill, T0).await.unwrap();
            assert_eq!(submitted.jobs_created, 0, "a child of {dataset} is lost");
        }
        let scrubbed = store.scrub(T0).await.unwrap();
        assert_eq!((scrubbed.entries_dropped, scrubbed.blobs_deleted), (0, 0), "{scrubbed:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The process that is killed: submits and works, and says what it was told.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs only as the child of acknowledged_writes_survive_kill_9"]
async fn writer_process() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store: Arc<dyn Authority> = Arc::new(EmbeddedStore::open(Path::new(&directory)).unwrap());
    let now = TimestampMs(T0.0 + round);
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let name = format!("u{task}/r{round}n{number}");
                    let submitted = store.publish(&name, "r1").await;
                    say(&format!("submitted {} {name}", submitted.position));
                    work(&store, now).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn work(store: &Arc<dyn Authority>, now: TimestampMs) {
    for _ in 0..7 {
        let Some(claim) = store.claim_at(now).await else { return };
        let mut entry = usual_result(&claim);
        // The same at every run of the key, so that a run that was not acknowledged leaves no other version.
        entry.body = body_of(&claim.job.key);
        let version = entry.version();
        let finished = store.store_at(&claim, entry, now).await.unwrap();
        let key = String::from_utf8(claim.job.key.to_bytes()).unwrap().replace('\0', "|");
        say(&format!("stored {} {key} {}", finished.position, hex(&version)));
    }
}

/// A body of up to 20 kB that does not compress and follows from the key.
fn body_of(key: &ArtifactKey) -> bytes::Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_bytes());
    let mut reader = hasher.finalize_xof();
    let mut length = [0; 2];
    reader.fill(&mut length);
    let mut body = vec![0; usize::from(u16::from_be_bytes(length)) % 20_000];
    reader.fill(&mut body);
    body.into()
}

/// Writes one line at once: what is in the pipe survives the kill.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("ack {line} .\n").as_bytes()).unwrap();
}
