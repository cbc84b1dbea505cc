//! `node demo`, as a newcomer runs it: both nodes answer, and nothing stays behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_harness::node_process::command;
use outpost_harness::{client, wait_until};
use reqwest::StatusCode;

use crate::support::BOUND;

#[tokio::test]
async fn the_demo_shows_a_replica_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = command(Path::new(env!("CARGO_BIN_EXE_node")))
        .arg("demo")
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = demo.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut urls = Vec::new();
        for line in lines {
            urls.extend(line.split_whitespace().find(|word| word.contains("?dataset=")).map(str::to_owned));
            if line.contains("Ctrl-C") {
                break;
            }
        }
        urls
    });
    let urls = tokio::time::timeout(BOUND, reading).await.expect("the demo says where to look").unwrap();
    assert!(urls.len() >= 3, "{urls:?}");
    for url in &urls {
        let response = client().get(url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{url}");
        assert!(response.headers().contains_key("x-sync-staleness"), "{url} is a replica's");
    }
    let signalled = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let ending = tokio::task::spawn_blocking(move || demo.wait());
    let status = tokio::time::timeout(BOUND, ending).await.expect("the demo ends").unwrap().unwrap();
    assert!(status.success());
    let is_away = wait_until("the nodes to be gone", Duration::from_secs(10), || async {
        client().get(&urls[0]).send().await.is_err().then_some(())
    });
    is_away.await;
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the directory is gone");
}
