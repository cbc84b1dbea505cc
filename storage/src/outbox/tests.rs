//! What the outbox promises to whoever hands it a webhook and to whoever relays it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;
use crate::contract::dataset;

const DIRECTORY: &str = "OUTPOST_OUTBOX_CRASH_DIRECTORY";

fn open(directory: &Path) -> Outbox {
    Outbox::open(directory).unwrap()
}

fn body(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect::<Vec<u8>>().into()
}

async fn push(outbox: &Outbox, name: &str, body: Bytes) -> Result<OutboxItem, OutboxError> {
    let at = TimestampMs(*outbox.watch().borrow() + 100);
    outbox.push(&[dataset(name)], body, at).await
}

#[tokio::test]
async fn webhooks_read_back_in_the_order_of_arrival_until_they_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = open(directory.path());
    let mut watch = outbox.watch();
    let mut pushed = Vec::new();
    for (number, length) in [0, 10, 900, 5_000, 300_000].into_iter().enumerate() {
        pushed.push(push(&outbox, &format!("u/d{number}"), body(length, number as u64)).await.unwrap());
    }
    let renamed = [dataset("u/old"), dataset("u/new")];
    pushed.push(outbox.push(&renamed, "{}".into(), TimestampMs(7)).await.unwrap());
    let ids: HashSet<WebhookId> = pushed.iter().map(|item| item.id).collect();
    assert_eq!(ids.len(), pushed.len());
    assert_eq!(*watch.borrow_and_update(), pushed[5].number);
    for _ in 0..2 {
        assert_eq!(outbox.oldest(None, 100).unwrap(), pushed);
        assert_eq!(outbox.oldest(Some(pushed[1].number), 2).unwrap(), pushed[2..4]);
        assert_eq!(outbox.oldest(Some(u64::MAX), 2).unwrap(), []);
        let stats = outbox.stats();
        assert_eq!((stats.entries, stats.bytes, stats.damaged), (6, 305_912, 0));
        assert_eq!(stats.oldest_received_at, Some(pushed[0].received_at));
        drop(outbox);
        outbox = open(directory.path());
    }
    for item in &pushed[..5] {
        outbox.remove(item.number).unwrap();
        outbox.remove(item.number).unwrap();
    }
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.oldest(None, 9).unwrap(), pushed[5..]);
    assert_eq!(outbox.inner.kv.chunks.from(&[]).count(), 0);
    let next = push(&outbox, "u/d", Bytes::new()).await.unwrap();
    assert!(next.number > pushed[5].number, "numbers never come again");
}

#[tokio::test]
async fn a_full_outbox_refuses_until_something_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let bounds = OutboxBounds { entries_max: 3, bytes_max: 1_000 };
    let outbox = Outbox::open_within(directory.path(), bounds).unwrap();
    let first = push(&outbox, "u/d", body(900, 1)).await.unwrap();
    let full = push(&outbox, "u/d", body(101, 2)).await;
    assert_eq!(full, Err(OutboxError::Full { entries: 1, bytes: 900 }));
    push(&outbox, "u/d", body(100, 3)).await.unwrap();
    push(&outbox, "u/d", Bytes::new()).await.unwrap();
    assert!(matches!(push(&outbox, "u/d", Bytes::new()).await, Err(OutboxError::Full { entries: 3, .. })));
    outbox.remove(first.number).unwrap();
    push(&outbox, "u/d", body(900, 4)).await.unwrap();
    assert_eq!(outbox.stats().entries, 3);
}

#[tokio::test]
async fn a_webhook_about_nothing_or_too_much_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = open(directory.path());
    for names in [vec![], vec![dataset("u/a"), dataset("u/b"), dataset("u/c")]] {
        assert!(outbox.push(&names, Bytes::new(), TimestampMs(1)).await.is_err());
    }
    assert_eq!(outbox.stats(), OutboxStats::default());
}

/// Changes one stored value behind the outbox's back.
fn tamper(directory: &Path, in_chunks: bool, number: u64) {
    let (kv, _) = kv::open(directory, 10_000, 1 << 20).unwrap();
    let (tree, key) =
        if in_chunks { (&kv.chunks, blob::chunk_key(number, 0)) } else { (&kv.state, records::key(number)) };
    let mut value = tree.get(&key).unwrap().unwrap().to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    tree.put(&key, value).unwrap();
    kv.flush().unwrap();
}

#[tokio::test]
async fn damaged_webhooks_are_put_aside_and_the_rest_drains() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = open(directory.path());
    let mut pushed = Vec::new();
    for number in 0..4 {
        pushed.push(push(&outbox, "u/d", body(9_000, number)).await.unwrap());
    }
    drop(outbox);
    tamper(directory.path(), false, pushed[0].number);
    tamper(directory.path(), true, pushed[2].number);
    let outbox = open(directory.path());
    assert_eq!(outbox.oldest(None, 9).unwrap(), [pushed[1].clone(), pushed[3].clone()]);
    assert_eq!((outbox.stats().entries, outbox.stats().damaged, outbox.stats().bytes), (2, 2, 18_000));
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!((outbox.stats().entries, outbox.stats().damaged), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_returned_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut acknowledged = HashSet::new();
    for round in 0..6 {
        let (path, lines) = (directory.path().to_owned(), random.usize(1..200));
        let reported = tokio::task::spawn_blocking(move || run_and_kill(&path, lines)).await.unwrap();
        assert!(reported.len() >= lines, "round {round}");
        acknowledged.extend(reported);
        let outbox = open(directory.path());
        let mut found = HashSet::new();
        for item in outbox.oldest(None, usize::MAX).unwrap() {
            let seed = item.received_at.0;
            assert_eq!(item.body, body((seed % 9_000) as usize, seed), "round {round}");
            found.insert(item.id.to_string());
        }
        assert!(acknowledged.is_subset(&found), "round {round}: some of {} are lost", acknowledged.len());
        assert_eq!(outbox.stats().damaged, 0);
        assert_eq!(outbox.stats().entries, found.len());
    }
}

/// Runs pushing tasks, kills the process after `lines` reports, returns the ids that were acknowledged.
fn run_and_kill(directory: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "outbox::tests::pushing_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ids = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        // The last line may be cut by the kill.
        let Some(line) = line.ok().and_then(|line| String::from_utf8(line).ok()) else { break };
        if let Some(id) = line.strip_prefix("pushed ").and_then(|line| line.strip_suffix(" .")) {
            ids.push(id.to_owned());
            if ids.len() == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    ids
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by what_a_push_returned_survives_kill_9"]
async fn pushing_process() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let outbox = open(Path::new(&directory));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let outbox = outbox.clone();
        tasks.spawn(async move {
            for seed in (task..).step_by(8) {
                let body = body((seed % 9_000) as usize, seed);
                let item = outbox.push(&[dataset("u/d")], body, TimestampMs(seed)).await.unwrap();
                std::io::stdout().lock().write_all(format!("pushed {} .\n", item.id).as_bytes()).unwrap();
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
