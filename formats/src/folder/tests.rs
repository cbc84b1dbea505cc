use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::Value;
use crate::error::ErrorClass;
use crate::module::DataFile;
use std::sync::Arc;

/// Features and rows per split, or the error.
type Outcome = Result<(Features, Vec<Vec<Vec<Value>>>), FormatError>;

/// Plans and reads splits of files with these paths and contents.
fn read(folder: &Folder, splits: &[&[(&str, &str)]], params: serde_json::Value) -> Outcome {
    let serde_json::Value::Object(params) = params else { panic!("params are an object") };
    let open = |split: usize, file: usize| {
        let (path, content) = splits[split][file];
        let source = Arc::new(Bytes::copy_from_slice(content.as_bytes()));
        DataFile { path: path.to_owned(), url: format!("hf://datasets/u/n@0/{path}"), source }
    };
    let files = SplitFiles {
        root: "hf://datasets/u/n@0".to_owned(),
        splits: splits.iter().map(|files| files.iter().map(|(path, _)| *path).collect()).collect(),
        open: &open,
    };
    let plan = folder.plan(&files, &params, None)?;
    let rows = (0..splits.len()).map(|split| plan.first_rows(&files, split, 100));
    Ok((plan.features().clone(), rows.collect::<Result<_, _>>()?))
}

fn media(path: &str) -> Value {
    let path = Value::str(&format!("hf://datasets/u/n@0/{path}"));
    Value::Struct(vec![("bytes".into(), Value::Null), ("path".into(), path)])
}

fn names(features: &Features) -> Vec<&str> {
    features.0.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn labels_add_up_over_the_splits_and_the_last_split_decides_the_features() {
    let (features, rows) =
        read(&IMAGE_FOLDER, &[&[("train/1.png", "")], &[("test/2.png", "")]], json!({})).unwrap();
    let labels = Feature::ClassLabel { names: ["test".into(), "train".into()].into() };
    assert_eq!(features.get("label"), Some(&labels));
    assert_eq!(rows[0], [[media("train/1.png"), Value::Null]]);
    assert_eq!(rows[1], [[media("test/2.png"), Value::Int(0)]]);
}

#[test]
fn files_of_the_root_are_labelled_with_the_dataset() {
    let splits: &[&[(&str, &str)]] = &[&[("1.png", "")]];
    let (features, _) = read(&IMAGE_FOLDER, splits, json!({"drop_labels": false})).unwrap();
    assert_eq!(features.get("label"), Some(&Feature::ClassLabel { names: ["n@0".into()].into() }));
}

#[test]
fn a_split_without_metadata_is_empty_behind_one_that_has_some() {
    let train: &[(&str, &str)] = &[("1.png", ""), ("metadata.csv", "file_name,t\n1.png,a\n")];
    let (_, rows) = read(&IMAGE_FOLDER, &[train, &[("2.png", "")]], json!({})).unwrap();
    assert_eq!(rows, [vec![vec![media("1.png"), Value::str("a")]], vec![]]);
}

#[test]
fn the_first_media_column_takes_the_name_without_a_prefix() {
    let line = r#"{"x_file_name": "a.png", "file_name": "b.png"}"#;
    let (features, rows) = read(&IMAGE_FOLDER, &[&[("metadata.jsonl", line)]], json!({})).unwrap();
    assert_eq!(names(&features), ["x", "image"]);
    assert_eq!(rows[0], [[media("b.png"), Value::Null]]);
}

#[test]
fn metadata_files_may_have_other_names() {
    let files: &[(&str, &str)] =
        &[("d/1.mp3", ""), ("d/meta.csv", "file_name,t\n1.mp3,2\n"), ("metadata.csv", "a\n1\n")];
    let (features, rows) =
        read(&AUDIO_FOLDER, &[files], json!({"metadata_filenames": ["meta.csv"]})).unwrap();
    assert_eq!(names(&features), ["audio", "t"]);
    assert_eq!(rows[0], [[media("d/1.mp3"), Value::Int(2)]]);
}

#[test]
fn metadata_without_rows_is_an_index_error() {
    let error = read(&PDF_FOLDER, &[&[("metadata.csv", "file_name,t\n")]], json!({})).unwrap_err();
    assert_eq!(error.class, ErrorClass::IndexError);
}

#[test]
fn metadata_files_of_splits_must_agree() {
    let splits: &[&[(&str, &str)]] =
        &[&[("a/metadata.csv", "file_name,t\n1,1\n")], &[("b/metadata.csv", "file_name,u\nx,1\n")]];
    let message = read(&MESH_FOLDER, splits, json!({})).unwrap_err().message;
    assert!(message.starts_with("Metadata files hf://datasets/u/n@0/b/metadata.csv and"), "{message}");
}

#[test]
fn dropping_labels_and_metadata_leaves_the_media() {
    let files: &[(&str, &str)] =
        &[("a/1.mkv", ""), ("b/1.MP4", ""), ("metadata.csv", "x\n1\n"), ("c.txt", "")];
    let (features, rows) =
        read(&VIDEO_FOLDER, &[files], json!({"drop_labels": true, "drop_metadata": true})).unwrap();
    assert_eq!(names(&features), ["video"]);
    assert_eq!(rows[0], [[media("a/1.mkv")], [media("b/1.MP4")]]);
}

#[test]
fn filters_are_refused() {
    let error = read(&NIFTI_FOLDER, &[&[("1.nii", "")]], json!({"filters": [["a", "==", 1]]})).unwrap_err();
    assert_eq!(error.class, ErrorClass::NotImplementedError);
}
