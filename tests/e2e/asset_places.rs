//! Where assets are kept: a bucket, a folder elsewhere, and what happens when the place changes.

use std::path::Path;

use outpost_harness::moto::Bucket;
use outpost_harness::{NodeProcess, wait_until};

use crate::support::{BOUND, Setting, get, get_json, start, wait_until_idle};

const FIRST_ROWS: &str = "/first-rows?dataset=scikit-learn/photographs&config=default&split=train";

/// A Hub of the photographs only.
fn photographs() -> Setting {
    let setting = Setting::new();
    let dataset = "scikit-learn/photographs";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hub").join(dataset);
    copy(&source, dataset, &setting);
    setting
}

fn copy(source: &Path, target: &str, setting: &Setting) {
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let target = format!("{target}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, &target, setting);
        } else {
            setting.write(&target, std::fs::read(&path).unwrap());
        }
    }
}

async fn assert_photographs(node: &NodeProcess) {
    let (status, _, body) = get_json(node, FIRST_ROWS).await;
    assert_eq!(status, 200, "{body}");
    let source = body["rows"][0]["row"]["image"]["src"].as_str().unwrap();
    let (_, asset) = source.split_once("/assets/").unwrap();
    assert_eq!(get(node, &format!("/assets/{asset}")).await.status(), 200, "{source}");
}

#[tokio::test]
async fn a_node_keeps_its_assets_in_a_bucket() {
    let Some(bucket) = tokio::task::spawn_blocking(Bucket::create).await.unwrap() else { return };
    let setting = photographs();
    let (hub, data) = (setting.hub(), setting.data());
    let place = format!("s3://{}/viewer", bucket.name);
    let arguments =
        ["--hub", hub.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--assets", &place];
    let variables: Vec<(&str, &str)> =
        bucket.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_node"));
    let node = NodeProcess::start_with(binary, &arguments, &variables).await.unwrap();
    wait_until_idle(&node, 1).await;
    assert_photographs(&node).await;
    assert!(!data.join("assets").exists(), "nothing under the data directory");
}

#[tokio::test]
async fn a_place_without_the_assets_is_filled_again() {
    let setting = photographs();
    let node = setting.start(&[]).await;
    wait_until_idle(&node, 1).await;
    assert_photographs(&node).await;
    node.kill().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().join("assets");
    let node = start(&setting.hub(), &setting.data(), &["--assets", place.to_str().unwrap()]).await;
    wait_until("the photographs to be computed again", BOUND, || async {
        let (status, _, body) = get_json(&node, FIRST_ROWS).await;
        let source = body["rows"][0]["row"]["image"]["src"].as_str().filter(|_| status == 200)?;
        let (_, asset) = source.split_once("/assets/")?;
        Some(()).filter(|()| place.join("v1/content").exists())?;
        get(&node, &format!("/assets/{asset}")).await.status().is_success().then_some(())
    })
    .await;
    assert_photographs(&node).await;
}
