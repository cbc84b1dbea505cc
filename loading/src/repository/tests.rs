use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use outpost_hub::{Access, DatasetHead, HubError, RepoFile, RepoInfo};
use outpost_model::limits;

use super::*;

/// A Hub with one dataset in memory that notes what it is asked.
#[derive(Default)]
struct MemoryHub {
    files: BTreeMap<String, Bytes>,
    failure: Option<HubError>,
    calls: Mutex<Vec<String>>,
}

impl MemoryHub {
    fn note(&self, call: String) -> Result<(), HubError> {
        self.calls.lock().unwrap().push(call);
        self.failure.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Hub for MemoryHub {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn list_datasets(&self, _: usize) -> Result<Vec<DatasetName>, HubError> {
        Ok(Vec::new())
    }

    async fn repo_info(&self, _: &DatasetName, _: Option<&Revision>) -> Result<RepoInfo, HubError> {
        Err(HubError::Protocol("loading does not ask for it".to_owned()))
    }

    async fn list_files(
        &self,
        _: &DatasetName,
        _: &Revision,
        folder: &str,
    ) -> Result<Vec<RepoFile>, HubError> {
        self.note(format!("list {folder}"))?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = self.files.iter().filter(|(path, _)| path.starts_with(&prefix));
        let files: Vec<RepoFile> =
            inside.map(|(path, bytes)| RepoFile { path: path.clone(), size: bytes.len() as u64 }).collect();
        if files.is_empty() && !folder.is_empty() {
            return Err(HubError::EntryNotFound(folder.to_owned()));
        }
        Ok(files)
    }

    async fn read_range(
        &self,
        _: &DatasetName,
        _: &Revision,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, HubError> {
        self.note(format!("range {path}"))?;
        let bytes = self.files.get(path).ok_or_else(|| HubError::EntryNotFound(path.to_owned()))?;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = start.saturating_add(usize::try_from(length).unwrap()).min(bytes.len());
        Ok(bytes.slice(start..end))
    }

    async fn read_file(
        &self,
        _: &DatasetName,
        _: &Revision,
        path: &str,
        _: u64,
    ) -> Result<Option<Bytes>, HubError> {
        self.note(format!("read {path}"))?;
        Ok(self.files.get(path).cloned())
    }

    async fn auth_check(&self, _: &DatasetName, _: Option<&str>) -> Result<Access, HubError> {
        Ok(Access::Granted)
    }

    async fn whoami(&self) -> Result<Option<String>, HubError> {
        Ok(None)
    }

    async fn changes(&self) -> Result<Vec<DatasetHead>, HubError> {
        Ok(Vec::new())
    }
}

struct Fixture {
    hub: Arc<MemoryHub>,
    context: LoadContext,
    _runtime: tokio::runtime::Runtime,
}

fn fixture(files: &[(&str, &str)]) -> Fixture {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Bytes::from((*text).to_owned())));
    fixture_of(MemoryHub { files: files.collect(), ..MemoryHub::default() })
}

fn fixture_of(hub: MemoryHub) -> Fixture {
    let hub = Arc::new(hub);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = LoadContext {
        hub: Arc::clone(&hub) as Arc<dyn Hub>,
        runtime: runtime.handle().clone(),
        guard: Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(3_600))),
    };
    Fixture { hub, context, _runtime: runtime }
}

impl Fixture {
    fn open(&self) -> Result<Repository, LoadError> {
        let (dataset, revision) = (DatasetName::new("u/n").unwrap(), Revision::new("abc").unwrap());
        Repository::open(&self.context, &dataset, &revision)
    }

    fn calls(&self) -> Vec<String> {
        self.hub.calls.lock().unwrap().clone()
    }
}

const METADATA_CALLS: [&str; 4] =
    ["read README.md", "read n.py", "read .huggingface.yaml", "read dataset_infos.json"];

fn listings(fixture: &Fixture) -> Vec<String> {
    fixture.calls().into_iter().filter(|call| call.starts_with("list")).collect()
}

#[test]
fn opening_reads_each_metadata_file_and_lists_each_tree_once() {
    let fixture = fixture(&[("a.csv", "x\n1\n"), ("d/b.csv", "x\n1\n")]);
    let repository = fixture.open().unwrap();
    assert_eq!(repository.config_names(), ["default"]);
    assert_eq!(repository.split_names("default").unwrap(), ["train"]);
    let calls = fixture.calls();
    for call in METADATA_CALLS {
        assert_eq!(calls.iter().filter(|made| *made == call).count(), 1, "{call}");
    }
    assert_eq!(listings(&fixture), ["list data", "list "]);
}

#[test]
fn explicit_files_list_only_their_folders() {
    let readme = "---\nconfigs:\n- config_name: en\n  data_files: en/*.csv\n- config_name: fr\n  data_files: \
                  fr/a.csv\n---\n";
    let fixture = fixture(&[("README.md", readme), ("en/a.csv", "x\n1\n"), ("fr/a.csv", "x\n1\n")]);
    let repository = fixture.open().unwrap();
    assert_eq!(listings(&fixture), ["list en"]);
    assert_eq!(repository.split_names("fr").unwrap(), ["train"]);
    assert_eq!(listings(&fixture), ["list en", "list fr"]);
}

#[test]
fn the_overlay_replaces_the_configs_of_the_readme() {
    let fixture = fixture(&[
        ("README.md", "---\nconfigs:\n- config_name: old\n---\n"),
        (".huggingface.yaml", "configs:\n- config_name: new\n  data_files: a.csv\n"),
        ("a.csv", "x\n1\n"),
    ]);
    assert_eq!(fixture.open().unwrap().config_names(), ["new"]);
}

#[test]
fn trouble_with_the_hub_is_transient_and_refusal_is_not() {
    for (failure, class, transient) in [
        (HubError::Unreachable("timeout".into()), "ConnectionError", true),
        (HubError::Status { status: 503, url: "x".into(), message: String::new() }, "ConnectionError", true),
        (HubError::Gated("u/n".into()), "DatasetNotFoundError", false),
        (HubError::RepoNotFound("u/n".into()), "DatasetNotFoundError", false),
    ] {
        let fixture = fixture_of(MemoryHub { failure: Some(failure), ..MemoryHub::default() });
        let error = fixture.open().err().unwrap();
        assert_eq!((&*error.class, error.is_transient()), (class, transient));
    }
}

#[test]
fn a_cancelled_job_asks_the_hub_nothing() {
    let fixture = fixture(&[("a.csv", "x\n1\n")]);
    fixture.context.guard.cancel();
    assert!(fixture.open().err().unwrap().is_transient());
    assert_eq!(fixture.calls(), [""; 0]);
}

#[test]
fn a_job_cancelled_after_opening_reads_no_row() {
    let fixture = fixture(&[("a.csv", "x\n1\n")]);
    let repository = fixture.open().unwrap();
    repository.split_names("default").unwrap();
    fixture.context.guard.cancel();
    let error = repository.first_rows("default", "train", 101).unwrap_err();
    assert!(error.error().is_transient(), "{error}");
}

#[test]
fn formats_that_are_left_out_have_splits_and_an_error_that_says_what_to_do() {
    for (extension, module, format) in [
        ("h5", "hdf5", "HDF5"),
        ("hdf5", "hdf5", "HDF5"),
        ("eval", "eval", "Inspect"),
        ("tsfile", "tsfile", "TsFile"),
    ] {
        let (train, test) = (format!("train/a.{extension}"), format!("test/b.{extension}"));
        let fixture = fixture(&[(&train, "x"), (&test, "x")]);
        let repository = fixture.open().unwrap();
        assert_eq!(repository.module_name("default").unwrap(), module);
        let splits = repository.split_names("default").unwrap();
        // Evaluation logs are one split of their own.
        assert_eq!(splits, if module == "eval" { &["logs"][..] } else { &["train", "test"] });
        let Err(RowsError::Info(error)) = repository.first_rows("default", &splits[0], 101) else {
            panic!("rows of a format that is not read");
        };
        assert_eq!(error.class, "NotImplementedError");
        for part in [&format!("'{module}'"), format, "to_parquet"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
}

#[test]
fn the_splits_of_a_lance_dataset_are_refused_as_the_original_refuses_them() {
    let fixture = fixture(&[("train/a.lance", "x"), ("test/b.lance", "x")]);
    let error = fixture.open().unwrap().split_names("default").unwrap_err();
    let classes: Vec<&str> = error.chain().map(|link| &*link.class).collect();
    assert_eq!(classes, ["SplitsNotFoundError", "NotImplementedError"]);
    assert!(error.chain().any(|link| link.message.contains("'lance' (Lance)")), "{error}");
    let declared = "---\ndataset_info:\n  splits:\n  - name: train\n---\n";
    let fixture = self::fixture(&[("README.md", declared), ("a.lance", "x")]);
    assert_eq!(fixture.open().unwrap().split_names("default").unwrap(), ["train"]);
}

#[test]
fn unknown_configs_and_splits_name_the_known_ones() {
    let fixture = fixture(&[("train.csv", "x\n1\n"), ("test.csv", "x\n1\n")]);
    let repository = fixture.open().unwrap();
    assert_eq!(
        repository.split_names("zzz").unwrap_err().message,
        "BuilderConfig 'zzz' not found. Available: ['default']"
    );
    let Err(RowsError::Features(error)) = repository.first_rows("default", "dev", 101) else {
        panic!("rows of a split that does not exist");
    };
    assert_eq!(error.message, "Bad split: dev. Available splits: ['train', 'test']");
}

#[test]
fn a_bad_file_fails_the_listing_of_splits_only_when_it_must_be_looked_at() {
    let declared = "---\ndataset_info:\n  splits:\n  - name: train\n---\n";
    let bad = fixture(&[("a.parquet", "no parquet")]);
    let error = bad.open().unwrap().split_names("default").unwrap_err();
    let classes: Vec<&str> = error.chain().map(|link| &*link.class).collect();
    assert_eq!(classes, ["SplitsNotFoundError", "ArrowInvalid"]);
    let bad = fixture(&[("README.md", declared), ("a.parquet", "no parquet")]);
    let repository = bad.open().unwrap();
    assert_eq!(repository.split_names("default").unwrap(), ["train"]);
    assert!(matches!(repository.first_rows("default", "train", 101), Err(RowsError::Features(_))));
}

#[test]
fn an_empty_config_names_itself_before_its_cause() {
    let readme =
        "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_dir: nope\n---\n";
    let error = fixture(&[("README.md", readme), ("a.csv", "x\n1\n")]).open().err().unwrap();
    let messages: Vec<&str> = error.chain().map(|link| link.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Dataset at 'hf://datasets/u/n@abc' doesn't contain data files matching the patterns for config 'b', check \
             `data_files` and `data_fir` parameters in the `configs` YAML field in README.md. ",
            "The directory at hf://datasets/u/n@abc/nope doesn't contain any data files",
        ]
    );
}

#[test]
fn a_missing_file_is_reported_by_the_dataset_it_is_missing_from() {
    let readme = "---\nconfigs:\n- config_name: a\n  data_files: nope.csv\n---\n";
    let error = fixture(&[("README.md", readme), ("a.csv", "x\n1\n")]).open().err().unwrap();
    assert_eq!(error.class, "FileNotFoundError");
    assert!(error.message.starts_with("Couldn't find any data file at u/n. "), "{}", error.message);
    assert!(error.message.contains("Unable to find 'hf://datasets/u/n@abc/nope.csv'"), "{}", error.message);
}

#[test]
fn rows_of_declared_features_are_cast_and_ordered() {
    let readme = "---\ndataset_info:\n  features:\n  - name: b\n    dtype: string\n  - name: a\n    dtype: int8\n---\n";
    let fixture = fixture(&[("README.md", readme), ("a.csv", "a,b\n1,7\n")]);
    let head = fixture.open().unwrap().first_rows("default", "train", 101).unwrap();
    assert!(head.exhausted);
    assert_eq!(head.rows, [vec![("b".into(), Value::str("7")), ("a".into(), Value::Int(1))]]);
}

#[test]
fn no_more_rows_are_given_than_asked_for() {
    let lines: String = (0..50).map(|line| format!("{line}\n")).collect();
    let fixture = fixture(&[("a.csv", &format!("x\n{lines}")), ("b.csv", &format!("x\n{lines}"))]);
    let repository = fixture.open().unwrap();
    for (limit, rows, exhausted) in [(3, 3, false), (50, 50, false), (60, 60, false), (101, 100, true)] {
        let head = repository.first_rows("default", "train", limit).unwrap();
        assert_eq!((head.rows.len(), head.exhausted), (rows, exhausted), "limit {limit}");
    }
}

/// `b.csv` and `a.csv`, a column `x` with a row each.
const ZIP_OF_TWO_CSV: &str = concat!(
    "UEsDBBQAAAAAAAAAIVDWb/2PBAAAAAQAAAAFAAAAYi5jc3Z4CjIKUEsDBBQAAAAAAAAAIVAVPNCkBAAAAAQAAAAFAAAAYS5jc3Z4",
    "CjEKUEsBAhQDFAAAAAAAAAAhUNZv/Y8EAAAABAAAAAUAAAAAAAAAAAAAAIABAAAAAGIuY3N2UEsBAhQDFAAAAAAAAAAhUBU80KQE",
    "AAAABAAAAAUAAAAAAAAAAAAAAIABJwAAAGEuY3N2UEsFBgAAAAACAAIAZgAAAE4AAAAAAA==",
);

#[test]
fn a_small_zip_archive_costs_one_read() {
    let zip = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, ZIP_OF_TWO_CSV).unwrap();
    let files = BTreeMap::from([("data.zip".to_owned(), Bytes::from(zip))]);
    let fixture = fixture_of(MemoryHub { files, ..MemoryHub::default() });
    let head = fixture.open().unwrap().first_rows("default", "train", 10).unwrap();
    assert_eq!(head.rows.len(), 2);
    assert_eq!(head.rows[0][0].1, Value::Int(1));
    assert_eq!(fixture.calls().iter().filter(|call| *call == "range data.zip").count(), 1);
}

#[test]
fn infos_of_the_card_replace_those_of_the_legacy_file_config_by_config() {
    let legacy = r#"{"a": {"features": {"x": {"dtype": "int8", "id": null, "_type": "Value"}}, "splits": {"legacy": {"name": "legacy"}}},
        "b": {"features": {"x": {"feature": {"dtype": "int16", "id": null, "_type": "Value"}, "length": -1, "id": null, "_type": "Sequence"}}},
        "z": {"features": {"x": {"dtype": "int64", "_type": "Value"}}}}"#;
    let readme = "---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\ndataset_info:\n\
                  - config_name: a\n  features:\n  - name: x\n    dtype: string\n---\n";
    let fixture = fixture(&[
        ("README.md", readme),
        ("dataset_infos.json", legacy),
        ("a.jsonl", "{\"x\":\"1\"}\n"),
        ("b.jsonl", "{\"x\":[1]}\n"),
    ]);
    let repository = fixture.open().unwrap();
    assert_eq!(repository.config_names(), ["a", "b"], "an info alone makes no config");
    assert_eq!(repository.split_names("a").unwrap(), ["train"], "the whole info is replaced");
    let types = |config| repository.known_features(config).unwrap().unwrap().to_json().to_string();
    assert_eq!(types("a"), r#"{"x":{"dtype":"string","_type":"Value"}}"#);
    assert_eq!(types("b"), r#"{"x":{"feature":{"dtype":"int16","_type":"Value"},"_type":"List"}}"#);
}

#[test]
fn the_overlay_replaces_infos_of_the_card_but_not_of_the_legacy_file() {
    let info = |dtype: &str| format!("dataset_info:\n  features:\n  - name: x\n    dtype: {dtype}\n");
    let readme = format!("---\n{}---\n", info("int8"));
    let legacy = r#"{"default": {"features": {"x": {"dtype": "int32", "_type": "Value"}}}}"#;
    let data = ("a.jsonl", "{\"x\":1}\n");
    let types = |files: &[(&str, &str)]| {
        let features = fixture(files).open().unwrap().known_features("default").unwrap().unwrap();
        features.to_json()["x"]["dtype"].as_str().unwrap().to_owned()
    };
    let overlay = info("int16");
    let (readme, overlay, legacy) = (
        ("README.md", readme.as_str()),
        (".huggingface.yaml", overlay.as_str()),
        ("dataset_infos.json", legacy),
    );
    assert_eq!(types(&[readme, overlay, legacy, data]), "int16");
    assert_eq!(types(&[readme, legacy, data]), "int8");
    assert_eq!(types(&[overlay, legacy, data]), "int16");
    assert_eq!(types(&[legacy, data]), "int32");
    assert_eq!(types(&[readme, (".huggingface.yaml", "dataset_info: null\n"), legacy, data]), "int32");
}

#[test]
fn a_repository_that_was_opened_is_opened_again_without_the_hub() {
    let readme =
        "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_files: b.csv\n---\n";
    let fixture = fixture(&[("README.md", readme), ("a.csv", "x\n1\n"), ("b.csv", "x\n2\n")]);
    let (dataset, revision) = (DatasetName::new("u/n").unwrap(), Revision::new("abc").unwrap());
    let cache = RepositoryCache::default();
    let first = cache.open(&fixture.context, &dataset, &revision).unwrap();
    let calls = fixture.calls();
    // Another job, with a guard of its own.
    let guard = Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(3_600)));
    let context = LoadContext { guard: Arc::clone(&guard), ..fixture.context.clone() };
    let second = cache.open(&context, &dataset, &revision).unwrap();
    assert_eq!(second.config_names(), first.config_names());
    assert_eq!(second.split_names("b").unwrap(), ["train"]);
    assert_eq!(second.data_files("b").unwrap(), [("train".to_owned(), vec!["b.csv".to_owned()])]);
    assert_eq!(fixture.calls(), calls, "neither metadata nor listings were asked for");
    let head = second.first_rows("b", "train", 10).unwrap();
    assert_eq!(head.rows, [vec![("x".into(), Value::Int(2))]]);
    assert_eq!(guard.bytes_read(), 4, "each job counts what it reads itself");
    guard.cancel();
    assert!(cache.open(&context, &dataset, &revision).err().unwrap().is_transient());
    assert!(first.first_rows("a", "train", 10).is_ok(), "the end of a job is not that of another");
    let next = Revision::new("def").unwrap();
    cache.open(&fixture.context, &dataset, &next).unwrap();
    assert!(fixture.calls().len() > calls.len() + 2, "another revision is read anew");
}

#[test]
fn a_failure_to_open_is_not_kept() {
    let failing = fixture_of(MemoryHub {
        failure: Some(HubError::EntryNotFound("README.md".to_owned())),
        ..MemoryHub::default()
    });
    let working = fixture(&[("a.csv", "x\n1\n")]);
    let (dataset, revision) = (DatasetName::new("u/n").unwrap(), Revision::new("abc").unwrap());
    let cache = RepositoryCache::default();
    assert!(cache.open(&failing.context, &dataset, &revision).is_err());
    assert!(cache.open(&working.context, &dataset, &revision).is_ok());
}

#[test]
fn rows_are_gathered_until_they_hold_too_much_and_the_split_then_goes_on() {
    let line = "x".repeat(limits::CHUNK_BYTES) + "\n";
    let held = limits::FIRST_ROWS_HELD_BYTES_MAX.div_ceil(limits::CHUNK_BYTES);
    let text = line.repeat(held + 2);
    let fixture = fixture(&[("a.txt", text.as_str())]);
    let head = fixture.open().unwrap().first_rows("default", "train", 101).unwrap();
    assert_eq!((head.rows.len(), head.exhausted), (held, false));
}

#[test]
fn a_limit_that_hides_the_splits_is_told_as_it_is() {
    let line = format!("{{\"a\":\"{}", "x".repeat(limits::WHOLE_FILE_BYTES_MAX + 1));
    let fixture = fixture(&[("a.jsonl", line.as_str())]);
    let error = fixture.open().unwrap().split_names("default").unwrap_err();
    assert_eq!(&*error.class, "LimitExceeded");
    assert!(error.message.contains("write one row per line"), "{}", error.message);
}
