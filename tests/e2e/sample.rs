//! The sample Hub folder: what the node serves equals what Python's `datasets` answers on the same files.
//!
//! `sample_answers.json` was written by `datasets` 5.0.0 (pandas 2.3.3, pyarrow 23.0.1): per dataset, config and split
//! the features, the number of rows up to 100, whether there are more, and two rows without their media, which are
//! compared here with the files they come from.

use std::path::Path;

use outpost_harness::NodeProcess;
use serde_json::Value;

use crate::support::{Setting, get, get_json, start, wait_until_idle};

const ANSWERS: &str = include_str!("sample_answers.json");

#[tokio::test]
async fn the_sample_folder_is_served_as_datasets_reads_it() {
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hub");
    let setting = Setting::new();
    let expected: Value = serde_json::from_str(ANSWERS).unwrap();
    let expected = expected.as_object().unwrap();
    let node = start(&hub, &setting.data(), &[]).await;
    wait_until_idle(&node, expected.len() as u64 + 1).await;
    assert_images(&node).await;
    assert_sounds(&node, &hub).await;
    for (dataset, configs) in expected {
        let (_, _, listing) = get_json(&node, &format!("/splits?dataset={dataset}")).await;
        assert_eq!(listing["failed"], serde_json::json!([]), "{dataset}");
        for (config, splits) in configs.as_object().unwrap() {
            for (split, answer) in splits.as_object().unwrap() {
                let path = format!("/first-rows?dataset={dataset}&config={config}&split={split}");
                let (status, _, body) = get_json(&node, &path).await;
                assert_eq!(status, 200, "{path}: {body}");
                assert_split(&path, &body, answer);
            }
        }
    }
}

/// The rows of a split, which must be there.
async fn rows(node: &NodeProcess, dataset: &str) -> Vec<Value> {
    let path = format!("/first-rows?dataset={dataset}&config=default&split=train");
    let (status, _, body) = get_json(node, &path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body["rows"].as_array().unwrap().iter().map(|row| row["row"].clone()).collect()
}

/// The file that a cell points to, which the node serves under this type.
async fn asset(node: &NodeProcess, source: &Value, content_type: &str) -> Vec<u8> {
    let (_, path) = source.as_str().unwrap().split_once("/assets/").unwrap();
    let response = get(node, &format!("/assets/{path}")).await;
    assert_eq!(response.status(), 200, "{source}");
    assert_eq!(response.headers()["content-type"], content_type, "{source}");
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    response.bytes().await.unwrap().to_vec()
}

/// Images of a folder and of archives are JPEG files that the node serves.
async fn assert_images(node: &NodeProcess) {
    for (dataset, column, count, size) in
        [("scikit-learn/photographs", "image", 2, (640, 427)), ("outpost/patterns", "png", 12, (48, 32))]
    {
        let rows = rows(node, dataset).await;
        assert_eq!(rows.len(), count, "{dataset}");
        for row in rows {
            let image = &row[column];
            assert_eq!((image["width"].as_u64(), image["height"].as_u64()), (Some(size.0), Some(size.1)));
            let file = asset(node, &image["src"], "image/jpeg").await;
            assert!(file.starts_with(b"\xff\xd8\xff"), "a JPEG");
        }
    }
}

/// WAV and FLAC are served as they are; Vorbis is served as WAV of the same length and rate.
async fn assert_sounds(node: &NodeProcess, hub: &Path) {
    let rows = rows(node, "outpost/tones").await;
    let data = hub.join("outpost/tones/data");
    for (row, name, content_type) in
        [(0, "chord.wav", "audio/wav"), (1, "sine.ogg", "audio/wav"), (2, "sweep.flac", "audio/flac")]
    {
        let sound = &rows[row]["audio"][0];
        assert_eq!(sound["type"], content_type, "{name}");
        let file = asset(node, &sound["src"], content_type).await;
        if name.ends_with(".ogg") {
            assert_eq!((&file[..4], &file[20..28]), (&b"RIFF"[..], &b"\x01\0\x01\0\x40\x1f\0\0"[..]));
            assert_eq!(file.len(), 44 + 2 * 8_000, "a second of 8,000 samples");
        } else {
            assert!(file == std::fs::read(data.join(name)).unwrap(), "{name} is copied");
        }
    }
}

fn assert_split(path: &str, body: &Value, answer: &Value) {
    let features = body["features"].as_array().unwrap();
    let expected = answer["features"].as_object().unwrap();
    assert_eq!(features.len(), expected.len(), "{path}");
    for (feature, (name, feature_type)) in features.iter().zip(expected) {
        assert_eq!(feature["name"].as_str(), Some(name.as_str()), "{path}");
        assert_eq!(feature["type"], *feature_type, "{path} {name}");
    }
    let rows = body["rows"].as_array().unwrap();
    let row_count = answer["row_count"].as_u64().unwrap() as usize;
    let cut = rows.len() < row_count;
    assert!(rows.len() <= row_count && rows.len() >= row_count.min(10), "{path}: {} rows", rows.len());
    assert_eq!(body["truncated"], Value::Bool(cut || answer["more"] == true), "{path}");
    for (index, name) in [(0, "first"), (9, "tenth")] {
        let Some(expected) = answer[name].as_object() else { continue };
        let row = &rows[index];
        let cut_cells = row["truncated_cells"].as_array().unwrap();
        for (column, value) in expected {
            if !cut_cells.contains(&Value::String(column.clone())) {
                assert!(
                    same(&row["row"][column], value),
                    "{path} {index} {column}: {} {value}",
                    row["row"][column]
                );
            }
        }
    }
}

/// Equal as JSON values, numbers by value: `27.0` and `27` are the same answer to a reader.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}
