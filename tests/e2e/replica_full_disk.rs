//! A replica whose disk is full: it reads on, refuses what it cannot keep, and goes on by itself once there is room.

use outpost_harness::{NodeProcess, SmallDisk, client, wait_until};
use reqwest::StatusCode;
use serde_json::json;

use crate::replica::{LISTEN, position, replica, sync_address, wait_for_position};
use crate::replica_faults::free_port;
use crate::support::{BOUND, Setting, answers, get, wait_until_idle};

const ROWS: &str = "/first-rows?dataset=org/first&config=default&split=train";

/// A webhook that takes more than what is left of pages that were written before.
async fn large_webhook(node: &NodeProcess) -> StatusCode {
    let body = json!({
        "event": "update", "scope": "repo.content", "repo": {"type": "dataset", "name": "org/first"},
        "padding": std::iter::repeat_with(fastrand::alphanumeric).take(500_000).collect::<String>(),
    });
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", "secret");
    request.body(body.to_string()).send().await.unwrap().status()
}

#[tokio::test]
async fn a_replica_on_a_full_disk_reads_on_and_goes_on_by_itself_when_there_is_room() {
    let Some(disk) = SmallDisk::new(96).unwrap() else { return };
    let setting = Setting::new();
    setting.write("org/first/train.csv", "text\nversion 0\n");
    setting.write("org/second/data.jsonl", "{\"a\": 1}\n");
    let primary = setting.start(&[&LISTEN[..], &["--webhook-secret", "secret"]].concat()).await;
    wait_until_idle(&primary, 2).await;
    let (listen, data) = (free_port().to_string(), disk.path().join("replica"));
    let options = ["--listen", &listen, "--webhook-secret", "secret"];
    let edge = replica(&data, &sync_address(&primary).await, &options).await;
    let said = |words: &str| edge.log_lines().iter().filter(|line| line.contains(words)).count();
    wait_for_position(&edge, &position(&primary).await).await;

    disk.fill(0).unwrap();
    setting.write("org/first/train.csv", "text\nversion 1\n");
    wait_until("the primary to show the change", BOUND, || async {
        get(&primary, ROWS).await.text().await.unwrap().contains("version 1").then_some(())
    })
    .await;
    assert_eq!(large_webhook(&edge).await, StatusCode::SERVICE_UNAVAILABLE);
    wait_until("the failure to be told", BOUND, || async {
        (said("takes no more writes") > 0).then_some(())
    })
    .await;
    // Not one read fails; what changes stands where it stood, perhaps between two versions.
    for _ in 0..100 {
        assert_eq!(answers(&edge, "org/second").await, answers(&primary, "org/second").await);
    }
    assert_eq!(said("starting anew"), 0);

    disk.relieve().unwrap();
    wait_until("the replica to go on", BOUND, || async {
        // For a moment nobody listens.
        let response = reqwest::get(format!("http://{listen}{ROWS}")).await.ok()?;
        let is_there = response.text().await.ok()?.contains("version 1");
        (is_there && said("starting anew") == 1).then_some(())
    })
    .await;
    assert_eq!(large_webhook(&edge).await, StatusCode::OK);
    wait_for_position(&edge, &position(&primary).await).await;
    assert_eq!(answers(&edge, "org/first").await, answers(&primary, "org/first").await);
}
