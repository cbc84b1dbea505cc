//! A primary without workers, and workers as processes of their own, over one MongoDB.

use std::path::Path;
use std::time::Duration;

use outpost_harness::hub_stub::HubStub;
use outpost_harness::node_process::command;
use outpost_harness::{NodeProcess, client, wait_until};
use outpost_storage::testing::mongod::{self, Databases, Mongod};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{BOUND, Setting, get, get_json};

const SECRET: &str = "s3cret";
const TOKEN: &str = "the-operators-token";

/// What the processes of one test share.
struct Cluster {
    setting: Setting,
    hub: HubStub,
    server: &'static Mongod,
    databases: Databases,
}

impl Cluster {
    /// `None` when no MongoDB can be had and the test may be skipped.
    async fn new() -> Option<Self> {
        let server = mongod::shared().await?;
        let setting = Setting::new();
        setting.write("org/d/train.csv", "id,name\n1,first\n2,second\n");
        let hub = HubStub::start(&setting.hub()).unwrap();
        Some(Self { setting, hub, server, databases: Databases::random() })
    }

    async fn start(&self, options: &[&str]) -> NodeProcess {
        let assets = self.setting.data().join("assets");
        let endpoint = self.hub.endpoint();
        let shared = ["--hub", &endpoint, "--store", self.server.url(), "--assets", assets.to_str().unwrap()];
        let databases = [
            ("CACHE_MONGO_DATABASE", self.databases.cache.as_str()),
            ("QUEUE_MONGO_DATABASE", self.databases.queue.as_str()),
        ];
        let arguments = [&shared, options].concat();
        NodeProcess::start_with(binary(), &arguments, &databases).await.unwrap()
    }

    async fn primary(&self, name: &str) -> NodeProcess {
        let data = self.setting.data().join(name);
        let options = [
            "--data-dir",
            data.to_str().unwrap(),
            "--workers",
            "0",
            "--webhook-secret",
            SECRET,
            "--admin-token",
            TOKEN,
        ];
        self.start(&options).await
    }

    async fn worker(&self, options: &[&str]) -> NodeProcess {
        self.start(&[&["--role", "worker"], options].concat()).await
    }

    async fn end(self) {
        self.databases.drop_both(&self.server.client().await).await;
    }
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_node"))
}

async fn webhook(node: &NodeProcess, event: &str) {
    let body = json!({"event": event, "scope": "repo.content", "repo": {"type": "dataset", "name": "org/d"}});
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", SECRET);
    assert_eq!(request.body(body.to_string()).send().await.unwrap().status(), StatusCode::OK);
}

async fn status(node: &NodeProcess) -> Value {
    let request = client().get(format!("{}/admin/status", node.base_url())).bearer_auth(TOKEN);
    request.send().await.unwrap().json().await.unwrap()
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
    let Some(cluster) = Cluster::new().await else { return };
    let primary = cluster.primary("one").await;
    let datasets = cluster.worker(&["--queue", "datasets"]).await;
    let splits = cluster.worker(&["--queue", "splits", "--workers", "2"]).await;
    webhook(&primary, "add").await;
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
    webhook(&other, "update").await;
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
async fn the_client_commands_work_over_a_database() {
    let Some(cluster) = Cluster::new().await else { return };
    let primary = cluster.primary("one").await;
    webhook(&primary, "add").await;
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
