//! A primary without workers, and workers as processes of their own, over one MongoDB.

use std::time::{Duration, Instant};

use outpost_harness::node_process::command;
use outpost_harness::{NodeProcess, wait_until};
use outpost_storage::testing::mongod;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::cluster::{Cluster, TOKEN, binary, status, webhook};
use crate::support::{BOUND, Setting, get, get_json};

const DATASET: &str = "org/d";

async fn cluster() -> Option<Cluster> {
    Cluster::new(setting()).await
}

fn setting() -> Setting {
    let setting = Setting::new();
    setting.write("org/d/train.csv", "id,name\n1,first\n2,second\n");
    setting
}

async fn wait_for_name(node: &NodeProcess, name: &str) {
    wait_until("the rows to be served", BOUND, || async {
        let (status, _, body) = get_json(node, "/rows?dataset=org/d&config=default&split=train").await;
        (status == StatusCode::OK && body["rows"][0]["row"]["name"] == name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_webhook_becomes_rows_through_workers_of_their_own() {
    let Some(cluster) = cluster().await else { return };
    let primary = cluster.primary("one").await;
    let datasets = cluster.worker(&["--queue", "datasets"]).await;
    let splits = cluster.worker(&["--queue", "splits", "--workers", "2"]).await;
    webhook(&primary, "add", DATASET).await.unwrap();
    wait_for_name(&primary, "first").await;

    let seen = wait_until("both workers to be registered", BOUND, || async {
        let status = status(&primary).await;
        let workers = status["workers"].as_array().unwrap().clone();
        (workers.len() == 2).then_some(workers)
    })
    .await;
    let queues: Vec<&Value> = seen.iter().map(|worker| &worker["queues"]).collect();
    assert!(queues.contains(&&json!(["datasets"])) && queues.contains(&&json!(["splits"])), "{queues:?}");

    // A second primary on the same database serves the same, from a mirror of its own.
    let other = cluster.primary("two").await;
    wait_for_name(&other, "first").await;
    cluster.setting.write("org/d/train.csv", "id,name\n1,changed\n");
    webhook(&other, "update", DATASET).await.unwrap();
    wait_for_name(&primary, "changed").await;
    wait_for_name(&other, "changed").await;

    assert_eq!(get(&splits, "/healthcheck").await.text().await.unwrap(), "ok");
    let metrics = get(&splits, "/metrics").await.text().await.unwrap();
    assert!(
        metrics
            .contains(r#"outpost_job_seconds_count{error_code="None",kind="split-first-rows",outcome="ok"}"#),
        "{metrics}"
    );

    for worker in [datasets, splits] {
        assert!(worker.terminate(Duration::from_secs(35)).await.unwrap().success());
    }
    assert_eq!(status(&primary).await["workers"], json!([]));
    for primary in [primary, other] {
        assert!(primary.terminate(BOUND).await.unwrap().success());
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_primary_answers_readers_and_scrapes_while_its_database_is_away() {
    let Some(server) = mongod::own(mongod::Kind::ReplicaSet).await else { return };
    let cluster = Cluster::on(&server, setting());
    let (primary, worker) = (cluster.primary("one").await, cluster.worker(&[]).await);
    webhook(&primary, "add", DATASET).await.unwrap();
    wait_for_name(&primary, "first").await;
    drop((worker, server));
    for path in ["/rows?dataset=org/d&config=default&split=train", "/ready", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(get(&primary, path).await.status(), StatusCode::OK, "{path}");
        assert!(asked.elapsed() < Duration::from_secs(8), "{path} took {:?}", asked.elapsed());
    }
    // What cannot be counted is not zero.
    let metrics = get(&primary, "/metrics").await.text().await.unwrap();
    for series in ["queue_jobs_total", "responses_in_cache_total", "outpost_datasets"] {
        assert!(!metrics.contains(series), "{metrics}");
    }
    let asked = Instant::now();
    let output = command(binary())
        .args(["status", "--node", primary.base_url(), "--admin-token", TOKEN])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("The database mongodb://127.0.0.1"), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn the_client_commands_work_over_a_database() {
    let Some(cluster) = cluster().await else { return };
    let primary = cluster.primary("one").await;
    webhook(&primary, "add", DATASET).await.unwrap();
    let run = |arguments: &[&str]| {
        let node = ["--node", primary.base_url(), "--admin-token", TOKEN];
        let output = command(binary())
            .args([arguments, &node].concat())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let page = run(&["status"]);
    assert!(page.contains("dataset-config-names") && page.contains("none: start one"), "{page}");
    assert_eq!(run(&["cancel", "org/d"]), "org/d: 1 job cancelled\n");
    assert_eq!(run(&["backfill", "org/d"]), "org/d: 1 job queued\n");
    assert_eq!(run(&["refresh", "org/d"]), "org/d is computed again, 1 job queued\n");
    let worker = cluster.worker(&[]).await;
    wait_for_name(&primary, "first").await;
    drop((primary, worker));
    cluster.end().await;
}
