//! From a folder of files to stored entries: the real store, the real folder Hub, the real steps.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a panic is the report")]

mod crash;
mod every_case;
mod rig;

use outpost_model::{ErrorCode, StepKind};
use serde_json::{Value, json};

use rig::compute;

const PREVIEW: &str = r#"{"preview":true,"viewer":false,"search":false,"filter":false,"statistics":false}"#;
const NOTHING: &str = r#"{"preview":false,"viewer":false,"search":false,"filter":false,"statistics":false}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_csv_dataset_is_listed_and_its_rows_are_shown() {
    let computed = compute(&[
        ("data/train.csv", "text,label\nhello,1\n\"a \"\"b\"\"\",2\n"),
        ("data/test.csv", "text,label\né,3\n"),
    ])
    .await;
    let default = Some("default");
    assert_eq!(
        computed.body(StepKind::DatasetConfigNames, None, None).await,
        r#"{"config_names":[{"dataset":"user/data","config":"default"}]}"#
    );
    let splits = concat!(
        r#"{"splits":[{"dataset":"user/data","config":"default","split":"train"},"#,
        r#"{"dataset":"user/data","config":"default","split":"test"}]"#
    );
    assert_eq!(computed.body(StepKind::ConfigSplitNames, default, None).await, format!("{splits}}}"));
    assert_eq!(
        computed.body(StepKind::DatasetSplitNames, None, None).await,
        format!(r#"{splits},"pending":[],"failed":[]}}"#)
    );
    let features = concat!(
        r#""features":[{"feature_idx":0,"name":"text","type":{"dtype":"string","_type":"Value"}},"#,
        r#"{"feature_idx":1,"name":"label","type":{"dtype":"int64","_type":"Value"}}]"#
    );
    for (split, rows) in [
        (
            "train",
            concat!(
                r#"[{"row_idx":0,"row":{"text":"hello","label":1},"truncated_cells":[]},"#,
                r#"{"row_idx":1,"row":{"text":"a \"b\"","label":2},"truncated_cells":[]}]"#
            ),
        ),
        ("test", r#"[{"row_idx":0,"row":{"text":"é","label":3},"truncated_cells":[]}]"#),
    ] {
        let head = format!(r#"{{"dataset":"user/data","config":"default","split":"{split}""#);
        assert_eq!(
            computed.body(StepKind::SplitFirstRows, default, Some(split)).await,
            format!(r#"{head},{features},"rows":{rows},"truncated":false}}"#)
        );
        assert_eq!(computed.body(StepKind::SplitIsValid, default, Some(split)).await, PREVIEW);
    }
    assert_eq!(computed.body(StepKind::ConfigIsValid, default, None).await, PREVIEW);
    assert_eq!(computed.body(StepKind::DatasetIsValid, None, None).await, PREVIEW);
    let entry = computed.entry(StepKind::DatasetIsValid, None, None).await;
    assert_eq!((entry.progress, entry.job_runner_version), (Some(1.0), 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_one_rows_are_a_hundred_and_truncated() {
    let table =
        |rows: usize| "a\n".to_string() + &(0..rows).map(|row| format!("{row}\n")).collect::<String>();
    let computed = compute(&[("train.csv", &table(101)), ("test.csv", &table(100))]).await;
    for (split, truncated) in [("train", true), ("test", false)] {
        let body = computed.body(StepKind::SplitFirstRows, Some("default"), Some(split)).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["rows"].as_array().unwrap().len(), 100);
        assert_eq!(body["rows"][99], json!({"row_idx": 99, "row": {"a": 99}, "truncated_cells": []}));
        assert_eq!(body["truncated"], json!(truncated));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_fails_does_not_hide_the_others() {
    let readme = "---\nconfigs:\n- config_name: zoo\n  data_files: zoo.csv\n- config_name: main\n  default: true\n  \
                  data_files: main.csv\n- config_name: gone\n  data_files: gone.csv\n---\n";
    let computed = compute(&[("README.md", readme), ("zoo.csv", "a\n1\n"), ("main.csv", "a\n2\n")]).await;
    assert_eq!(
        computed.body(StepKind::DatasetConfigNames, None, None).await,
        concat!(
            r#"{"config_names":[{"dataset":"user/data","config":"main"},"#,
            r#"{"dataset":"user/data","config":"gone"},{"dataset":"user/data","config":"zoo"}]}"#
        )
    );
    let (code, body) = computed.error(StepKind::ConfigSplitNames, Some("gone"), None).await;
    assert_eq!(code, ErrorCode::SplitNamesFromStreamingError);
    assert_eq!(body["cause_exception"], "FileNotFoundError");
    assert_eq!(body["cause_traceback"], json!([]));
    let listing = computed.body(StepKind::DatasetSplitNames, None, None).await;
    let listing: Value = serde_json::from_str(&listing).unwrap();
    assert_eq!(
        listing["splits"],
        json!([
            {"dataset": "user/data", "config": "main", "split": "train"},
            {"dataset": "user/data", "config": "zoo", "split": "train"},
        ])
    );
    assert_eq!(listing["failed"], json!([{"dataset": "user/data", "config": "gone", "error": body}]));
    assert_eq!(computed.body(StepKind::ConfigIsValid, Some("gone"), None).await, NOTHING);
    assert_eq!(computed.body(StepKind::DatasetIsValid, None, None).await, PREVIEW);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_repository_is_stored_and_copied_to_its_listings() {
    let bad_name = "---\nconfigs:\n- config_name: \"a\\tb\"\n  data_files: a.csv\n---\n";
    for (files, code) in [
        (&[(".gitattributes", "")][..], ErrorCode::EmptyDatasetError),
        (&[("notes.xyz", "?")][..], ErrorCode::DataFilesNotFoundError),
        (&[("data.py", "pass")][..], ErrorCode::DatasetWithScriptNotSupportedError),
        (
            &[("train.csv", "a\n1\n"), ("test.jsonl", "{\"a\":1}\n")][..],
            ErrorCode::FileFormatMismatchBetweenSplitsError,
        ),
        (&[("README.md", bad_name), ("a.csv", "a\n1\n")][..], ErrorCode::ConfigNamesError),
    ] {
        let computed = compute(files).await;
        let (found, body) = computed.error(StepKind::DatasetConfigNames, None, None).await;
        assert_eq!(found, code, "{body}");
        assert_eq!(computed.error(StepKind::DatasetSplitNames, None, None).await, (code, body));
        assert_eq!(computed.body(StepKind::DatasetIsValid, None, None).await, NOTHING);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_whose_rows_cannot_be_read_is_listed_and_has_an_error() {
    let computed = compute(&[("train.csv", "a,b\n1,2\n1,2,3,4\n")]).await;
    let (code, body) = computed.error(StepKind::SplitFirstRows, Some("default"), Some("train")).await;
    assert_eq!((code, &body["cause_exception"]), (ErrorCode::FeaturesError, &json!("ParserError")));
    assert_eq!(computed.body(StepKind::SplitIsValid, Some("default"), Some("train")).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_format_that_is_left_out_answers_with_its_name_and_what_to_do() {
    let computed = compute(&[("train.h5", "\u{89}HDF"), ("test.h5", "\u{89}HDF")]).await;
    let default = Some("default");
    let listing = computed.body(StepKind::ConfigSplitNames, default, None).await;
    assert!(listing.contains(r#""split":"train""#) && listing.contains(r#""split":"test""#), "{listing}");
    let (code, body) = computed.error(StepKind::SplitFirstRows, default, Some("train")).await;
    assert_eq!((code, &body["cause_exception"]), (ErrorCode::InfoError, &json!("NotImplementedError")));
    let sentence = body["error"].as_str().unwrap();
    assert!(sentence.contains("'hdf5' (HDF5)") && sentence.contains("to_parquet"), "{sentence}");
    assert_eq!(computed.body(StepKind::DatasetIsValid, None, None).await, NOTHING);

    let computed = compute(&[("data/a.lance", "x")]).await;
    let (code, body) = computed.error(StepKind::ConfigSplitNames, default, None).await;
    assert_eq!(code, ErrorCode::SplitNamesFromStreamingError);
    assert!(body["error"].as_str().unwrap().contains("'lance' (Lance)"), "{body}");
}
