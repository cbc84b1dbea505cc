//! Every folder of the parity cases, computed at once: whatever a dataset holds, it gets its entries.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outpost_model::{ErrorCode, StepKind, limits};
use outpost_storage::Authority;
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{compute_folder, write};

/// Writes each case as the dataset `case/<name>`.
fn write_cases() -> TempDir {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/cases.json");
    let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let dataset = folder.path().join("case").join(case["name"].as_str().unwrap());
        std::fs::create_dir_all(&dataset).unwrap();
        for (file, content) in case["files"].as_object().unwrap() {
            let bytes = match (content["text"].as_str(), content["base64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(text)) => STANDARD.decode(text).unwrap(),
                // Files that are described instead of given are a matter of the parity suite.
                (None, None) => continue,
            };
            write(&dataset.join(file), &bytes);
        }
    }
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_folder_gets_entries_that_are_results_or_known_errors() {
    let computed = compute_folder(write_cases()).await;
    assert!(computed.datasets.len() > 200, "{}", computed.datasets.len());
    let mut outcomes: BTreeMap<(StepKind, &str), usize> = BTreeMap::new();
    for dataset in &computed.datasets {
        let state = computed.store.state(dataset).await.unwrap();
        for kind in [StepKind::DatasetConfigNames, StepKind::DatasetSplitNames, StepKind::DatasetIsValid] {
            assert!(state.entries.iter().any(|entry| entry.key.kind() == kind), "{dataset} lacks {kind}");
        }
        for summary in &state.entries {
            let entry = computed.store.entry(&summary.key).await.unwrap().unwrap();
            let body: Value = serde_json::from_slice(&entry.body).expect("bodies are JSON");
            assert_eq!(serde_json::to_vec(&body).unwrap(), entry.body, "{}: not compact", entry.key);
            let code = entry.error_code;
            assert!(code != Some(ErrorCode::JobManagerCrashedError), "{}: {body}", entry.key);
            assert!(code != Some(ErrorCode::UnexpectedError), "{}: {body}", entry.key);
            assert_eq!(body["error"].is_string(), code.is_some(), "{}: {body}", entry.key);
            if entry.key.kind() == StepKind::SplitFirstRows && code.is_none() {
                let rows = body["rows"].as_array().unwrap();
                let fits = entry.body.len() <= limits::FirstRowsLimits::default().bytes_max;
                assert!(fits || rows.len() <= 10, "{}: {} bytes", entry.key, entry.body.len());
            }
            *outcomes.entry((entry.key.kind(), code.map_or("ok", ErrorCode::as_str))).or_default() += 1;
        }
    }
    for kind in [StepKind::DatasetConfigNames, StepKind::ConfigSplitNames, StepKind::SplitFirstRows] {
        assert!(outcomes.get(&(kind, "ok")).is_some_and(|count| *count > 90), "{outcomes:?}");
    }
}
