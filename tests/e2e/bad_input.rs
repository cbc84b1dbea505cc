//! Bad datasets, each with the status, code and JSON body that the API promises, on one node that survives them all.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Setting, get_json, wait_until_idle};

const LONG_CELL_BYTES: usize = 60 * 1024 * 1024;

/// Where the error shows, and as what.
struct Case {
    dataset: &'static str,
    path: &'static str,
    status: u16,
    code: Option<&'static str>,
    /// A part of the message, or of the body of a success.
    says: &'static str,
}

const fn at_splits(dataset: &'static str, status: u16, code: &'static str, says: &'static str) -> Case {
    Case { dataset, path: "/splits?dataset=", status, code: Some(code), says }
}

const CASES: &[Case] = &[
    at_splits("bad/yaml", 500, "ConfigNamesError", ""),
    at_splits("bad/glob-without-match", 500, "DataFilesNotFoundError", "No (supported) data files found"),
    at_splits("bad/absolute-path", 500, "ConfigNamesError", "/etc/passwd"),
    at_splits("bad/parent-path", 500, "ConfigNamesError", "../"),
    at_splits("bad/script", 501, "DatasetWithScriptNotSupportedError", "script"),
    at_splits("bad/empty", 500, "EmptyDatasetError", ""),
    at_splits("bad/no-data", 500, "DataFilesNotFoundError", ""),
    at_splits("bad/mixed-formats", 500, "FileFormatMismatchBetweenSplitsError", "same data file format"),
    Case {
        dataset: "bad/parquet",
        path: "/splits?config=default&dataset=",
        status: 500,
        code: Some("SplitNamesFromStreamingError"),
        says: "split names",
    },
    Case {
        dataset: "bad/many-columns",
        path: "/first-rows?config=default&split=train&dataset=",
        status: 500,
        code: Some("TooManyColumnsError"),
        says: "1001",
    },
    Case {
        dataset: "bad/long-cell",
        path: "/first-rows?config=default&split=train&dataset=",
        status: 200,
        code: None,
        says: "truncated_cells\":[\"text\"]",
    },
    Case {
        dataset: "bad/utf-8",
        path: "/first-rows?config=default&split=train&dataset=",
        status: 500,
        code: Some("FeaturesError"),
        says: "UnicodeDecodeError",
    },
    Case {
        dataset: "bad/hdf5",
        path: "/first-rows?config=default&split=train&dataset=",
        status: 500,
        code: Some("InfoError"),
        says: "'hdf5' (HDF5), which this node does not read. To see their rows, convert each split to Parquet",
    },
];

fn lay_out(setting: &Setting) {
    setting.write("bad/yaml/README.md", "---\nconfigs: [\n---\n");
    setting.write("bad/yaml/data.csv", "a\n1\n");
    setting.write("bad/glob-without-match/README.md", config("nothing/*.csv"));
    setting.write("bad/glob-without-match/data.csv", "a\n1\n");
    setting.write("bad/absolute-path/README.md", config("/etc/passwd"));
    setting.write("bad/parent-path/README.md", config("../yaml/data.csv"));
    setting.write("bad/script/script.py", "raise SystemExit\n");
    setting.write("bad/script/data.csv", "a\n1\n");
    setting.write("bad/empty/README.md", "nothing here\n");
    setting.write("bad/no-data/model.bin", "x");
    setting.write("bad/mixed-formats/train.csv", "a\n1\n");
    setting.write("bad/mixed-formats/test.jsonl", "{\"a\":1}\n");
    setting.write("bad/parquet/data.parquet", b"PAR1 this is not a parquet file".repeat(10));
    let names: Vec<String> = (0..1001).map(|index| format!("c{index}")).collect();
    setting.write("bad/many-columns/data.csv", format!("{}\n{}1\n", names.join(","), "1,".repeat(1000)));
    setting.write("bad/long-cell/data.csv", format!("text\n{}\n", "x".repeat(LONG_CELL_BYTES)));
    setting.write("bad/utf-8/data.csv", b"a\n\xff\xfe\xfd\n");
    setting.write("bad/hdf5/train.h5", b"\x89HDF\r\n\x1a\n");
    setting.write("good/one/data.csv", "a\n1\n");
}

fn config(data_files: &str) -> String {
    format!("---\nconfigs:\n- config_name: default\n  data_files: \"{data_files}\"\n---\n")
}

#[tokio::test]
async fn every_bad_dataset_gets_its_error_and_the_node_lives() {
    let setting = Setting::new();
    lay_out(&setting);
    let node = setting.start(&[]).await;
    wait_until_idle(&node, CASES.len() as u64 + 1).await;
    let mut wrong = Vec::new();
    for case in CASES {
        let path = format!("{}{}", case.path, case.dataset);
        let (status, code, body) = get_json(&node, &path).await;
        let is_error_body = status == StatusCode::OK || body["error"].is_string();
        let right =
            status == case.status && code.as_deref() == case.code && body.to_string().contains(case.says);
        if !right || !is_error_body {
            wrong.push(format!("{path}: {status} {code:?} {body:.400}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (status, _, body) = get_json(&node, "/rows?dataset=good/one&config=default&split=train").await;
    assert_eq!((status, &body["rows"][0]["row"]["a"]), (StatusCode::OK, &Value::from(1)));
}
