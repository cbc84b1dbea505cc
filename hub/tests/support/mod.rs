//! What the suites of this crate share: a Hub folder on disk and clients of a stub that serves it.

#![allow(dead_code, reason = "each suite is its own program and uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use outpost_harness::hub_stub::HubStub;
use outpost_hub::{Backoff, HttpHub, HttpHubOptions, Hub};
use outpost_model::{DatasetName, Revision};
use tempfile::TempDir;

/// A temporary Hub folder.
pub struct Root {
    dir: TempDir,
}

impl Root {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file and the folders that it is in.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The waits that a client asked for instead of waiting.
pub type Waits = Arc<Mutex<Vec<Duration>>>;

/// Options of a client that never waits.
pub fn options(stub: &HubStub) -> (HttpHubOptions, Waits) {
    let waits = Waits::default();
    let mut options = HttpHubOptions::new(&stub.endpoint());
    let recorded = Arc::clone(&waits);
    options.backoff = Backoff {
        sleep: Arc::new(move |wait| {
            recorded.lock().unwrap().push(wait);
            futures::future::ready(()).boxed()
        }),
        ..Backoff::default()
    };
    (options, waits)
}

/// An anonymous client that never waits.
pub fn client(stub: &HubStub) -> HttpHub {
    HttpHub::new(options(stub).0).unwrap()
}

/// A client with a token, which the stub knows as `robot`.
pub fn client_with_token(stub: &HubStub, token: &str) -> HttpHub {
    stub.add_account(token, "robot");
    let mut options = options(stub).0;
    options.token = Some(token.to_owned());
    HttpHub::new(options).unwrap()
}

pub fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub async fn head(hub: &dyn Hub, name: &str) -> Revision {
    hub.repo_info(&dataset(name), None).await.unwrap().revision
}

/// A revision that no dataset has.
pub fn no_revision() -> Revision {
    Revision::new(&"0".repeat(40)).unwrap()
}
