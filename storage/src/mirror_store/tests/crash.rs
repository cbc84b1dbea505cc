//! Real processes killed with SIGKILL: what was reported as durable is there, whole, and at one position.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "OUTPOST_MIRROR_CRASH_DIRECTORY";
const ROUNDS: u64 = 8;
const KEYS: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn durable_positions_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    let mut durable = 0;
    for round in 0..ROUNDS {
        let lines = random.usize(1..150);
        let path = directory.path().to_owned();
        let reported = tokio::task::spawn_blocking(move || run_and_kill(&path, lines)).await.unwrap();
        assert!(reported > durable, "round {round}: {reported} after {durable}");
        durable = reported;
        let store = open(directory.path());
        let at = store.position().seq;
        assert!(at >= durable, "round {round}: {at} after {durable} was reported");
        check(&store, at);
        durable = at;
    }
}

/// Each seq writes one key, so the seq says what every key holds.
fn written(seq: u64) -> Entry {
    let key = rows_of("u/d", &format!("s{}", seq % KEYS));
    entry(&key, seq, noise((seq % 7 * 3_000) as usize, seq))
}

fn check(store: &MirrorStore, at: u64) {
    assert_eq!(store.cursor().unwrap(), Some(at.to_be_bytes().to_vec().into()));
    let mut hash = SetHash::default();
    let first = at.saturating_sub(KEYS - 1).max(1);
    for seq in first..=at {
        let expected = written(seq);
        assert!(body_of(store, &expected.key).unwrap() == expected.body, "seq {seq} at {at}");
        let subject = Changed::Entry(expected.key.clone());
        hash.add(&Item::new(&subject, expected.updated_at, &expected.version()));
    }
    assert_eq!((store.summary().set_hash, store.summary().entries), (hash, at - first + 1));
    assert_eq!(hash_of_contents(store).1, hash);
    let scrubbed = store.scrub().unwrap();
    assert_eq!((scrubbed.records_damaged, scrubbed.blobs_deleted, scrubbed.recounted), (0, 0, false));
}

/// Runs the writer, kills it after `lines` reports, returns the last position that it reported as durable.
fn run_and_kill(directory: &Path, lines: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "mirror_store::tests::crash::writer_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut count, mut last) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        // The last line may be cut by the kill; it was reported only when it is whole.
        let Some(line) = line.ok().and_then(|line| String::from_utf8(line).ok()) else { break };
        let seq = line.strip_prefix("durable ").and_then(|line| line.strip_suffix(" ."));
        if let Some(seq) = seq.and_then(|seq| seq.parse().ok()) {
            last = seq;
            count += 1;
            if count == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    last
}

#[test]
#[ignore = "run by durable_positions_survive_kill_9"]
fn writer_process() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let store = open(Path::new(&directory));
    let watch = store.watch();
    let mut reported = store.position().seq;
    for seq in reported + 1.. {
        let cursor = Some(seq.to_be_bytes().to_vec().into());
        store
            .apply(MirrorBatch {
                cursor,
                ..batch(vec![put(seq, &written(seq), Some(&format!("{}", seq % KEYS)))])
            })
            .unwrap();
        let durable = *watch.borrow();
        if durable > reported {
            reported = durable;
            std::io::stdout().lock().write_all(format!("durable {durable} .\n").as_bytes()).unwrap();
        }
    }
}
