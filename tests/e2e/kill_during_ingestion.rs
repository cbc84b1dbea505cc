//! kill -9 at random moments while a folder is processed and webhooks come in.
//!
//! On each restart the node opens by itself, has every acknowledged webhook, and goes on; at the end its answers equal
//! those of a node that was never disturbed. `OUTPOST_KILLS` sets how often it is killed, `OUTPOST_SEED` the moments.

use std::collections::BTreeMap;
use std::time::Duration;

use outpost_harness::client;
use reqwest::StatusCode;

use crate::random::{Random, from_environment};
use crate::support::{Setting, answers, wait_until_idle};

const DATASETS: usize = 60;
const SECRET: &str = "s3cret";

fn lay_out(setting: &Setting, round: usize) {
    for index in 0..DATASETS {
        let rows: String = (0..200).map(|row| format!("{row},{},r{round}\n", row * index)).collect();
        setting.write(&format!("org{}/d{index}/train.csv", index % 7), format!("id,product,round\n{rows}"));
        let lines: String = (0..50).map(|row| format!("{{\"id\":{row},\"round\":{round}}}\n")).collect();
        if index % 3 == 0 {
            setting.write(&format!("org{}/j{index}/a.jsonl", index % 7), lines);
        }
    }
}

fn dataset_names() -> Vec<String> {
    let csv = (0..DATASETS).map(|index| format!("org{}/d{index}", index % 7));
    let jsonl = (0..DATASETS).step_by(3).map(|index| format!("org{}/j{index}", index % 7));
    csv.chain(jsonl).collect()
}

#[tokio::test]
async fn thirty_kills_lose_nothing_and_change_nothing() {
    let kills = from_environment("OUTPOST_KILLS", 30);
    let seed = from_environment("OUTPOST_SEED", 7);
    println!("OUTPOST_SEED={seed} OUTPOST_KILLS={kills}");
    let mut random = Random(seed);
    let disturbed = Setting::new();
    let names = dataset_names();
    lay_out(&disturbed, 0);
    for kill in 0..kills {
        let node = disturbed.start(&["--webhook-secret", SECRET]).await;
        let dataset = &names[random.below(names.len() as u64) as usize];
        let revision_before = acknowledged_refresh(&node, dataset, &disturbed, kill as usize).await;
        // Not a wait for anything: the kill comes at a random moment of the work.
        tokio::time::sleep(Duration::from_millis(random.below(120))).await;
        node.kill().unwrap();
        let node = disturbed.start(&["--webhook-secret", SECRET]).await;
        assert_newer(&node, dataset, &revision_before).await;
        node.kill().unwrap();
    }
    let survivor = disturbed.start(&[]).await;
    wait_until_idle(&survivor, names.len() as u64).await;

    let data = tempfile::tempdir().unwrap();
    let calm = crate::support::start(&disturbed.hub(), data.path(), &[]).await;
    wait_until_idle(&calm, names.len() as u64).await;
    for name in &names {
        let expected: BTreeMap<_, _> = answers(&calm, name).await;
        assert!(expected.len() > 2, "{name} has no splits: {expected:?}");
        assert_eq!(answers(&survivor, name).await, expected, "seed {seed}");
    }
}

/// Changes a dataset and reports it by webhook; returns the revision served before, if any.
async fn acknowledged_refresh(
    node: &outpost_harness::NodeProcess,
    dataset: &str,
    setting: &Setting,
    round: usize,
) -> Option<String> {
    let before = revision(node, dataset).await;
    setting.write(
        &format!("{dataset}/extra-train.csv"),
        format!("id,product,round\n{round},{round},k{round}\n"),
    );
    if dataset.contains("/j") {
        std::fs::remove_file(setting.hub().join(dataset).join("extra-train.csv")).unwrap();
        setting.write(&format!("{dataset}/a.jsonl"), format!("{{\"id\":{round},\"round\":-{round}}}\n"));
    }
    let body = serde_json::json!({
        "event": "update", "scope": "repo.content", "repo": {"type": "dataset", "name": dataset, "headSha": "0123"},
    });
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", SECRET);
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    before
}

async fn revision(node: &outpost_harness::NodeProcess, dataset: &str) -> Option<String> {
    let response = crate::support::get(node, &format!("/splits?dataset={dataset}")).await;
    response.headers().get("x-revision").map(|revision| revision.to_str().unwrap().to_owned())
}

/// The webhook was acknowledged before the kill, so the old revision must not be served any more.
async fn assert_newer(node: &outpost_harness::NodeProcess, dataset: &str, before: &Option<String>) {
    let now = revision(node, dataset).await;
    assert!(now.is_none() || now != *before, "{dataset} is back at {before:?} after an acknowledged webhook");
}
