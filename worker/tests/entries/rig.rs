//! A store, a folder Hub and a pool that computes everything in the folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outpost_hub::{FolderHub, FolderHubOptions, Hub};
use outpost_model::planning::Event;
use outpost_model::{
    ArtifactKey, ConfigName, DatasetName, Entry, ErrorCode, Priority, Queue, SplitName, StepKind, Visibility,
};
use outpost_storage::{Authority, EmbeddedStore};
use outpost_worker::runtime::{Clock, JobReport, Observer};
use outpost_worker::{StepLimits, Steps, SystemClock, WorkerConfig, WorkerGroup, WorkerHandle, WorkerPool};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest wait for all jobs of a test.
const WAIT: Duration = Duration::from_secs(120);

/// Tells of each job that ended.
struct Ended(watch::Sender<()>);

impl Observer for Ended {
    fn job_ended(&self, _: &JobReport) {
        self.0.send_replace(());
    }
}

/// A store with an entry for every artifact of a folder of datasets.
pub struct Computed {
    pub store: EmbeddedStore,
    pub datasets: Vec<DatasetName>,
    _folders: (TempDir, TempDir),
}

impl Computed {
    /// An entry of the only dataset.
    pub async fn entry(&self, kind: StepKind, config: Option<&str>, split: Option<&str>) -> Entry {
        let config = config.map(|name| ConfigName::new(name).unwrap());
        let split = split.map(|name| SplitName::new(name).unwrap());
        let key = ArtifactKey::new(kind, self.datasets[0].clone(), config, split).unwrap();
        self.store.entry(&key).await.unwrap().unwrap_or_else(|| panic!("no entry {key}"))
    }

    /// The body of a successful entry.
    pub async fn body(&self, kind: StepKind, config: Option<&str>, split: Option<&str>) -> String {
        let entry = self.entry(kind, config, split).await;
        assert_eq!(entry.error_code, None, "{:?}", entry.body);
        String::from_utf8(entry.body.to_vec()).unwrap()
    }

    /// Code and body of an error.
    pub async fn error(
        &self,
        kind: StepKind,
        config: Option<&str>,
        split: Option<&str>,
    ) -> (ErrorCode, Value) {
        let entry = self.entry(kind, config, split).await;
        let code = entry.error_code.expect("an error");
        assert_eq!(entry.http_status, code.http_status());
        (code, serde_json::from_slice(&entry.body).unwrap())
    }
}

/// Writes a file and the folders that it is in.
pub fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Computes every entry of a dataset that has these files.
pub async fn compute(files: &[(&str, &str)]) -> Computed {
    compute_folder(folder_with(files)).await
}

/// A folder with the dataset `user/data` that has these files.
pub fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&folder.path().join("user/data").join(path), text.as_bytes());
    }
    folder
}

/// Computes every entry of every dataset of a folder.
pub async fn compute_folder(folder: TempDir) -> Computed {
    let bench = Bench::open(folder).await;
    bench.run_all(bench.config(), Arc::new(SystemClock)).await;
    bench.into_computed()
}

/// A store with a job for each dataset of a folder, before anything ran.
pub struct Bench {
    pub store: EmbeddedStore,
    hub: Arc<dyn Hub>,
    datasets: Vec<DatasetName>,
    ended: watch::Sender<()>,
    folders: (TempDir, TempDir),
}

impl Bench {
    pub async fn open(hub_folder: TempDir) -> Self {
        let store_folder = tempfile::tempdir().unwrap();
        let hub: Arc<dyn Hub> = Arc::new(FolderHub::open(FolderHubOptions::new(hub_folder.path())).unwrap());
        let path = store_folder.path().to_owned();
        let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await.unwrap().unwrap();
        let datasets = hub.list_datasets(10_000).await.unwrap();
        for dataset in &datasets {
            submit(&store, &*hub, dataset).await;
        }
        let (ended, _) = watch::channel(());
        Self { store, hub, datasets, ended, folders: (hub_folder, store_folder) }
    }

    /// One worker for the datasets queue and two for the splits.
    pub fn config(&self) -> WorkerConfig {
        let groups = [(Queue::Datasets, 1), (Queue::Splits, 2)];
        let groups = groups.map(|(queue, workers)| WorkerGroup { queues: vec![queue], workers });
        let mut config = WorkerConfig::new(groups.to_vec());
        config.observer = Arc::new(Ended(self.ended.clone()));
        config
    }

    pub fn start(
        &self,
        config: WorkerConfig,
        clock: Arc<dyn Clock>,
        shutdown: &CancellationToken,
    ) -> WorkerHandle {
        let authority: Arc<dyn Authority> = Arc::new(self.store.clone());
        let steps = Arc::new(Steps::new(authority.clone(), self.hub.clone(), StepLimits::default()));
        WorkerPool::start(config, authority, steps, clock, shutdown)
    }

    /// Runs a pool until no job is left.
    pub async fn run_all(&self, config: WorkerConfig, clock: Arc<dyn Clock>) {
        let shutdown = CancellationToken::new();
        let mut watched = self.ended.subscribe();
        let pool = self.start(config, clock, &shutdown);
        let all_ended = async {
            for dataset in &self.datasets {
                while !self.store.state(dataset).await.unwrap().jobs.is_empty() {
                    watched.changed().await.unwrap();
                }
            }
        };
        tokio::time::timeout(WAIT, all_ended).await.expect("all jobs end");
        shutdown.cancel();
        pool.join().await;
    }

    pub fn into_computed(self) -> Computed {
        Computed { store: self.store, datasets: self.datasets, _folders: self.folders }
    }
}

async fn submit(store: &EmbeddedStore, hub: &dyn Hub, dataset: &DatasetName) {
    let revision = hub.repo_info(dataset, None).await.unwrap().revision;
    let (visibility, priority) = (Visibility::Public, Priority::Normal);
    let event = Event::Revision { revision, visibility, priority, force: false };
    store.submit(dataset, &event, SystemClock.now()).await.unwrap();
}
