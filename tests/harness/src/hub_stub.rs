//! A stub of the Hub: a folder served over the Hub's HTTP API on loopback, with knobs and faults.
//!
//! Owns the wire shapes of dataset-loading.md section 6 and http-api.md section 3: listings in pages, `resolve` with
//! ranges and an optional redirect to a second host, error headers, access checks. Content comes from an
//! [`outpost_hub::FolderHub`], so that editing the folder makes a new commit. It logs every request; a test asks the
//! log instead of trusting the product. It runs on its own thread, so that a test may block, and stops when it is
//! dropped, open connections included.

mod answers;
mod faults;
mod files;
mod routes;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use axum::Router;
use outpost_hub::{FolderHub, FolderHubOptions};
use outpost_model::Visibility;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub use faults::{Fault, Gate};

use faults::Faults;

/// Entries of a listing page, as on the Hub.
const PAGE_ENTRIES: usize = 1_000;
/// Requests kept in the log.
const LOG_REQUESTS_MAX: usize = 100_000;

/// A running stub.
pub struct HubStub {
    state: Arc<State>,
    /// Taken when the stub stops.
    runtime: Option<Runtime>,
}

/// What the stub says about one dataset beside its files.
#[derive(Debug, Clone)]
pub struct DatasetKnobs {
    /// Who may read it.
    pub visibility: Visibility,
    /// Tokens that may read it although it is not public.
    pub readers: HashSet<String>,
    /// Access is disabled.
    pub disabled: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// `cardData.viewer`; by default what the README says.
    pub viewer: Option<bool>,
    /// Requests are redirected to this name.
    pub renamed_to: Option<String>,
    /// Files are served by a second host, after a redirect with a signature.
    pub on_cdn: bool,
}

impl Default for DatasetKnobs {
    fn default() -> Self {
        Self {
            visibility: Visibility::Public,
            readers: HashSet::new(),
            disabled: false,
            tags: Vec::new(),
            viewer: None,
            renamed_to: None,
            on_cdn: false,
        }
    }
}

/// Which of the stub's two hosts got a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The Hub.
    Hub,
    /// The file store that it redirects to.
    Cdn,
}

/// A logged request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The host that got it.
    pub host: Host,
    /// Its method.
    pub method: String,
    /// Its path as sent, percent-encoded.
    pub path: String,
    /// Its query string.
    pub query: String,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Range`.
    pub range: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer's body.
    pub body_bytes: u64,
}

struct State {
    folder: FolderHub,
    hub: SocketAddr,
    cdn: SocketAddr,
    settings: Mutex<Settings>,
    faults: Faults,
    log: Mutex<Vec<Seen>>,
}

struct Settings {
    datasets: HashMap<String, DatasetKnobs>,
    /// Account names by token.
    accounts: HashMap<String, String>,
    page_entries: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HubStub {
    /// Serves `root`, laid out as `<namespace>/<name>/…files`.
    ///
    /// # Errors
    /// When the folder cannot be read or no port is free.
    pub fn start(root: &Path) -> anyhow::Result<Self> {
        let folder = FolderHub::open(FolderHubOptions::new(root))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let hub = bind(&runtime).context("bind the stub")?;
        let cdn = bind(&runtime).context("bind the stub's file store")?;
        let state = Arc::new(State {
            folder,
            hub: hub.local_addr()?,
            cdn: cdn.local_addr()?,
            settings: Mutex::new(Settings {
                datasets: HashMap::new(),
                accounts: HashMap::new(),
                page_entries: PAGE_ENTRIES,
            }),
            faults: Faults::default(),
            log: Mutex::default(),
        });
        for (listener, host) in [(hub, Host::Hub), (cdn, Host::Cdn)] {
            let state = Arc::clone(&state);
            let router =
                Router::new().fallback(move |request| routes::handle(Arc::clone(&state), host, request));
            runtime.spawn(axum::serve(listener, router).into_future());
        }
        Ok(Self { state, runtime: Some(runtime) })
    }

    /// Base URL of the Hub.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.state.hub)
    }

    /// Changes what the stub says about a dataset.
    pub fn configure(&self, dataset: &str, change: impl FnOnce(&mut DatasetKnobs)) {
        change(lock(&self.state.settings).datasets.entry(dataset.to_owned()).or_default());
    }

    /// Makes a token valid.
    pub fn add_account(&self, token: &str, name: &str) {
        lock(&self.state.settings).accounts.insert(token.to_owned(), name.to_owned());
    }

    /// Sets how many entries a listing page has.
    pub fn set_page_entries(&self, entries: usize) {
        lock(&self.state.settings).page_entries = entries.max(1);
    }

    /// Lets the next `times` requests whose path starts with `path_prefix`, on either host, meet a fault. Faults of
    /// one prefix are used up in the order of injection.
    pub fn inject(&self, path_prefix: &str, times: usize, fault: &Fault) {
        self.state.faults.inject(path_prefix, times, fault);
    }

    /// Keeps requests whose path starts with `path_prefix` waiting until the gate is opened or dropped.
    #[must_use]
    pub fn hold(&self, path_prefix: &str) -> Gate {
        self.state.faults.hold(path_prefix)
    }

    /// The log of requests, in the order of their answers.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.state.log).clone()
    }

    /// How many requests had a path that starts with `path_prefix`.
    #[must_use]
    pub fn count(&self, path_prefix: &str) -> usize {
        lock(&self.state.log).iter().filter(|seen| seen.path.starts_with(path_prefix)).count()
    }

    /// Bytes of the bodies sent for paths that start with `path_prefix`.
    #[must_use]
    pub fn body_bytes(&self, path_prefix: &str) -> u64 {
        let log = lock(&self.state.log);
        log.iter().filter(|seen| seen.path.starts_with(path_prefix)).map(|seen| seen.body_bytes).sum()
    }

    /// Empties the log.
    pub fn clear_log(&self) {
        lock(&self.state.log).clear();
    }
}

impl Drop for HubStub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn bind(runtime: &Runtime) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let _inside = runtime.enter();
    TcpListener::from_std(listener)
}

impl State {
    fn knobs(&self, dataset: &str) -> DatasetKnobs {
        lock(&self.settings).datasets.get(dataset).cloned().unwrap_or_default()
    }

    fn log(&self, seen: Seen) {
        let mut log = lock(&self.log);
        if log.len() < LOG_REQUESTS_MAX {
            log.push(seen);
        }
    }
}
