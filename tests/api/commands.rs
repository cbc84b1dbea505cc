//! The client commands against a real node with its embedded store.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use outpost_harness::node_process::command;
use outpost_harness::{NodeProcess, wait_until};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(120);

/// A node over one dataset, and a directory for its data.
struct Running {
    node: NodeProcess,
    directory: tempfile::TempDir,
}

impl Running {
    async fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (hub, data) = (directory.path().join("hub"), directory.path().join("data"));
        let dataset = hub.join("u/d");
        std::fs::create_dir_all(&dataset).unwrap();
        std::fs::write(dataset.join("train.csv"), "name,n\nbarley,1\nwheat,22\n").unwrap();
        let mut arguments = vec!["--hub", hub.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        arguments.extend_from_slice(options);
        let node = NodeProcess::start(binary(), &arguments).await.unwrap();
        Self { node, directory }
    }

    /// Runs a command against the node, with the data directory of the test.
    fn run(&self, arguments: &[&str]) -> Output {
        let data = self.directory.path().join("data");
        node(&[arguments, &["--node", self.node.base_url(), "--data-dir", data.to_str().unwrap()]].concat())
    }

    fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until something is stored and nothing is queued.
    async fn until_idle(&self) {
        wait_until("the dataset to be computed", BOUND, || async {
            let status = self.status();
            let is_idle = status["queue"].as_array().unwrap().is_empty();
            let entries = status["entries"].as_array().unwrap().len();
            (is_idle && entries == 7).then_some(())
        })
        .await;
    }
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_node"))
}

fn node(arguments: &[&str]) -> Output {
    command(binary()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// One line on stderr, nothing on stdout.
fn complaint(output: &Output, code: i32) -> String {
    let text = stderr(output);
    assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
    assert!(text.starts_with("node: ") && output.stdout.is_empty(), "{text}");
    text
}

#[tokio::test]
async fn an_operator_sees_refreshes_and_cancels() {
    let running = Running::start(&[]).await;
    running.until_idle().await;
    let page = stdout(&running.run(&["status"]));
    assert!(page.contains("nothing waits, nothing runs"), "{page}");
    assert!(page.contains("split-first-rows") && page.contains("datasets,splits"), "{page}");
    let status = running.status();
    assert_eq!((&status["datasets"], &status["is_current"]), (&Value::from(1), &Value::from(true)));

    let refreshed = stdout(&running.run(&["refresh", "u/d"]));
    assert_eq!(refreshed, "u/d is computed again, 1 job queued\n");
    running.until_idle().await;
    assert_eq!(stdout(&running.run(&["backfill", "u/d"])), "u/d: no job queued\n");
    assert_eq!(stdout(&running.run(&["cancel", "u/d"])), "u/d: no job cancelled\n");
    let all = stdout(&running.run(&["backfill", "--retry-errors"]));
    assert!(all.contains("node status"), "{all}");

    let gone = complaint(&running.run(&["refresh", "u/gone"]), 1);
    assert!(gone.contains("not found on the Hub"), "{gone}");
    let wrong = complaint(&running.run(&["refresh", "u/d", "--priority", "urgent"]), 1);
    assert!(wrong.contains("high, normal, low"), "{wrong}");
    let unknown = complaint(&running.run(&["cancel", "u/unknown"]), 1);
    assert!(unknown.contains("Refresh it"), "{unknown}");
}

#[tokio::test]
async fn rows_are_printed_as_a_table() {
    let running = Running::start(&[]).await;
    running.until_idle().await;
    let url = running.node.base_url();
    let table =
        "u/d, config default, split train, 2 rows\nrow  name     n\n  0  barley   1\n  1  wheat   22\n";
    assert_eq!(stdout(&node(&["rows", "u/d", "--node", url])), table);
    let one = ["rows", "u/d", "--config", "default", "--split", "train", "--offset", "1", "--length", "1"];
    let printed = stdout(&node(&[&one[..], &["--node", url]].concat()));
    assert!(printed.ends_with("row  name    n\n  1  wheat  22\n"), "{printed}");
    let absent = complaint(&node(&["rows", "u/d", "--split", "test", "--node", url]), 1);
    assert!(absent.contains("it has: default/train"), "{absent}");
    let unknown = complaint(&node(&["rows", "u/unknown", "--node", url]), 1);
    assert!(unknown.contains("does not exist"), "{unknown}");
}

#[tokio::test]
async fn a_token_that_does_not_open_says_which_would() {
    let running = Running::start(&["--admin-token", "the-operators-token"]).await;
    let url = running.node.base_url();
    let elsewhere = tempfile::tempdir().unwrap();
    let data = elsewhere.path().to_str().unwrap();
    let missing = complaint(&node(&["status", "--node", url, "--data-dir", data]), 1);
    assert!(missing.contains("admin-token") && missing.contains("--data-dir"), "{missing}");
    let wrong = ["status", "--node", url, "--data-dir", data, "--admin-token", "another-token-altogether"];
    assert!(complaint(&node(&wrong), 1).contains("refuses the token"));
    let right = ["status", "--node", url, "--data-dir", data, "--admin-token", "the-operators-token"];
    assert!(stdout(&node(&right)).starts_with("primary "));
    // The node was given a token, so it keeps none in its directory.
    assert!(!running.directory.path().join("data/admin-token").exists());
}

#[test]
fn a_node_that_does_not_run_is_one_line_that_says_what_to_do() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    for command in [&["status"][..], &["rows", "u/d"], &["refresh", "u/d"]] {
        let text = complaint(&node(&[command, &["--node", &url]].concat()), 1);
        assert!(text.contains("no node answers") && text.contains("--node"), "{text}");
    }
    assert!(complaint(&node(&["status", "--node", "localhost"]), 2).contains("--node"));
}
