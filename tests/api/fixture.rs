//! A primary's HTTP API without its process: real store, scripted Hub, results given by the test.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use outpost_hub::{Access, DatasetHead, Hub, HubError, RepoFile, RepoInfo};
use outpost_model::{
    ArtifactKey, DatasetName, Entry, ErrorCode, Queue, Revision, StepKind, TimestampMs, Visibility, limits,
};
use outpost_node::admin_token::AdminToken;
use outpost_node::feed::{FeedReading, FeedView};
use outpost_node::http::frame::Frame;
use outpost_node::http::read::ReadState;
use outpost_node::http::response::MaxAges;
use outpost_node::http::routes::admin::{Admin, AdminPages, AdminState, BackfillRequest, NodeFacts};
use outpost_node::http::routes::technical::StoreGauges;
use outpost_node::http::routes::webhook::{WebhookState, WebhookTaker};
use outpost_node::http::{App, AppState, Readiness, router};
use outpost_node::intake::Intake;
use outpost_node::metrics::Metrics;
use outpost_node::misses::PrimaryMisses;
use outpost_node::support::BlockList;
use outpost_node::vantage::OriginVantage;
use outpost_storage::{Authority, Completion, EmbeddedStore, FolderAssets, Mirror};
use tokio::sync::{Semaphore, mpsc};

pub const ADMIN_TOKEN: &str = "the-token-of-the-operators";
pub const SECRET: &str = "the webhook secret";
pub const REVISION: &str = "1111111111111111111111111111111111111111";
pub const NOW: TimestampMs = TimestampMs(1_800_000_000_000);

/// A Hub that knows what a test told it.
pub struct ScriptedHub {
    datasets: Mutex<HashMap<DatasetName, Result<RepoInfo, HubError>>>,
    pub calls: AtomicUsize,
    /// Each answer takes a permit.
    pub gate: Semaphore,
}

impl ScriptedHub {
    fn new() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { datasets: Mutex::default(), calls: AtomicUsize::new(0), gate }
    }

    pub fn set(&self, name: &str, answer: Result<RepoInfo, HubError>) {
        self.datasets.lock().unwrap().insert(dataset(name), answer);
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Makes every answer wait for [`ScriptedHub::open`].
    pub fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open(&self) {
        self.gate.add_permits(1_000);
    }
}

pub fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub fn public(name: &str) -> RepoInfo {
    RepoInfo {
        dataset: dataset(name),
        revision: Revision::new(REVISION).unwrap(),
        visibility: Visibility::Public,
        disabled: false,
        tags: Vec::new(),
        viewer_disabled: false,
    }
}

#[async_trait]
impl Hub for ScriptedHub {
    fn describe(&self) -> String {
        "a script".to_owned()
    }

    async fn list_datasets(&self, _limit: usize) -> Result<Vec<DatasetName>, HubError> {
        Ok(Vec::new())
    }

    async fn repo_info(&self, name: &DatasetName, _: Option<&Revision>) -> Result<RepoInfo, HubError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let known = self.datasets.lock().unwrap().get(name).cloned();
        known.unwrap_or_else(|| Err(HubError::RepoNotFound(name.to_string())))
    }

    async fn list_files(&self, _: &DatasetName, _: &Revision, _: &str) -> Result<Vec<RepoFile>, HubError> {
        Ok(Vec::new())
    }

    async fn read_range(
        &self,
        _: &DatasetName,
        _: &Revision,
        path: &str,
        _: u64,
        _: u64,
    ) -> Result<Bytes, HubError> {
        Err(HubError::EntryNotFound(path.to_owned()))
    }

    async fn read_file(
        &self,
        _: &DatasetName,
        _: &Revision,
        _: &str,
        _: u64,
    ) -> Result<Option<Bytes>, HubError> {
        Ok(None)
    }

    async fn auth_check(&self, _: &DatasetName, _: Option<&str>) -> Result<Access, HubError> {
        Ok(Access::Granted)
    }

    async fn whoami(&self) -> Result<Option<String>, HubError> {
        Ok(None)
    }

    async fn changes(&self) -> Result<Vec<DatasetHead>, HubError> {
        std::future::pending().await
    }
}

/// What a step of the script stores.
pub struct Scripted {
    pub error: Option<ErrorCode>,
    pub body: String,
    pub names: Vec<String>,
}

pub struct Api {
    pub frame: Arc<Frame>,
    pub app: App,
    pub intake: Arc<Intake>,
    pub hub: Arc<ScriptedHub>,
    pub store: EmbeddedStore,
    pub assets: FolderAssets,
    pub readiness: Arc<Readiness>,
    /// What operators asked maintenance for.
    pub backfills: Mutex<mpsc::Receiver<BackfillRequest>>,
    _directory: tempfile::TempDir,
}

/// A feed that stands as a test says.
pub struct StillFeed(pub FeedReading);

impl FeedView for StillFeed {
    fn look(&self) -> Option<FeedReading> {
        Some(self.0.clone())
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks the parts that every error answer has.
    pub fn is_error(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status.as_u16(), self.header("x-error-code")),
            (status, Some(code)),
            "{}",
            self.text()
        );
        assert_eq!(self.header("cache-control"), Some("max-age=10"));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.json()["error"].is_string());
        assert!(self.json().get("cause_traceback").is_none());
        self
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(Some(SECRET), "").await
    }

    pub async fn start_with(secret: Option<&str>, blocked: &str) -> Self {
        Self::start_over(secret, blocked, None, |store| Arc::new(store.clone())).await
    }

    /// As the others, reading from a mirror of the test's own that a feed fills.
    pub async fn start_over(
        secret: Option<&str>,
        blocked: &str,
        feed: Option<StillFeed>,
        mirror: impl FnOnce(&EmbeddedStore) -> Arc<dyn Mirror>,
    ) -> Self {
        Self::build(secret, blocked, feed, mirror, None).await
    }

    /// As the others, with webhooks going to `taker`.
    pub async fn start_taking(taker: Arc<dyn WebhookTaker>) -> Self {
        Self::build(Some(SECRET), "", None, |store| Arc::new(store.clone()), Some(taker)).await
    }

    async fn build(
        secret: Option<&str>,
        blocked: &str,
        feed: Option<StillFeed>,
        mirror: impl FnOnce(&EmbeddedStore) -> Arc<dyn Mirror>,
        taker: Option<Arc<dyn WebhookTaker>>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let assets = FolderAssets::open(&directory.path().join("assets")).unwrap();
        let hub = Arc::new(ScriptedHub::new());
        let authority: Arc<dyn Authority> = Arc::new(store.clone());
        let mirror = mirror(&store);
        let blocked = BlockList::parse(blocked).unwrap();
        let intake = Arc::new(Intake::new(hub.clone(), authority.clone(), blocked));
        let readiness = Arc::new(Readiness::default());
        let known_intake = intake.clone();
        let (backfill, backfills) = mpsc::channel(1);
        let feed = feed.map(|feed| -> Arc<dyn FeedView> { Arc::new(feed) });
        let app = Arc::new(AppState {
            read: ReadState::new(
                mirror.clone(),
                Arc::new(PrimaryMisses::new(intake.clone(), Duration::from_millis(200))),
                Arc::new(OriginVantage::new(mirror, feed.clone())),
                "http://public".to_owned(),
                MaxAges::new(120, 10),
                limits::READY_CACHE_BYTES_MAX,
            ),
            assets: Arc::new(assets.clone()),
            asset_source: None,
            webhook: WebhookState {
                secret: secret.map(str::to_owned),
                taker: taker.unwrap_or_else(|| intake.clone()),
            },
            admin: Admin::Authority(Arc::new(AdminState {
                token: AdminToken::new(ADMIN_TOKEN).unwrap(),
                operations: Arc::new(store.clone()),
                authority: authority.clone(),
                intake,
                backfill,
                node: NodeFacts { role: "primary", store: "embedded".to_owned(), started_at: NOW },
                pages: AdminPages { reports: 2, reports_with_content: 1 },
            })),
            metrics: Metrics::new(&router::paths()),
            gauges: StoreGauges::new(Some(authority), directory.path().to_owned()),
            feed,
            readiness: readiness.clone(),
        });
        let frame = Arc::new(Frame::new(app.clone()));
        Self {
            frame,
            app,
            intake: known_intake,
            hub,
            store,
            assets,
            readiness,
            backfills: Mutex::new(backfills),
            _directory: directory,
        }
    }

    pub async fn request(&self, method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.frame.handle(request.body(Body::from(body.to_owned())).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, uri: &str) -> Reply {
        self.request(Method::GET, uri, &[], "").await
    }

    pub async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Reply {
        self.request(Method::GET, uri, headers, "").await
    }

    pub async fn webhook(&self, body: &str) -> Reply {
        self.request(Method::POST, "/webhook", &[("x-webhook-secret", SECRET)], body).await
    }

    /// Runs every queued job with what `script` gives for its artifact.
    pub async fn compute(&self, script: impl Fn(&ArtifactKey) -> Scripted) {
        while let Some(claim) = self.store.claim(&Queue::ALL, NOW).await.unwrap() {
            let key = claim.job.key.clone();
            let Scripted { error, body, names } = script(&key);
            let entry = Entry {
                http_status: error.map_or(200, ErrorCode::http_status),
                error_code: error,
                revision: claim.job.revision.clone(),
                body: Bytes::from(body),
                details: None,
                names,
                progress: error.is_none().then_some(1.0),
                job_runner_version: key.kind().spec().version,
                failed_runs: 0,
                updated_at: NOW,
                duration_ms: 1,
                key,
            };
            self.store.finish(&claim.lease, Completion::Store(Box::new(entry)), NOW).await.unwrap();
        }
    }

    /// Makes `u/d` with config `default` and split `train` known and computed; first rows as given.
    pub async fn serve(&self, first_rows: &str) {
        self.hub.set("u/d", Ok(public("u/d")));
        assert_eq!(self.webhook(&event("add", "u/d")).await.status, StatusCode::OK);
        self.compute(|key| complete(key, first_rows)).await;
    }
}

/// A payload of the Hub.
pub fn event(event: &str, name: &str) -> String {
    format!(r#"{{"event":"{event}","scope":"repo.content","repo":{{"type":"dataset","name":"{name}"}}}}"#)
}

/// The results of a dataset with one config and one split.
pub fn complete(key: &ArtifactKey, first_rows: &str) -> Scripted {
    let dataset = key.dataset();
    let (body, names) = match key.kind() {
        StepKind::DatasetConfigNames => ("{}".to_owned(), vec!["default".to_owned()]),
        StepKind::ConfigSplitNames => {
            let split = format!(r#"{{"dataset":"{dataset}","config":"default","split":"train"}}"#);
            (format!(r#"{{"splits":[{split}]}}"#), vec!["train".to_owned()])
        }
        StepKind::DatasetSplitNames => {
            let split = format!(r#"{{"dataset":"{dataset}","config":"default","split":"train"}}"#);
            (format!(r#"{{"splits":[{split}],"pending":[],"failed":[]}}"#), Vec::new())
        }
        StepKind::SplitFirstRows => (first_rows.to_owned(), Vec::new()),
        StepKind::SplitIsValid | StepKind::ConfigIsValid | StepKind::DatasetIsValid => {
            let body = r#"{"preview":true,"viewer":false,"search":false,"filter":false,"statistics":false}"#;
            (body.to_owned(), Vec::new())
        }
    };
    Scripted { error: None, body, names }
}

/// First rows of `rows` rows with one string column that takes about `cell_bytes` each.
pub fn first_rows(rows: usize, cell_bytes: usize, truncated: bool) -> String {
    let cell = "x".repeat(cell_bytes);
    let row = |i| format!(r#"{{"row_idx":{i},"row":{{"text":"{i}{cell}"}},"truncated_cells":[]}}"#);
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        concat!(
            r#"{{"dataset":"u/d","config":"default","split":"train","features":[{{"feature_idx":0,"name":"text","#,
            r#""type":{{"dtype":"string","_type":"Value"}}}}],"rows":[{}],"truncated":{}}}"#
        ),
        rows.join(","),
        truncated
    )
}
