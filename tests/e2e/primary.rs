//! A primary over a folder: what it serves survives kill -9, and SIGTERM ends it in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_harness::{NodeProcess, client, wait_until};
use reqwest::{Response, StatusCode};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(60);

struct Setting {
    directory: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let setting = Self { directory: tempfile::tempdir().unwrap() };
        setting.write("org/first/train.csv", "text,label\nhello,0\nworld,1\n");
        setting.write("org/first/test.csv", "text,label\nagain,1\n");
        setting
    }

    fn hub(&self) -> PathBuf {
        self.directory.path().join("hub")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.hub().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn start(&self) -> NodeProcess {
        let data = self.directory.path().join("data");
        let hub = self.hub();
        let arguments = ["--hub", hub.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        NodeProcess::start(Path::new(env!("CARGO_BIN_EXE_node")), &arguments).await.unwrap()
    }
}

async fn get(node: &NodeProcess, path: &str) -> Response {
    client().get(format!("{}{path}", node.base_url())).send().await.unwrap()
}

const ROWS: &str = "/rows?dataset=org/first&config=default&split=train";

/// The first rows of the training split once they are there.
async fn rows(node: &NodeProcess) -> Value {
    wait_until("the rows to be served", BOUND, || async {
        let response = get(node, ROWS).await;
        if response.status() == StatusCode::OK { response.json().await.ok() } else { None }
    })
    .await
}

/// The splits of a dataset once they are there.
async fn splits(node: &NodeProcess, dataset: &str) -> Value {
    let path = format!("/splits?dataset={dataset}");
    wait_until("the splits to be served", BOUND, || async {
        let response = get(node, &path).await;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body: Value = response.json().await.unwrap();
        (body["pending"] == serde_json::json!([])).then_some(body)
    })
    .await
}

#[tokio::test]
async fn a_folder_is_served_and_survives_kill_9() {
    let setting = Setting::new();
    let node = setting.start().await;
    let before = splits(&node, "org/first").await;
    let names: Vec<&str> =
        before["splits"].as_array().unwrap().iter().map(|split| split["split"].as_str().unwrap()).collect();
    assert_eq!(names, ["train", "test"]);
    let rows = rows(&node).await;
    assert_eq!(rows["rows"][1]["row"], serde_json::json!({"text": "world", "label": 1}));
    assert_eq!(rows["num_rows_total"], 2);
    node.kill().unwrap();

    let node = setting.start().await;
    let response = get(&node, "/splits?dataset=org/first").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<Value>().await.unwrap(), before);
    assert_eq!(get(&node, ROWS).await.json::<Value>().await.unwrap(), rows);
    let status = node.terminate(BOUND).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_kill_in_the_middle_of_the_work_loses_none_of_it() {
    let setting = Setting::new();
    for i in 0..20 {
        setting.write(&format!("many/d{i}/data.csv"), &format!("a\n{i}\n"));
    }
    for _ in 0..3 {
        setting.start().await.kill().unwrap();
    }
    let node = setting.start().await;
    for i in 0..20 {
        let body = splits(&node, &format!("many/d{i}")).await;
        assert_eq!(body["splits"][0]["split"], "train");
    }
    assert_eq!(node.terminate(BOUND).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn changes_in_the_folder_are_noticed() {
    let setting = Setting::new();
    let node = setting.start().await;
    splits(&node, "org/first").await;
    setting.write("org/second/data.csv", "a\n1\n");
    let body = splits(&node, "org/second").await;
    assert_eq!(body["splits"][0]["config"], "default");

    fs::remove_dir_all(setting.hub().join("org/first")).unwrap();
    wait_until("the removed dataset to go", BOUND, || async {
        let status = get(&node, "/splits?dataset=org/first").await.status();
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_went_away_while_the_node_was_down_is_gone() {
    let setting = Setting::new();
    setting.write("org/second/data.csv", "a\n1\n");
    let node = setting.start().await;
    splits(&node, "org/first").await;
    splits(&node, "org/second").await;
    node.kill().unwrap();
    fs::remove_dir_all(setting.hub().join("org/first")).unwrap();
    let node = setting.start().await;
    wait_until("the removed dataset to go", BOUND, || async {
        let status = get(&node, "/splits?dataset=org/first").await.status();
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert_eq!(get(&node, "/splits?dataset=org/second").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn progress_and_the_url_to_open_are_told() {
    let setting = Setting::new();
    let node = setting.start().await;
    let line = wait_until("the last line of progress", BOUND, || async {
        node.log_lines().into_iter().find(|line| line.contains("datasets are processed"))
    })
    .await;
    assert!(line.contains("all 1 datasets are processed") && line.contains("http://localhost:"), "{line}");
}
