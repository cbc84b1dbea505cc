//! What the suites over a real node share: its folder, its requests, and when its work is done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_harness::{NodeProcess, client, wait_until};
use reqwest::{Response, StatusCode};
use serde_json::Value;

/// Bound of every wait.
pub const BOUND: Duration = Duration::from_secs(120);

/// A folder Hub and a data directory of their own.
pub struct Setting {
    directory: tempfile::TempDir,
}

impl Setting {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn hub(&self) -> PathBuf {
        self.directory.path().join("hub")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.hub().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub async fn start(&self, options: &[&str]) -> NodeProcess {
        start(&self.hub(), &self.data(), options).await
    }
}

/// Starts the real program on a folder.
pub async fn start(hub: &Path, data: &Path, options: &[&str]) -> NodeProcess {
    let mut arguments = vec!["--hub", hub.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    arguments.extend_from_slice(options);
    NodeProcess::start(Path::new(env!("CARGO_BIN_EXE_node")), &arguments).await.unwrap()
}

pub async fn get(node: &NodeProcess, path: &str) -> Response {
    client().get(format!("{}{path}", node.base_url())).send().await.unwrap()
}

pub async fn get_json(node: &NodeProcess, path: &str) -> (StatusCode, Option<String>, Value) {
    let response = get(node, path).await;
    let code = response.headers().get("x-error-code").map(|code| code.to_str().unwrap().to_owned());
    let status = response.status();
    (status, code, response.json().await.unwrap())
}

/// Waits until `datasets` datasets are known and no job is left.
pub async fn wait_until_idle(node: &NodeProcess, datasets: u64) {
    wait_until("all work to be done", BOUND, || async {
        let text = get(node, "/metrics").await.text().await.unwrap();
        let known = sum_of(&text, "outpost_datasets");
        let jobs = sum_of(&text, "queue_jobs_total");
        (known == Some(datasets) && jobs.unwrap_or(0) == 0).then_some(())
    })
    .await;
}

/// The sum of a metric over its labels, `None` when it has no line.
pub fn sum_of(metrics: &str, name: &str) -> Option<u64> {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(' ') || rest.starts_with('{')).then(|| line.rsplit(' ').next().unwrap())
    });
    values.map(|value| value.parse::<f64>().unwrap() as u64).reduce(|sum, value| sum + value)
}

/// Every answer about a dataset: path → status, error code and body, split by split.
pub async fn answers(
    node: &NodeProcess,
    dataset: &str,
) -> BTreeMap<String, (StatusCode, Option<String>, Value)> {
    let mut paths = vec![format!("/splits?dataset={dataset}"), format!("/is-valid?dataset={dataset}")];
    let (_, _, listing) = get_json(node, &paths[0]).await;
    for split in listing["splits"].as_array().into_iter().flatten() {
        let names = ["dataset", "config", "split"].map(|key| split[key].as_str().unwrap());
        let [dataset, config, split] = names;
        paths.push(format!("/splits?dataset={dataset}&config={config}"));
        paths.push(format!("/is-valid?dataset={dataset}&config={config}"));
        for endpoint in ["first-rows", "is-valid", "rows"] {
            paths.push(format!("/{endpoint}?dataset={dataset}&config={config}&split={split}"));
        }
    }
    let mut answers = BTreeMap::new();
    for path in paths {
        let answer = get_json(node, &path).await;
        answers.insert(path, answer);
    }
    answers
}
