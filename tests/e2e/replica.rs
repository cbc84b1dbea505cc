//! A replica behind a primary: it mirrors, serves, survives, and keeps its promises to readers.

use std::time::Duration;

use outpost_harness::{NodeProcess, client, wait_until};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::replica_faults::free_port;
use crate::support::{BOUND, Setting, answers, get, get_json, wait_until_idle};

/// Within this a replica of a replica has what the primary has, on a machine that does other things too.
pub const LAG: Duration = Duration::from_secs(5);
pub const LISTEN: [&str; 2] = ["--sync-listen", "127.0.0.1:0"];

/// The address for other nodes, as the node's log tells it.
pub async fn sync_address(node: &NodeProcess) -> String {
    let address = wait_until("the address for other nodes", BOUND, || async {
        node.log_lines().iter().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event.get("sync_address")?.as_str().map(str::to_owned)
        })
    });
    format!("http://{}", address.await)
}

pub async fn replica(data: &std::path::Path, upstream: &str, options: &[&str]) -> NodeProcess {
    let data = data.to_str().unwrap();
    let mut arguments = vec!["--role", "replica", "--upstream", upstream, "--data-dir", data];
    arguments.extend_from_slice(options);
    NodeProcess::start(std::path::Path::new(env!("CARGO_BIN_EXE_node")), &arguments).await.unwrap()
}

fn setting() -> Setting {
    let setting = Setting::new();
    setting.write("org/first/train.csv", "text,label\nhello,0\nworld,1\n");
    setting.write("org/second/data.jsonl", "{\"a\": 1}\n{\"a\": 2}\n");
    setting
}

/// The position of an answer.
pub async fn position(node: &NodeProcess) -> String {
    let response = get(node, "/healthcheck").await;
    response.headers()["x-sync-position"].to_str().unwrap().to_owned()
}

pub async fn wait_for_position(node: &NodeProcess, wanted: &str) {
    wait_until("the replica to be where the primary is", BOUND, || async {
        (position(node).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_answers_as_its_primary_does_and_goes_on_without_it() {
    let setting = setting();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 2).await;
    let upstream = sync_address(&primary).await;
    let copy = tempfile::tempdir().unwrap();
    let node = replica(copy.path(), &upstream, &[]).await;
    wait_for_position(&node, &position(&primary).await).await;
    for dataset in ["org/first", "org/second"] {
        assert_eq!(answers(&node, dataset).await, answers(&primary, dataset).await);
    }
    let response = get(&node, "/splits?dataset=org/first").await;
    let staleness: u64 = response.headers()["x-sync-staleness"].to_str().unwrap().parse().unwrap();
    assert!(staleness <= 10, "{staleness}");
    assert!(!get(&primary, "/splits?dataset=org/first").await.headers().contains_key("x-sync-staleness"));

    // A new dataset arrives, one that goes away goes.
    setting.write("org/third/data.csv", "a\n1\n");
    std::fs::remove_dir_all(setting.hub().join("org/second")).unwrap();
    wait_until("the change to arrive", BOUND, || async {
        let arrived = get(&node, "/first-rows?dataset=org/third&config=default&split=train").await.status();
        let gone = get(&node, "/splits?dataset=org/second").await.status();
        (arrived == StatusCode::OK && gone == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;

    let before = answers(&node, "org/first").await;
    primary.kill().unwrap();
    assert_eq!(answers(&node, "org/first").await, before);
    let (status, code, _) = get_json(&node, "/splits?dataset=org/unknown").await;
    assert_eq!((status, code.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("UpstreamNotReached")));
    // Killed and started again without an upstream it serves what it has, and says that it is not ready.
    node.kill().unwrap();
    let node = unready_replica(copy.path(), &upstream, &[]).await;
    assert_eq!(answers(&node, "org/first").await, before);
    let response = get(&node, "/splits?dataset=org/first").await;
    assert_eq!(response.headers()["x-sync-staleness"], "unknown");
    assert_eq!(get(&node, "/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&node, "/healthcheck").await.status(), StatusCode::OK);
}

/// A replica that nobody waits for to be ready.
async fn unready_replica(data: &std::path::Path, upstream: &str, options: &[&str]) -> NodeProcess {
    let data = data.to_str().unwrap();
    let arguments = ["--role", "replica", "--upstream", upstream, "--data-dir", data];
    let arguments = [&arguments[..], options].concat();
    NodeProcess::start_unready(std::path::Path::new(env!("CARGO_BIN_EXE_node")), &arguments).await.unwrap()
}

#[tokio::test]
async fn what_a_reader_has_seen_at_the_primary_is_there_at_the_replica() {
    let setting = setting();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 2).await;
    let copy = tempfile::tempdir().unwrap();
    let node = replica(copy.path(), &sync_address(&primary).await, &[]).await;
    for turn in 0..5 {
        let path = format!("/first-rows?dataset=org/d{turn}&config=default&split=train");
        setting.write(&format!("org/d{turn}/data.csv"), format!("a\n{turn}\n"));
        let token = wait_until("the rows at the primary", BOUND, || async {
            let response = get(&primary, &path).await;
            let is_there = response.status() == StatusCode::OK;
            is_there.then(|| response.headers()["x-sync-position"].to_str().unwrap().to_owned())
        })
        .await;
        let request = client().get(format!("{}{path}", node.base_url())).header("x-sync-after", &token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["rows"][0]["row"], json!({"a": turn}));
    }
    let wrong = client().get(format!("{}/splits?dataset=org/first", node.base_url()));
    let wrong = wrong.header("x-sync-after", "yesterday").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // Nobody can answer from a state that does not exist yet.
    let ahead = position(&primary).await;
    let (epoch, seq) = ahead.split_once(':').unwrap();
    let ahead = format!("{epoch}:{}", seq.parse::<u64>().unwrap() + 1_000);
    let request = client().get(format!("{}/splits?dataset=org/first", node.base_url()));
    let response = request.header("x-sync-after", ahead).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["x-error-code"], "StateNotReached");
    assert!(response.headers().contains_key("retry-after"));

    // Of this very moment only the primary can answer.
    let request = client().get(format!("{}/splits?dataset=org/first", node.base_url()));
    let response = request.header("cache-control", "max-age=0").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    primary.kill().unwrap();
    let request = client().get(format!("{}/splits?dataset=org/first", node.base_url()));
    let response = request.header("cache-control", "max-age=0").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_miss_at_a_replica_is_answered_as_at_the_primary() {
    let setting = setting();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 2).await;
    let copy = tempfile::tempdir().unwrap();
    let node = replica(copy.path(), &sync_address(&primary).await, &[]).await;
    for path in [
        "/splits?dataset=org/nobody",
        "/splits?dataset=a/b/c",
        "/splits?dataset=org/first&config=other",
        "/first-rows?dataset=org/first&config=default&split=other",
        "/first-rows?dataset=org/first&config=a%2Fb&split=x",
        "/splits",
    ] {
        assert_eq!(get_json(&node, path).await, get_json(&primary, path).await, "{path}");
    }
}

#[tokio::test]
async fn a_replica_follows_a_replica_and_one_that_follows_itself_is_told() {
    let setting = setting();
    let primary = setting.start(&["--sync-listen", "127.0.0.1:0", "--sync-token", "the-token"]).await;
    wait_until_idle(&primary, 2).await;
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let token = ["--sync-token", "the-token", "--sync-listen", "127.0.0.1:0"];
    let middle = replica(near.path(), &sync_address(&primary).await, &token).await;
    let edge = replica(far.path(), &sync_address(&middle).await, &token).await;
    wait_for_position(&edge, &position(&primary).await).await;
    assert_eq!(answers(&edge, "org/first").await, answers(&primary, "org/first").await);
    let unknown = "/splits?dataset=org/nobody";
    assert_eq!(get_json(&edge, unknown).await, get_json(&primary, unknown).await);

    // Started again at its address, the one in the middle follows the one behind it. Whichever of the two calls when
    // the other already follows it is told; both go on serving.
    let (upstream, address) = (sync_address(&edge).await, sync_address(&middle).await);
    middle.kill().unwrap();
    let options = ["--sync-token", "the-token", "--sync-listen", address.strip_prefix("http://").unwrap()];
    let looped = unready_replica(near.path(), &upstream, &options).await;
    wait_until("one of them to be told", BOUND, || async {
        let is_told = |node| was_told(node, "this node follows the caller, directly or through others");
        (is_told(&looped) || is_told(&edge)).then_some(())
    })
    .await;
    for node in [&looped, &edge] {
        assert_eq!(answers(node, "org/first").await, answers(&primary, "org/first").await);
    }

    let own = free_port().to_string();
    let alone = tempfile::tempdir().unwrap();
    let options = ["--sync-token", "the-token", "--sync-listen", &own];
    let alone = unready_replica(alone.path(), &format!("http://{own}"), &options).await;
    wait_until("the one that follows itself to be told", BOUND, || async {
        was_told(&alone, "this node was told to follow itself; give it another --upstream").then_some(())
    })
    .await;
}

/// Whether a session of the node was refused as a loop, in these words.
fn was_told(node: &NodeProcess, words: &str) -> bool {
    node.log_lines().iter().any(|line| line.contains("(SyncLoop)") && line.contains(words))
}

#[tokio::test]
async fn kills_in_the_middle_of_changes_leave_nodes_that_agree() {
    let setting = setting();
    let primary = setting.start(&LISTEN).await;
    let upstream = sync_address(&primary).await;
    let copy = tempfile::tempdir().unwrap();
    for turn in 0..6 {
        setting.write(&format!("many/d{turn}/data.csv"), format!("a\n{turn}\n"));
        let node = unready_replica(copy.path(), &upstream, &[]).await;
        tokio::time::timeout(Duration::from_millis(150 * turn), get(&node, "/healthcheck")).await.ok();
        node.kill().unwrap();
    }
    wait_until_idle(&primary, 8).await;
    let node = replica(copy.path(), &upstream, &[]).await;
    wait_for_position(&node, &position(&primary).await).await;
    for turn in 0..6 {
        let dataset = format!("many/d{turn}");
        assert_eq!(answers(&node, &dataset).await, answers(&primary, &dataset).await);
    }
}

#[tokio::test]
async fn the_directory_of_a_primary_is_no_replicas() {
    let setting = setting();
    setting.start(&LISTEN).await.kill().unwrap();
    let data = setting.data();
    let arguments =
        ["--role", "replica", "--upstream", "http://127.0.0.1:9", "--data-dir", data.to_str().unwrap()];
    let refused = NodeProcess::start(std::path::Path::new(env!("CARGO_BIN_EXE_node")), &arguments).await;
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("belongs to a primary"), "{message}");
}

#[tokio::test]
async fn a_webhook_at_a_replica_outlives_kills_of_both_and_reaches_the_primary_once() {
    let setting = setting();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 2).await;
    let upstream = sync_address(&primary).await;
    let copy = tempfile::tempdir().unwrap();
    let secret = ["--webhook-secret", "the-secret"];
    let node = replica(copy.path(), &upstream, &secret).await;
    let webhook = |node: &NodeProcess, secret: &'static str| {
        let body =
            r#"{"event":"update","scope":"repo.content","repo":{"type":"dataset","name":"org/first"}}"#;
        client()
            .post(format!("{}/webhook", node.base_url()))
            .header("x-webhook-secret", secret)
            .body(body)
            .send()
    };
    assert_eq!(webhook(&node, "wrong").await.unwrap().status(), StatusCode::BAD_REQUEST);
    primary.kill().unwrap();
    assert_eq!(webhook(&node, "the-secret").await.unwrap().status(), StatusCode::OK);
    node.kill().unwrap();

    let node = unready_replica(copy.path(), &upstream, &secret).await;
    let metrics = || async { get(&node, "/metrics").await.text().await.unwrap() };
    assert!(metrics().await.contains("outpost_outbox_entries 1"), "{}", metrics().await);
    let address = upstream.strip_prefix("http://").unwrap();
    let _primary = setting.start(&["--sync-listen", address]).await;
    wait_until("the webhook to be taken", BOUND, || async {
        let text = metrics().await;
        let is_taken = text.contains("outpost_replica{figure=\"webhooks_taken\"} 1");
        (is_taken && text.contains("outpost_outbox_entries 0")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn images_are_served_by_a_replica_and_by_one_behind_it_and_stay_without_the_primary() {
    let setting = photographs();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 1).await;
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let middle = replica(near.path(), &sync_address(&primary).await, &LISTEN).await;
    let edge = replica(far.path(), &sync_address(&middle).await, &[]).await;
    wait_for_position(&edge, &position(&primary).await).await;
    let rows = "/first-rows?dataset=scikit-learn/photographs&config=default&split=train";
    let (_, _, body) = get_json(&edge, rows).await;
    let source = body["rows"][0]["row"]["image"]["src"].as_str().unwrap().to_owned();
    assert!(source.starts_with(&edge.base_url().replace("127.0.0.1", "localhost")), "{source}");
    let path = format!("/assets/{}", source.split_once("/assets/").unwrap().1);
    let original = get(&primary, &path).await.bytes().await.unwrap();
    let request = client().get(format!("{}{path}", edge.base_url())).header("range", "bytes=10-19");
    let part = request.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), original[10..20]);
    assert_eq!(get(&edge, &path).await.bytes().await.unwrap(), original);
    let missing = path.replace("/0/image/", "/99/image/");
    assert_eq!(get(&edge, &missing).await.status(), StatusCode::NOT_FOUND, "{missing}");
    primary.kill().unwrap();
    middle.kill().unwrap();
    assert_eq!(get(&edge, &path).await.bytes().await.unwrap(), original);
    assert_eq!(get(&edge, &missing).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

const PHOTOGRAPHS: &str = "/first-rows?dataset=scikit-learn/photographs&config=default&split=train";

fn photographs() -> Setting {
    let setting = Setting::new();
    let dataset = "scikit-learn/photographs";
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hub").join(dataset);
    for entry in walk(&source) {
        let name = entry.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
        setting.write(&format!("{dataset}/{name}"), std::fs::read(&entry).unwrap());
    }
    setting
}

/// The paths of all images in the first rows.
async fn images(node: &NodeProcess) -> Vec<String> {
    let (status, _, body) = get_json(node, PHOTOGRAPHS).await;
    assert_eq!(status, StatusCode::OK);
    let rows = body["rows"].as_array().unwrap().iter();
    let sources = rows.map(|row| row["row"]["image"]["src"].as_str().unwrap().to_owned());
    sources.map(|source| format!("/assets/{}", source.split_once("/assets/").unwrap().1)).collect()
}

async fn wait_for_assets(node: &NodeProcess, assets: usize) {
    let wanted = format!("outpost_replica{{figure=\"assets_fetched\"}} {assets}\n");
    wait_until("the assets to arrive unasked", BOUND, || async {
        get(node, "/metrics").await.text().await.unwrap().contains(&wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn images_that_nobody_has_read_are_at_the_replica_when_the_primary_goes() {
    let setting = photographs();
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 1).await;
    let copy = tempfile::tempdir().unwrap();
    let node = replica(copy.path(), &sync_address(&primary).await, &[]).await;
    let mut originals = Vec::new();
    for path in images(&primary).await {
        let original = get(&primary, &path).await.bytes().await.unwrap();
        originals.push((path, original));
    }
    assert_eq!(originals.len(), 2);
    wait_for_assets(&node, 2).await;
    primary.kill().unwrap();
    for (path, original) in originals {
        let request = client().get(format!("{}{path}", node.base_url())).header("range", "bytes=100-299");
        let part = request.send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.bytes().await.unwrap(), original[100..300]);
        assert_eq!(get(&node, &path).await.bytes().await.unwrap(), original);
    }
}

#[tokio::test]
async fn what_is_removed_at_the_primary_is_no_longer_served_by_replicas_which_had_it() {
    let setting = photographs();
    setting.write("org/other/data.csv", "a\n1\n");
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 2).await;
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let middle = replica(near.path(), &sync_address(&primary).await, &LISTEN).await;
    let edge = replica(far.path(), &sync_address(&middle).await, &[]).await;
    let paths = images(&primary).await;
    for node in [&middle, &edge] {
        wait_for_assets(node, paths.len()).await;
        assert_eq!(get(node, &paths[0]).await.status(), StatusCode::OK);
    }
    std::fs::remove_dir_all(setting.hub().join("scikit-learn/photographs")).unwrap();
    wait_until("the primary to refuse it", BOUND, || async {
        (get(&primary, PHOTOGRAPHS).await.status() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let refused_at = std::time::Instant::now();
    for node in [&middle, &edge] {
        for path in [PHOTOGRAPHS, &paths[0]] {
            wait_until("the replica to refuse it", LAG, || async {
                (get(node, path).await.status() == StatusCode::UNAUTHORIZED).then_some(())
            })
            .await;
        }
    }
    assert!(refused_at.elapsed() < LAG, "{:?}", refused_at.elapsed());
    // What was there is gone for good, not hidden by what the primary says.
    primary.kill().unwrap();
    for path in [PHOTOGRAPHS, &paths[0]] {
        assert_ne!(get(&edge, path).await.status(), StatusCode::OK, "{path}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
