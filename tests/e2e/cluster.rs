//! Primaries and workers as processes of their own, over one MongoDB and one Hub.

use std::path::Path;

use anyhow::ensure;
use outpost_harness::hub_stub::HubStub;
use outpost_harness::{NodeProcess, client};
use outpost_storage::testing::mongod::{self, Databases, Mongod};
use outpost_storage::testing::mongodb::Client;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::Setting;

const SECRET: &str = "s3cret";
/// Of the admin endpoints.
pub const TOKEN: &str = "the-operators-token";

/// What the processes of one test share.
pub struct Cluster {
    pub setting: Setting,
    hub: HubStub,
    url: String,
    pub databases: Databases,
}

impl Cluster {
    /// `None` when no MongoDB can be had and the test may be skipped.
    pub async fn new(setting: Setting) -> Option<Self> {
        Some(Self::on(mongod::shared().await?, setting))
    }

    /// On a server that the test has to itself.
    pub fn on(server: &Mongod, setting: Setting) -> Self {
        let hub = HubStub::start(&setting.hub()).unwrap();
        Self { setting, hub, url: server.url().to_owned(), databases: Databases::random() }
    }

    /// A client of the server.
    pub async fn client(&self) -> Client {
        Client::with_uri_str(&self.url).await.unwrap()
    }

    async fn start(&self, options: &[&str]) -> NodeProcess {
        let assets = self.setting.data().join("assets");
        let endpoint = self.hub.endpoint();
        let shared = ["--hub", &endpoint, "--store", &self.url, "--assets", assets.to_str().unwrap()];
        let databases = [
            ("CACHE_MONGO_DATABASE", self.databases.cache.as_str()),
            ("QUEUE_MONGO_DATABASE", self.databases.queue.as_str()),
        ];
        let arguments = [&shared, options].concat();
        NodeProcess::start_with(binary(), &arguments, &databases).await.unwrap()
    }

    /// A primary without workers, with a mirror of its own under this name.
    pub async fn primary(&self, name: &str) -> NodeProcess {
        let data = self.setting.data().join(name);
        let options = ["--data-dir", data.to_str().unwrap(), "--workers", "0"];
        let secrets = ["--webhook-secret", SECRET, "--admin-token", TOKEN];
        self.start(&[&options[..], &secrets].concat()).await
    }

    /// A worker process.
    pub async fn worker(&self, options: &[&str]) -> NodeProcess {
        self.start(&[&["--role", "worker"], options].concat()).await
    }

    /// Deletes the databases.
    pub async fn end(self) {
        self.databases.drop_both(&self.client().await).await;
    }
}

/// The program.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_node"))
}

/// Tells a primary of a change; `Ok` once it has acknowledged.
pub async fn webhook(node: &NodeProcess, event: &str, dataset: &str) -> anyhow::Result<()> {
    let body = json!({"event": event, "scope": "repo.content", "repo": {"type": "dataset", "name": dataset}});
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", SECRET);
    let status = request.body(body.to_string()).send().await?.status();
    ensure!(status == StatusCode::OK, "the webhook was answered with {status}");
    Ok(())
}

/// What `/admin/status` says.
pub async fn status(node: &NodeProcess) -> Value {
    let request = client().get(format!("{}/admin/status", node.base_url())).bearer_auth(TOKEN);
    request.send().await.unwrap().json().await.unwrap()
}
