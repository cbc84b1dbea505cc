//! The steps that read only earlier entries, and the mapping of loading errors.

mod media;
mod media_files;

use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_hub::{FolderHub, FolderHubOptions};
use outpost_loading::{JobGuard, LoadError, RowsError};
use outpost_model::{ArtifactKey, ErrorCode, Revision, StepKind, TimestampMs};
use tempfile::TempDir;

use super::*;
use crate::assets::memory::MemoryAssets;
use crate::fake::{FakeAuthority, job, key};
use crate::outcome::Cause;

use StepKind::{
    ConfigIsValid, ConfigSplitNames, DatasetConfigNames, DatasetIsValid, DatasetSplitNames, SplitFirstRows,
    SplitIsValid,
};

/// Steps over scripted entries and an empty Hub.
struct Rig {
    authority: Arc<FakeAuthority>,
    limits: StepLimits,
    folder: TempDir,
    /// The revision of jobs, when they read files.
    revision: Option<Revision>,
    assets: Option<Arc<MemoryAssets>>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            authority: FakeAuthority::new(3),
            limits: StepLimits::default(),
            folder,
            revision: None,
            assets: None,
        }
    }

    fn put(&self, key: &ArtifactKey, result: StepResult) {
        self.authority.put(result.into_entry(&job(key.clone()), TimestampMs(0), 0));
    }

    /// Stores a listing of configs or splits.
    fn put_names(&self, key: &ArtifactKey, names: &[&str]) {
        let names = names.iter().map(ToString::to_string).collect();
        self.put(key, StepResult { names, ..StepResult::success(b"{}".to_vec()) });
    }

    async fn run(&self, key: ArtifactKey) -> StepOutcome {
        let (authority, limits) = (self.authority.clone(), self.limits.clone());
        let (folder, runtime) = (self.folder.path().to_owned(), tokio::runtime::Handle::current());
        let mut job = job(key);
        job.revision = self.revision.clone().unwrap_or(job.revision);
        let assets = self.assets.clone();
        let run = move || {
            let hub = Arc::new(FolderHub::open(FolderHubOptions::new(folder)).unwrap());
            let guard = Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(60)));
            let mut steps = Steps::new(authority, hub, limits);
            if let Some(assets) = assets {
                steps = steps.with_assets(assets);
            }
            steps.run(&job, &RunContext { guard, runtime })
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn stored(&self, key: ArtifactKey) -> StepResult {
        match self.run(key).await {
            StepOutcome::Store(result) => *result,
            other => panic!("not stored: {other:?}"),
        }
    }
}

fn text(result: &StepResult) -> &str {
    std::str::from_utf8(&result.body).unwrap()
}

fn configs() -> ArtifactKey {
    key(DatasetConfigNames, None, None)
}

fn splits(config: &str) -> ArtifactKey {
    key(ConfigSplitNames, Some(config), None)
}

fn empty_dataset() -> StepResult {
    let cause =
        Cause { class: "EmptyDatasetError".into(), message: "no files".into(), raised_from: Vec::new() };
    StepResult::error(ErrorCode::EmptyDatasetError, "Empty.", Some(&cause))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_config_or_split_that_is_not_listed_stores_nothing() {
    let rig = Rig::new();
    let split = || key(SplitIsValid, Some("a"), Some("train"));
    assert_eq!(rig.run(split()).await, StepOutcome::Nothing, "no listing of configs");
    rig.put_names(&configs(), &["b"]);
    assert_eq!(rig.run(split()).await, StepOutcome::Nothing, "another config");
    rig.put_names(&configs(), &["a"]);
    assert_eq!(rig.run(split()).await, StepOutcome::Nothing, "no listing of splits");
    rig.put(&splits("a"), empty_dataset());
    assert_eq!(rig.run(split()).await, StepOutcome::Nothing, "the listing is an error");
    rig.put_names(&splits("a"), &["test"]);
    assert_eq!(rig.run(split()).await, StepOutcome::Nothing, "another split");
    rig.put_names(&splits("a"), &["test", "train"]);
    assert!(matches!(rig.run(split()).await, StepOutcome::Store(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_splits_of_a_dataset_are_listed_pending_or_failed_per_config() {
    let rig = Rig::new();
    rig.put_names(&configs(), &["a", "b", "c", "d"]);
    rig.put_names(&splits("a"), &["train", "test"]);
    rig.put(&splits("c"), empty_dataset());
    rig.put_names(&splits("d"), &["x"]);
    let result = rig.stored(key(DatasetSplitNames, None, None)).await;
    let expected = concat!(
        r#"{"splits":[{"dataset":"user/data","config":"a","split":"train"},"#,
        r#"{"dataset":"user/data","config":"a","split":"test"},"#,
        r#"{"dataset":"user/data","config":"d","split":"x"}],"#,
        r#""pending":[{"dataset":"user/data","config":"b"}],"#,
        r#""failed":[{"dataset":"user/data","config":"c","error":{"error":"Empty.","#,
        r#""cause_exception":"EmptyDatasetError","cause_message":"no files","cause_traceback":[]}}]}"#
    );
    assert_eq!(text(&result), expected);
    assert_eq!((result.http_status, result.progress), (200, Some(0.75)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_parents_error_is_copied_with_its_address() {
    let rig = Rig::new();
    let parent = empty_dataset();
    rig.put(&configs(), parent.clone());
    let result = rig.stored(key(DatasetSplitNames, None, None)).await;
    assert_eq!((result.body, result.error_code), (parent.body, parent.error_code));
    assert_eq!(
        std::str::from_utf8(&result.details.unwrap()).unwrap(),
        concat!(
            r#"{"error":"Empty.","cause_exception":"EmptyDatasetError","cause_message":"no files","#,
            r#""cause_traceback":[],"copied_from_artifact":{"kind":"dataset-config-names","#,
            r#""dataset":"user/data","config":null,"split":null}}"#
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_missing_parent_is_waited_for() {
    let rig = Rig::new();
    let StepOutcome::Transient(result) = rig.run(key(DatasetSplitNames, None, None)).await else {
        panic!("not transient");
    };
    assert_eq!(result.error_code, Some(ErrorCode::PreviousStepStillProcessingError));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_authority_that_fails_for_a_while_is_asked_again() {
    let rig = Rig::new();
    rig.put_names(&configs(), &[]);
    rig.authority.fail("entry", 2);
    assert_eq!(rig.stored(key(DatasetSplitNames, None, None)).await.http_status, 200);
    rig.authority.fail("entry", u32::MAX);
    assert!(matches!(rig.run(key(DatasetSplitNames, None, None)).await, StepOutcome::Transient(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn support_is_the_union_of_what_is_there() {
    let rig = Rig::new();
    let all_false = r#"{"preview":false,"viewer":false,"search":false,"filter":false,"statistics":false}"#;
    let preview = r#"{"preview":true,"viewer":false,"search":false,"filter":false,"statistics":false}"#;
    let dataset = || key(DatasetIsValid, None, None);
    let result = rig.stored(dataset()).await;
    assert_eq!((text(&result), result.progress), (all_false, Some(0.0)));

    rig.put_names(&configs(), &["a", "b"]);
    let config = rig.stored(key(ConfigIsValid, Some("a"), None)).await;
    assert_eq!((text(&config), config.progress), (all_false, Some(0.0)));

    rig.put_names(&splits("a"), &["train", "test"]);
    rig.put(&key(SplitFirstRows, Some("a"), Some("train")), StepResult::success(b"{}".to_vec()));
    rig.put(&key(SplitFirstRows, Some("a"), Some("test")), empty_dataset());
    for (split, expected) in [("test", all_false), ("train", preview)] {
        let address = key(SplitIsValid, Some("a"), Some(split));
        let result = rig.stored(address.clone()).await;
        assert_eq!((text(&result), result.progress), (expected, Some(1.0)));
        rig.put(&address, result);
    }
    let config = rig.stored(key(ConfigIsValid, Some("a"), None)).await;
    assert_eq!((text(&config), config.progress), (preview, Some(1.0)));
    rig.put(&key(ConfigIsValid, Some("a"), None), config);
    let result = rig.stored(dataset()).await;
    assert_eq!((text(&result), result.progress), (preview, Some(0.5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_over_the_limit_becomes_an_error() {
    let mut rig = Rig::new();
    rig.put_names(&configs(), &[]);
    let empty = r#"{"splits":[],"pending":[],"failed":[]}"#;
    rig.limits.content_bytes_max = empty.len();
    assert_eq!(text(&rig.stored(key(DatasetSplitNames, None, None)).await), empty);
    rig.limits.content_bytes_max = empty.len() - 1;
    let over = rig.stored(key(DatasetSplitNames, None, None)).await;
    assert_eq!((over.http_status, over.error_code), (501, Some(ErrorCode::TooBigContentError)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_that_rows_point_to_are_stored_where_there_is_a_place_for_them() {
    let readme = "---\ndataset_info:\n  features:\n  - name: doc\n    dtype: pdf\n---\n";
    let mut rig = Rig::new();
    let data = rig.folder.path().join("user/data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("README.md"), readme).unwrap();
    std::fs::write(data.join("train.jsonl"), "{\"doc\": {\"bytes\": \"%PDF-1.7\", \"path\": null}}\n")
        .unwrap();
    let hub = FolderHub::open(FolderHubOptions::new(rig.folder.path())).unwrap();
    let dataset = outpost_model::DatasetName::new("user/data").unwrap();
    rig.revision = Some(hub.repo_info(&dataset, None).await.unwrap().revision);
    rig.put_names(&configs(), &["default"]);
    rig.put_names(&splits("default"), &["train"]);
    let split = || key(SplitFirstRows, Some("default"), Some("train"));
    let refused = rig.stored(split()).await;
    assert_eq!(refused.error_code, Some(ErrorCode::RowsPostProcessingError), "{}", text(&refused));

    let assets = Arc::new(MemoryAssets::default());
    rig.assets = Some(assets.clone());
    let result = rig.stored(split()).await;
    let url =
        "{node_public_url}/assets/user/data/--/{dataset_git_revision}/--/default/train/0/doc/document.pdf";
    let cell = format!(r#"{{"doc":{{"src":"{url}","size_bytes":8,"thumbnail":null}}}}"#);
    assert!(text(&result).contains(&cell), "{}", text(&result));
    let revision = rig.revision.unwrap();
    assert_eq!(assets.paths(), [format!("user/data/--/{revision}/--/default/train/0/doc/document.pdf")]);
}

/// Code and transience of a failure.
fn verdict(failure: Failure) -> (ErrorCode, bool) {
    match failure.into_outcome() {
        StepOutcome::Store(result) => (result.error_code.unwrap(), false),
        StepOutcome::Transient(result) => (result.error_code.unwrap(), true),
        StepOutcome::Nothing => panic!("a failure stores something"),
    }
}

fn transient() -> LoadError {
    LoadError { transient: true, ..LoadError::new("ConnectionError", "down") }
}

#[test]
fn exceptions_while_listing_configs_have_their_codes() {
    use ErrorCode::{
        ConfigNamesError, DataFilesNotFoundError, DatasetWithScriptNotSupportedError,
        FileFormatMismatchBetweenSplitsError, RetryableConfigNamesError,
    };
    let mismatch = "Couldn't infer the same data file format for all splits. Got {}";
    for (class, message, code) in [
        ("EmptyDatasetError", "", ErrorCode::EmptyDatasetError),
        ("DataFilesNotFoundError", "", DataFilesNotFoundError),
        ("FileNotFoundError", "", ConfigNamesError),
        ("ValueError", mismatch, FileFormatMismatchBetweenSplitsError),
        ("ValueError", "pass trust_remote_code=True", DatasetWithScriptNotSupportedError),
        (
            "RuntimeError",
            "Dataset scripts are no longer supported, but found x.py",
            DatasetWithScriptNotSupportedError,
        ),
        ("ValueError", "else", ConfigNamesError),
        ("DatasetNotFoundError", "", RetryableConfigNamesError),
    ] {
        let error = LoadError::new(class, message);
        assert_eq!(verdict(load_errors::config_names(&error)), (code, false), "{class}: {message}");
    }
    assert_eq!(verdict(load_errors::config_names(&transient())), (RetryableConfigNamesError, true));
}

#[test]
fn exceptions_while_reading_a_split_have_the_code_of_their_phase() {
    let value_error = || LoadError::new("ValueError", "bad");
    for (failure, code, is_transient) in [
        (load_errors::split_names(&value_error()), ErrorCode::SplitNamesFromStreamingError, false),
        (load_errors::split_names(&transient()), ErrorCode::HfHubError, true),
        (load_errors::first_rows(&RowsError::Info(value_error())), ErrorCode::InfoError, false),
        (load_errors::first_rows(&RowsError::Info(transient())), ErrorCode::HfHubError, true),
        (load_errors::first_rows(&RowsError::Features(value_error())), ErrorCode::FeaturesError, false),
        (load_errors::first_rows(&RowsError::Features(transient())), ErrorCode::HfHubError, true),
        (load_errors::first_rows(&RowsError::Rows(value_error())), ErrorCode::StreamingRowsError, false),
        (load_errors::first_rows(&RowsError::Rows(transient())), ErrorCode::StreamingRowsError, true),
    ] {
        assert_eq!(verdict(failure), (code, is_transient));
    }
}

#[test]
fn the_chain_of_causes_is_kept_for_operators() {
    let error = LoadError::new("SplitsNotFoundError", "outer").caused_by(LoadError::new("OSError", "inner"));
    let StepOutcome::Store(result) = load_errors::split_names(&error).into_outcome() else {
        panic!("stored")
    };
    let body: serde_json::Value = serde_json::from_slice(&result.body).unwrap();
    assert_eq!(body["cause_exception"], "SplitsNotFoundError");
    assert_eq!(body["cause_message"], "outer");
    assert_eq!(body["cause_traceback"], serde_json::json!([]));
    let details: serde_json::Value = serde_json::from_slice(&result.details.unwrap()).unwrap();
    assert_eq!(details["raised_from"], serde_json::json!(["OSError: inner"]));
}

#[test]
fn names_that_a_repository_repeats_or_breaks_are_dropped_or_refused() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let check = outpost_model::ConfigName::new;
    assert_eq!(names::checked(names(&["a", "b", "a"]), check).unwrap(), names(&["a", "b"]));
    assert!(names::checked(names(&["a", "a/b"]), check).is_err());
}
