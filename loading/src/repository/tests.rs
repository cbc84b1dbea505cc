use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use outpost_hub::{Access, DatasetHead, HubError, RepoFile, RepoInfo};

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
fn formats_that_are_not_read_still_have_splits() {
    let fixture = fixture(&[("train/a.lance", "x"), ("test/b.lance", "x")]);
    let repository = fixture.open().unwrap();
    assert_eq!(repository.split_names("default").unwrap(), ["train", "test"]);
    let Err(RowsError::Info(error)) = repository.first_rows("default", "train", 101) else {
        panic!("rows of a format that is not read");
    };
    assert_eq!(error.class, "NotImplementedError");
    assert!(error.message.contains("'lance'"), "{}", error.message);
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
